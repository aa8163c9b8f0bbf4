"""XGBoost's files: what is damaged, cut off, foreign or too new ends as ConversionFailed, never as a crash."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlconvert.errors import ConversionFailed
from mlconvert.readers.xgboost_files import check_xgboost, document_of, load_xgboost
from mlconvert.readers.xgboost_trees import xgboost_trees

X = np.random.default_rng(3).normal(size=(200, 4))
X[:, 3] = np.random.default_rng(4).integers(0, 10, 200)
Y = X[:, 0] + X[:, 1] ** 2 + X[:, 3] % 3


def trained(params: dict[str, Any] | None = None, types: Any = None, target: np.ndarray = Y) -> Any:
    import xgboost

    rows = xgboost.DMatrix(X, target, feature_types=types, enable_categorical=True, nthread=1)
    return xgboost.train({"max_depth": 3, "nthread": 1, "verbosity": 0, **(params or {})}, rows, 3)


@pytest.fixture(scope="module")
def booster() -> Any:
    return trained()


@pytest.fixture(scope="module")
def files(booster: Any) -> dict[str, bytes]:
    return {f".{kind}": bytes(booster.save_raw(kind)) for kind in ("json", "ubj")}


def trees_of(booster: Any) -> list[dict[str, Any]]:
    trees: list[dict[str, Any]] = document_of(booster)["learner"]["gradient_booster"]["model"]["trees"]
    return trees


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_both_kinds_of_file_are_read_whatever_their_names(tmp_path, files, suffix):
    for name in ("m.json", "m.ubj", "m.model"):
        (tmp_path / name).write_bytes(files[suffix])
        loaded, model = load_xgboost(tmp_path / name)
        assert (model.objective, model.booster, model.features) == ("reg:squarederror", "gbtree", 4)
        assert len(trees_of(loaded)) == 3


def test_json_with_spaces_in_front_is_read(tmp_path, files):
    (tmp_path / "m.json").write_bytes(b" \n" + json.dumps(json.loads(files[".json"]), indent=1).encode())
    assert load_xgboost(tmp_path / "m.json")[1].features == 4


@pytest.mark.parametrize(
    ("params", "target", "told"),
    [
        ({"multi_strategy": "multi_output_tree"}, X[:, :2], ("gbtree", 0, 2)),
        ({"objective": "multi:softprob", "num_class": 3}, np.digitize(Y, [0, 1]), ("gbtree", 3, 1)),
        ({"booster": "gblinear"}, Y, ("gblinear", 0, 1)),
        ({"booster": "dart"}, Y, ("dart", 0, 1)),
    ],
)
def test_what_the_model_says_of_itself(params, target, told):
    model = check_xgboost(trained(params, target=target), "here")
    assert (model.booster, model.num_class, model.num_target) == told


# --- what is no model ---


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_a_file_that_is_cut_off_is_refused_without_a_crash(tmp_path, files, suffix):
    whole = files[suffix]
    lengths = [1, 10, *range(50, len(whole), len(whole) // 12), len(whole) - 1]
    for index, length in enumerate(lengths):
        (tmp_path / f"{index:02}{suffix}").write_bytes(whole[:length])
    # In a child process: should the library crash after all, this test fails instead of the test run.
    code = (
        "import sys, pathlib\n"
        "from mlconvert.errors import ConversionFailed\n"
        "from mlconvert.readers.xgboost_files import load_xgboost\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        load_xgboost(path)\n"
        "    except ConversionFailed as error:\n"
        "        assert error.where == str(path)\n"
        "        print(path.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{index:02}{suffix}" for index in range(len(lengths))]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"{}",
        b'{"learner": 3}',
        b"[1, 2]",
        b'{"a": ' * 5000,
        b"{" + b"[" * 5000,
        b"{U\x07learnerZ}",
        b"{}x",
    ],
    ids=["empty", "text", "object", "number", "list", "deep", "deep-ubj", "null", "more"],
)
def test_what_is_no_xgboost_model_is_refused(tmp_path, data):
    path = tmp_path / "m.json"
    path.write_bytes(data)
    with pytest.raises(ConversionFailed):
        load_xgboost(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConversionFailed, match="cannot read"):
        load_xgboost(tmp_path / "absent.json")


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
@pytest.mark.parametrize("newer", [(1, 0), (0, 1)])
def test_a_model_of_a_newer_xgboost_is_refused(tmp_path, files, suffix, newer):
    import xgboost

    major, minor, _ = document_of(trained())["version"]
    path = tmp_path / f"m{suffix}"
    if suffix == ".json":
        document = json.loads(files[suffix])
        document["version"] = [major + newer[0], minor + newer[1], 0]
        path.write_text(json.dumps(document))
    else:
        old, new = (b"version[#L" + (3).to_bytes(8) + bytes([*b"i", a, *b"i", b, *b"i"]) for a, b in
                    ((major, minor), (major + newer[0], minor + newer[1])))  # fmt: skip
        assert old in files[suffix]
        path.write_bytes(files[suffix].replace(old, new))
    with pytest.raises(
        ConversionFailed, match=rf"XGBoost {major + newer[0]}\.{minor + newer[1]}.*{xgboost.__version__}"
    ):
        load_xgboost(path)


def test_a_later_patch_of_the_same_xgboost_is_read(tmp_path, files):
    document = json.loads(files[".json"])
    document["version"][2] += 7
    (tmp_path / "m.json").write_text(json.dumps(document))
    assert load_xgboost(tmp_path / "m.json")[1].features == 4


# --- damaged trees ---


def put(name: str, node: int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(tree: dict[str, Any]) -> None:
        tree[name][node] = value

    return change


def shorten(name: str) -> Callable[[dict[str, Any]], None]:
    def change(tree: dict[str, Any]) -> None:
        tree[name] = tree[name][:-1]

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("left_children", 0, 100_000),
        put("left_children", 0, -2),
        put("left_children", 0, 0),
        put("right_children", 0, 1),
        put("right_children", 1, 2),
        put("right_children", 0, -1),
        put("split_indices", 0, 4),
        put("split_indices", 0, -1),
        put("split_type", 0, 1),
        shorten("split_conditions"),
        shorten("left_children"),
        shorten("default_left"),
    ],
)
def test_a_damaged_tree_is_found(booster, change):
    trees = trees_of(booster)
    assert xgboost_trees(trees, 4).trees == 3
    change(trees[1])
    with pytest.raises(ValueError, match=r"tree 1|categories"):
        xgboost_trees(trees, 4)


def test_a_missing_array_is_found(booster):
    trees = trees_of(booster)
    del trees[2]["split_indices"]
    with pytest.raises(KeyError):
        xgboost_trees(trees, 4)


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("categories_nodes", 0, 999),
        ("categories_segments", 0, 999),
        ("categories_segments", 0, -1),
        ("categories_sizes", 0, 999),
        ("categories_sizes", 0, 0),
        ("categories", 0, -1),
        ("categories", 0, 1 << 24),
        ("categories", 1, None),
    ],
)
def test_a_damaged_category_set_is_found(name, index, value):
    trees = trees_of(trained({"max_cat_to_onehot": 1}, ["q", "q", "q", "c"]))
    tree = next(tree for tree in trees if len(tree["categories_nodes"]) and tree["categories_sizes"][0] > 1)
    tree[name][index] = tree[name][0] if value is None else value
    with pytest.raises(ValueError, match="categor"):
        xgboost_trees(trees, 4)


def test_damaged_vector_leaves_are_found():
    trees = trees_of(trained({"multi_strategy": "multi_output_tree"}, target=X[:, :2]))
    leaf = int(np.flatnonzero(trees[0]["left_children"] == -1)[0])
    for value in (-1, 1000):
        trees[0]["right_children"][leaf] = value
        with pytest.raises(ValueError, match="fewer values"):
            xgboost_trees(trees, 4)


def test_trees_of_different_kinds_are_found():
    trees = trees_of(trained({"multi_strategy": "multi_output_tree"}, target=X[:, :2]))
    with pytest.raises(ValueError, match="several in others"):
        xgboost_trees([*trees, *trees_of(trained())], 4)


def test_a_damaged_file_names_its_tree_and_its_path(tmp_path, files):
    document = json.loads(files[".json"])
    document["learner"]["gradient_booster"]["model"]["trees"][1]["left_children"][0] = 100_000
    path = tmp_path / "m.json"
    path.write_text(json.dumps(document))
    with pytest.raises(ConversionFailed, match="tree 1") as caught:
        load_xgboost(path)
    assert caught.value.where == str(path)


def test_pruned_nodes_stay_in_the_file_and_are_left_out():
    whole = trees_of(trained({"tree_method": "exact", "gamma": 0}))
    pruned = trees_of(trained({"tree_method": "exact", "gamma": 30}))
    read = xgboost_trees(pruned, 4)
    assert len(read.id) < len(xgboost_trees(whole, 4).id)
    assert np.all(read.left[read.left >= 0] > np.flatnonzero(read.left >= 0))
