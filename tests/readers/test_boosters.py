"""Damaged native files end as ConversionFailed: never as a crash, never as a smaller model."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlconvert.errors import ConversionFailed
from mlconvert.readers.boosters import load_catboost, load_lightgbm, load_xgboost, read_lightgbm_text

X = np.random.default_rng(3).normal(size=(200, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


@pytest.fixture(scope="module")
def lightgbm_text(tmp_path_factory) -> bytes:
    import lightgbm

    path = tmp_path_factory.mktemp("lightgbm") / "m.txt"
    settings = {"objective": "binary", "verbose": -1, "num_leaves": 6, "num_threads": 1, "min_data_in_leaf": 5}
    lightgbm.train(settings, lightgbm.Dataset(X, Y), 3).save_model(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def xgboost_files(tmp_path_factory) -> dict[str, bytes]:
    import xgboost

    folder = tmp_path_factory.mktemp("xgboost")
    booster = xgboost.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, xgboost.DMatrix(X, Y), 3)
    for suffix in (".json", ".ubj"):
        booster.save_model(folder / f"m{suffix}")
    return {suffix: (folder / f"m{suffix}").read_bytes() for suffix in (".json", ".ubj")}


def test_the_header_is_read(lightgbm_text):
    text = read_lightgbm_text(lightgbm_text, "m.txt")
    assert (text.objective, text.num_class, text.trees) == ("binary", 1, 3)
    assert text.feature_names == ("Column_0", "Column_1", "Column_2", "Column_3")
    assert [text.averaged, text.linear, text.zero_as_missing, text.categorical] == [False] * 4


def test_lightgbm_cut_anywhere_before_the_end_of_its_trees_is_refused(lightgbm_text):
    end = lightgbm_text.index(b"end of trees")
    for length in (*range(0, end, 37), end, end + 5):
        with pytest.raises(ConversionFailed):
            read_lightgbm_text(lightgbm_text[:length], "m.txt")


def change(text: bytes, line: str, index: int, value: str) -> bytes:
    """Set one entry of the first such line, padded so that tree_sizes still hold."""
    found = re.search(rb"(?m)^" + line.encode() + rb"=(.*)$", text)
    words = found.group(1).split()
    room = len(words[index])
    words[index] = value.encode().rjust(room, b"0") if not value.startswith("-") else value.encode()
    changed = text[: found.start(1)] + b" ".join(words) + text[found.end(1) :]
    grown = len(changed) - len(text)
    sizes = re.search(rb"(?m)^tree_sizes=(\d+)", changed)
    return changed[: sizes.start(1)] + str(int(sizes.group(1)) + grown).encode() + changed[sizes.end(1) :]


@pytest.mark.parametrize(
    ("line", "index", "value"),
    [
        ("left_child", 0, "99"),
        ("right_child", 0, "-99"),
        ("left_child", 0, "0"),
        ("split_feature", 0, "7"),
        ("num_leaves", 0, "9"),
        ("threshold", 0, "x"),
        ("leaf_value", 0, "x"),
        ("decision_type", 0, "3"),  # categorical, in a tree without category sets
    ],
)
def test_a_damaged_tree_is_refused(lightgbm_text, line, index, value):
    damaged = change(lightgbm_text, line, index, value)
    assert damaged != lightgbm_text
    with pytest.raises(ConversionFailed, match="damaged"):
        read_lightgbm_text(damaged, "m.txt")


def test_what_is_no_lightgbm_model_is_refused(tmp_path):
    for data in (b"", b"\xff\xfe\x00", b"tree\n", b"hello\n\nworld"):
        path = tmp_path / "m.txt"
        path.write_bytes(data)
        with pytest.raises(ConversionFailed):
            load_lightgbm(path)
    with pytest.raises(ConversionFailed, match="cannot read"):
        load_lightgbm(tmp_path / "absent.txt")


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_a_cut_off_xgboost_file_is_refused_without_a_crash(tmp_path, xgboost_files, suffix):
    whole = xgboost_files[suffix]
    for index, length in enumerate((1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 5)):
        (tmp_path / f"m{index}{suffix}").write_bytes(whole[:length])
    # In a child process: should the library crash after all, this test fails instead of the test run.
    code = (
        "import sys, pathlib\n"
        "from mlconvert.errors import ConversionFailed\n"
        "from mlconvert.readers.boosters import load_xgboost\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        load_xgboost(path)\n"
        "    except ConversionFailed:\n"
        "        print(path.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"m{index}{suffix}" for index in range(5)]


def test_what_is_no_xgboost_model_is_refused(tmp_path):
    for data in (b"", b"hello", b"{}", b'{"learner": 3}', b"[1, 2]"):
        path = tmp_path / "m.json"
        path.write_bytes(data)
        with pytest.raises(ConversionFailed):
            load_xgboost(path)


def test_a_damaged_catboost_file_is_refused(tmp_path):
    import catboost

    model = catboost.CatBoostClassifier(iterations=3, depth=2, verbose=0, allow_writing_files=False, thread_count=1)
    model.fit(X, Y)
    path = tmp_path / "m.cbm"
    model.save_model(str(path))
    whole = path.read_bytes()
    assert load_catboost(path).classes_.tolist() == [0, 1]
    for data in (b"", b"hello", whole[:4], whole[:6], whole[: len(whole) // 2], whole[: len(whole) - 9]):
        path.write_bytes(data)
        with pytest.raises(ConversionFailed):
            load_catboost(path)


def test_nothing_is_imported_to_read_options():
    code = (
        "import sys\n"
        "from mlconvert.converter import options_of\n"
        "from mlconvert.converters import CONVERTERS\n"
        "names = ('lightgbm', 'xgboost', 'catboost', 'sklearn')\n"
        "for row in CONVERTERS:\n"
        "    if row.source in names:\n"
        "        assert 'opset' in options_of(row.load()), row\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'sklearn', 'pandas', 'lightgbm', 'xgboost', 'catboost', 'skl2onnx'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_paths_are_named(tmp_path: Path):
    path = tmp_path / "broken.txt"
    path.write_bytes(b"tree\nversion=v4\n\n")
    with pytest.raises(ConversionFailed) as caught:
        load_lightgbm(path)
    assert caught.value.where == str(path)
