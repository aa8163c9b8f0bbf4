"""The rules of LightGBM, one by one: what its text says, and what the neutral model makes of it."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed
from mlconvert.forests.evaluation import answers, leaves_of, sums
from mlconvert.forests.half import greatest_half
from mlconvert.forests.lightgbm import LINKS, read_lightgbm
from mlconvert.forests.model import ZERO, check_forest
from mlconvert.readers import classical_outputs

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 3))
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(float)


def booster(rows: np.ndarray = X, labels: np.ndarray = Y, trees: int = 3, before: Any = None, **settings: Any) -> Any:
    import lightgbm

    known = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 6, "min_data_in_leaf": 4}
    stated = {name: settings[name] for name in ("zero_as_missing", "linear_tree", "use_missing") if name in settings}
    data = lightgbm.Dataset(rows, labels, params={"verbose": -1, **stated},
                            categorical_feature=settings.pop("categorical", []))  # fmt: skip
    return lightgbm.train({**known, **settings}, data, trees, init_model=before)


def text(**settings: Any) -> bytes:
    return booster(**settings).model_to_string().encode()


def loaded(data: bytes) -> Any:
    import lightgbm

    return lightgbm.Booster(model_str=data.decode())


# --- one node: every threshold and value near zero, every missing type ---

ONE_NODE = """tree
version=v4
num_class=1
num_tree_per_iteration=1
label_index=0
max_feature_idx=0
objective=regression
feature_names=x
feature_infos=[-1:1]
tree_sizes={size}

{tree}
end of trees
"""
TREE = """Tree=0
num_leaves=2
num_cat={num_cat}
split_feature=0
split_gain=1
threshold={threshold}
decision_type={decision}
left_child=-1
right_child=-2
leaf_value=1 2
leaf_weight=1 1
leaf_count=1 1
internal_value=0
internal_weight=0
internal_count=2
{sets}is_linear=0
shrinkage=1

"""


def one_node(threshold: str, decision: int, sets: str = "") -> bytes:
    tree = TREE.format(threshold=threshold, decision=decision, num_cat=1 if sets else 0, sets=sets) + "\n"
    return ONE_NODE.format(size=len(tree), tree=tree[:-1]).encode().replace(b"\nend of", b"\nend of", 1)


def around(value: float) -> list[float]:
    return [value, math.nextafter(value, math.inf), math.nextafter(value, -math.inf)]


NEAR = {near for value in (0.0, ZERO, -ZERO, 1e-36, -1e-36, 5e-324, 0.5, -0.5, 1e300) for near in around(value)}
ODD = [-0.0, np.nan, np.inf, -np.inf, 2.0**31, 2.0**31 - 0.5, -(2.0**31), 2.0**32, 1.0, 33.0, 33.9, -1.0, -0.9]
VALUES = np.array([*sorted(NEAR), *ODD])[:, None]


@pytest.mark.parametrize("decision", [0, 2, 4, 6, 8, 10])
@pytest.mark.parametrize(
    "threshold",
    ["0", "-0", "1e-36", "-1e-36", repr(ZERO), repr(-ZERO), repr(math.nextafter(ZERO, 1)), "5e-324", "-5e-324",
     repr(math.nextafter(-ZERO, -1)), "0.5", "-0.5", "1e300", "inf", "-inf"],
)  # fmt: skip
def test_a_threshold_near_zero_with_every_missing_type(threshold, decision):
    data = one_node(threshold, decision)
    model = read_lightgbm(data, "m")
    check_forest(model.forest)
    assert np.array_equal(answers(model, VALUES)["variable"][:, 0], loaded(data).predict(VALUES))


@given(st.floats(allow_nan=False), st.floats(), st.sampled_from([0, 2, 4, 6, 8, 10]))
def test_any_threshold_with_any_value(threshold, value, decision):
    data = one_node(repr(threshold), decision)
    rows = np.array([[value]])
    assert answers(read_lightgbm(data, "m"), rows)["variable"][0, 0] == loaded(data).predict(rows)[0]


@pytest.mark.parametrize("decision", [1, 3, 5, 9])
@pytest.mark.parametrize("words", ["1", "4294967295", "2147483648 2", "0 0 1", "0"])
def test_categories_of_any_set_with_any_missing_type(words, decision):
    count = len(words.split())
    data = one_node("0", decision, f"cat_boundaries=0 {count}\ncat_threshold={words}\n")
    model = read_lightgbm(data, "m")
    check_forest(model.forest)
    assert np.array_equal(answers(model, VALUES)["variable"][:, 0], loaded(data).predict(VALUES))
    every = np.arange(-2.0, 40.0)[:, None]
    assert np.array_equal(answers(model, every)["variable"][:, 0], loaded(data).predict(every))
    assert model.forest.truncates.all()


# --- missing types of several trainings ---


def holes(rows: np.ndarray, share: float = 0.3) -> np.ndarray:
    return np.where(np.random.default_rng(5).random(rows.shape) < share, np.nan, rows)


def joined(first: dict[str, Any], second: dict[str, Any]) -> bytes:
    return booster(before=booster(**first), **second).model_to_string().encode()


ZEROS = np.where(np.random.default_rng(6).random(X.shape) < 0.4, 0.0, X)


def test_a_feature_without_missing_values_in_some_trees_and_with_them_in_others_is_exact():
    data = joined({"rows": X}, {"rows": holes(X)})
    model = read_lightgbm(data, "m")
    rows = np.concatenate([X, holes(X), VALUES.repeat(3, axis=1)])
    assert np.array_equal(sums(model, rows)[:, 0], loaded(data).predict(rows, raw_score=True))


def test_zeros_that_are_missing_in_some_trees_only_are_exact_where_nan_has_no_way_of_its_own():
    data = joined({"rows": X}, {"rows": ZEROS, "zero_as_missing": True})
    model = read_lightgbm(data, "m")
    assert model.forest.zero_is_missing.any()
    rows = np.concatenate([X, ZEROS, holes(ZEROS), VALUES.repeat(3, axis=1)])
    assert np.array_equal(sums(model, rows)[:, 0], loaded(data).predict(rows, raw_score=True))


def test_zeros_missing_in_some_trees_and_nan_in_others_are_refused_by_name():
    data = joined({"rows": holes(X)}, {"rows": ZEROS, "zero_as_missing": True})
    with pytest.raises(
        ConversionFailed, match=r"where zeros are missing, and others where NaN is: Column_\d"
    ) as caught:
        read_lightgbm(data, "m.txt")
    assert (caught.value.where, caught.value.hint) == ("m.txt", "train all iterations on the same data set")


def test_a_feature_of_both_kinds_is_refused_by_name():
    rows = np.stack([X[:, 0], np.tile(np.arange(8.0), 25), X[:, 2]], axis=1)
    labels = (rows[:, 1] % 3 == 0).astype(float)
    sets = {"categorical": [1], "cat_smooth": 1, "min_data_per_group": 2, "cat_l2": 0, "max_cat_to_onehot": 1}
    data = joined({"rows": rows, "labels": labels}, {"rows": rows, "labels": labels, **sets})
    with pytest.raises(ConversionFailed, match="both as numbers and as categories: Column_1"):
        read_lightgbm(data, "m")


def test_linear_leaves_of_a_category_are_refused_by_name():
    rows = np.stack([X[:, 0], np.tile(np.arange(8.0), 25), X[:, 2]], axis=1)
    sets = {"cat_smooth": 1, "min_data_per_group": 2, "cat_l2": 0, "max_cat_to_onehot": 1}
    data = booster(rows, rows[:, 1] % 3 + rows[:, 0], objective="regression", linear_tree=True, categorical=[1], **sets)
    changed = re.sub(rb"leaf_features=\d", b"leaf_features=1", data.model_to_string().encode())
    assert re.search(rb"num_cat=[1-9]", changed)
    with pytest.raises(ConversionFailed, match=r"linear leaves of these, which are categories .*: Column_1"):
        read_lightgbm(changed, "m")


# --- the whole model ---


def test_every_objective_has_a_task_and_a_link():
    assert LINKS.keys() == classical_outputs.LIGHTGBM.keys()


def test_leaves_and_sums_are_the_librarys():
    data = text(boosting="rf", bagging_freq=1, bagging_fraction=0.5)
    model = read_lightgbm(data, "m")
    forest, library = model.forest, loaded(data)
    assert np.array_equal(forest.leaf_ids[leaves_of(forest, X)], library.predict(X, pred_leaf=True))
    assert np.array_equal(sums(model, X)[:, 0], library.predict(X, raw_score=True) / 3)
    assert model.feature_names == ("Column_0", "Column_1", "Column_2")
    assert model.classes == (0, 1)


@pytest.mark.parametrize("linear", [False, True])
def test_trees_of_one_leaf(linear):
    settings = {"objective": "regression", "linear_tree": linear, "min_data_in_leaf": 500}
    data = text(labels=np.full(200, 3.5), **settings) if not linear else text(labels=Y, **settings)
    model = read_lightgbm(data, "m")
    check_forest(model.forest)
    assert len(model.forest.feature) == 0
    assert np.array_equal(answers(model, X)["variable"][:, 0], loaded(data).predict(X))


def test_a_model_without_trees_is_refused():
    whole = text()
    head, _, rest = whole.partition(b"\n\n")
    empty = re.sub(rb"tree_sizes=.*", b"tree_sizes=", head) + b"\n\n" + rest[rest.index(b"end of trees") :]
    with pytest.raises(ConversionFailed, match="the model has no trees") as caught:
        read_lightgbm(empty, "m.txt")
    assert caught.value.where == "m.txt"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"objective=binary sigmoid:1", b"objective=binary sigmoid:0", "sigmoid '0'"),
        (b"objective=binary sigmoid:1", b"objective=binary sigmoid:-2", "sigmoid '-2'"),
        (b"objective=binary sigmoid:1", b"objective=binary sigmoid:nan", "sigmoid 'nan'"),
        (b"objective=binary sigmoid:1", b"objective=binary", "sigmoid ''"),
        (b"objective=binary sigmoid:1", b"objective=custom", "objective of the user's own"),
        (b"objective=binary sigmoid:1\n", b"", "objective of the user's own"),
        (b"objective=binary sigmoid:1", b"objective=magic", "'magic'"),
        (b"objective=binary sigmoid:1", b"objective=multiclass", "which do not go together"),
    ],
)
def test_a_header_without_a_known_meaning_is_refused(old, new, words):
    data = text()
    assert old in data
    with pytest.raises(ConversionFailed, match=re.escape(words)) as caught:
        read_lightgbm(data.replace(old, new, 1), "m.txt")
    assert caught.value.where == "m.txt"


def test_a_custom_objective_is_refused_with_a_hint():
    import lightgbm

    def squares(predicted: np.ndarray, data: Any) -> tuple[np.ndarray, np.ndarray]:
        return predicted - data.get_label(), np.ones_like(predicted)

    trained = lightgbm.train({"objective": squares, "verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, Y), 2)
    data = trained.model_to_string().encode()
    with pytest.raises(ConversionFailed, match="objective of the user's own") as caught:
        read_lightgbm(data, "m.txt")
    assert caught.value.hint is not None
    # What the hint says works, and changes nothing but the meaning.
    mended = data.replace(b"\nfeature_names=", b"\nobjective=regression\nfeature_names=", 1)
    mended = mended.replace(b"objective=custom\n", b"", 1)
    assert np.array_equal(answers(read_lightgbm(mended, "m"), X)["variable"][:, 0], trained.predict(X))


def test_pandas_categories_are_codes():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(
        {"a": pandas.Categorical(np.array(["x", "y", "z", "w"])[np.arange(200) % 4]), "b": X[:, 1]}
    )
    labels = (table["a"].isin(["x", "w"]) ^ (X[:, 1] > 0)).astype(float)
    sets = {"cat_smooth": 1, "min_data_per_group": 2, "cat_l2": 0, "max_cat_to_onehot": 1}
    trained = booster(table, labels, categorical="auto", **sets)
    model = read_lightgbm(trained.model_to_string().encode(), "m")
    assert model.forest.truncates.tolist() == [True, False]
    codes = np.stack([table["a"].cat.codes, table["b"]], axis=1)
    assert np.array_equal(sums(model, codes)[:, 0], trained.predict(table, raw_score=True))


# --- one half ---


@pytest.mark.parametrize("scale", [1.0, 0.3, 2.0, 1e-300, 1e300, 0.7123456789])
def test_the_greatest_half_is_the_last_that_the_library_does_not_call_positive(scale):
    half = greatest_half(scale)
    assert 1 / (1 + math.exp(-scale * half)) <= 0.5 < 1 / (1 + math.exp(-scale * math.nextafter(half, math.inf)))


@pytest.mark.parametrize("sign", [-1, 0, 1])
def test_labels_next_to_one_half_are_the_librarys(sign):
    half = greatest_half(1.0)
    leaf = {-1: -half, 0: half, 1: math.nextafter(half, 1)}[sign]
    data = one_node("0", 0).replace(b"objective=regression", b"objective=binary sigmoid:1")
    data = data.replace(b"leaf_value=1 2", b"leaf_value=%s 2" % repr(leaf).encode())
    data = re.sub(rb"tree_sizes=\d+", b"tree_sizes=%d" % (data.index(b"end of trees") - data.index(b"Tree=0")), data)
    library = classical_outputs.outputs("binary", loaded(data).predict([[-1.0]]))
    assert answers(read_lightgbm(data, "m"), np.array([[-1.0]]))["label"] == library["label"] == [int(sign == 1)]


# --- what it costs ---


def test_lightgbm_is_not_needed_to_read_and_convert(tmp_path):
    (tmp_path / "m.txt").write_bytes(text())
    code = (
        "import sys\n"
        "sys.modules['lightgbm'] = None\n"
        "from pathlib import Path\n"
        "from mlconvert.artifact import Artifact\n"
        "from mlconvert.converters.lightgbm_to_onnx import convert\n"
        "path = Path(sys.argv[1])\n"
        "convert(Artifact('lightgbm', str(path), (path,)), path.with_suffix('.onnx'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m.txt")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.onnx").stat().st_size > 0


def test_a_large_model_is_read_without_a_loop_over_its_nodes(tmp_path: Path):
    """No more memory than the arrays need, several times over; the time is for the benchmarks."""
    import tracemalloc

    tree = text(trees=1, num_leaves=31, min_data_in_leaf=2)
    head, _, rest = tree.partition(b"\n\n")
    block, _, tail = rest.partition(b"end of trees")
    blocks = [block.replace(b"Tree=0", b"Tree=%d" % index, 1) for index in range(400)]
    sizes = b" ".join(b"%d" % len(own) for own in blocks)
    data = re.sub(rb"tree_sizes=.*", b"tree_sizes=" + sizes, head) + b"\n\n" + b"".join(blocks) + b"end of trees" + tail
    tracemalloc.start()
    model = read_lightgbm(data, "m")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert model.forest.trees == 400
    assert peak < 8 * len(data)
