"""LightGBM's text files: damaged ones end as ConversionFailed that names the tree, never as a crash of LightGBM."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.errors import ConversionFailed
from mlconvert.readers.lightgbm_files import lightgbm_header, load_lightgbm, task_of
from mlconvert.readers.lightgbm_text import read_lightgbm_header, read_lightgbm_text

X = np.random.default_rng(3).normal(size=(200, 4))
X[:, 3] = np.random.default_rng(4).integers(0, 9, 200)
VALUE = X[:, 0] + X[:, 1] + 3 * np.sin(2 * X[:, 3])


def text_of(**settings: Any) -> bytes:
    import lightgbm

    known = {
        "verbose": -1,
        "num_leaves": 6,
        "num_threads": 1,
        "min_data_in_leaf": 5,
        "cat_smooth": 1,
        "min_data_per_group": 3,
        **settings,
    }
    stated = {"linear_tree": True} if settings.get("linear_tree") else {}
    data = lightgbm.Dataset(X, (VALUE > 0).astype(float), params={"verbose": -1, **stated},
                            categorical_feature=settings.get("categorical", []))  # fmt: skip
    known.pop("categorical", None)
    return lightgbm.train(known, data, 3).model_to_string().encode()


@pytest.fixture(scope="module")
def text() -> bytes:
    return text_of(objective="binary")


@pytest.fixture(scope="module")
def with_sets() -> bytes:
    return text_of(objective="binary", categorical=[3])


@pytest.fixture(scope="module")
def linear() -> bytes:
    return text_of(objective="regression", linear_tree=True)


# --- whole files ---


def test_the_header_is_read(text, tmp_path):
    header = read_lightgbm_header(text, "m.txt")
    assert (header.objective, header.parameters, header.outputs, header.trees) == ("binary", ("sigmoid:1",), 1, 3)
    assert header.feature_names == ("Column_0", "Column_1", "Column_2", "Column_3")
    assert (header.averaged, header.parameter("sigmoid")) == (False, "1")
    assert header == read_lightgbm_text(text, "m.txt").header
    path = tmp_path / "m.txt"
    path.write_bytes(text)
    assert lightgbm_header(path) == header
    assert load_lightgbm(path)[1] == header


def test_trees_of_a_single_leaf_have_empty_lines(tmp_path):
    text = text_of(objective="multiclass", num_class=3)  # the third class is nowhere in the labels
    assert b"\nleaf_weight=\n" in text
    path = tmp_path / "m.txt"
    path.write_bytes(text)
    assert load_lightgbm(path)[0].predict(X).shape == (200, 3)


def test_the_arrays_are_those_of_the_library(with_sets):
    import lightgbm

    trees = read_lightgbm_text(with_sets, "m").trees
    table = lightgbm.Booster(model_str=with_sets.decode()).trees_to_dataframe()
    leaves = table[table["left_child"].isna()]
    assert len(trees.leaf_value) == len(leaves)
    assert sorted(trees.leaf_value) == sorted(leaves["value"])
    inner = table[~table["left_child"].isna()]
    names = [f"Column_{index}" for index in trees.feature]
    assert sorted(names) == sorted(inner["split_feature"])
    assert trees.nodes.sum() == len(inner)
    assert (trees.category_set >= 0).sum() == (inner["decision_type"] == "==").sum() > 0


def test_linear_leaves_are_read(linear):
    leaves = read_lightgbm_text(linear, "m").trees.linear
    assert leaves is not None
    assert leaves.terms.sum() == len(leaves.feature) == len(leaves.coefficient) > 0
    assert read_lightgbm_text(text_of(objective="binary"), "m").trees.linear is None


@pytest.mark.parametrize("version", ["v2", "v3", "v4"])
def test_known_versions_are_read(text, version):
    read_lightgbm_text(text.replace(b"version=v4", f"version={version}".encode()), "m.txt")


# --- damage ---


def test_a_file_cut_anywhere_before_the_end_of_its_trees_is_refused(text):
    end = text.index(b"end of trees")
    for length in (*range(0, end, 37), end, end + 5):
        with pytest.raises(ConversionFailed):
            read_lightgbm_text(text[:length], "m.txt")


def change(text: bytes, line: str, index: int, value: str, tree: int = 1) -> bytes:
    """Set one entry of a line of a tree; its size in the header is set right."""
    start = text.index(b"Tree=%d\n" % tree)
    found = re.compile(rb"(?m)^" + line.encode() + rb"=(.*)$").search(text, start)
    assert found
    words = found.group(1).split()
    words[index] = value.encode()
    changed = text[: found.start(1)] + b" ".join(words) + text[found.end(1) :]
    sizes = re.search(rb"(?m)^tree_sizes=(.*)$", changed)
    assert sizes
    numbers = [int(word) for word in sizes.group(1).split()]
    numbers[tree] += len(changed) - len(text)
    return changed[: sizes.start(1)] + b" ".join(b"%d" % number for number in numbers) + changed[sizes.end(1) :]


@pytest.mark.parametrize(
    ("line", "index", "value", "words"),
    [
        ("left_child", 0, "99", "a child that does not exist"),
        ("right_child", 0, "-99", "a child that does not exist"),
        ("left_child", 0, "0", "a node before the node whose child it is"),
        ("right_child", 3, "1", "a node before the node whose child it is"),
        ("left_child", 0, "-1", "two parents"),
        ("left_child", 0, "1.5", "something else than numbers"),
        ("split_feature", 0, "7", "a feature that the model does not have"),
        ("split_feature", 0, "-1", "a feature that the model does not have"),
        ("num_leaves", 0, "9", "has not 8 numbers"),
        ("num_leaves", 0, "0", "has no leaf"),
        ("num_leaves", 0, "-3", "has no leaf"),
        ("num_leaves", 0, "99999999999999999999", "has not"),
        ("num_leaves", 0, "many", "no whole number"),
        ("threshold", 0, "x", "something else than numbers"),
        ("threshold", 0, "nan", "NaN"),
        ("threshold", 0, "1 2", "has not 5 numbers"),
        ("leaf_value", 0, "x", "something else than numbers"),
        ("leaf_value", 0, "0x10", "something else than numbers"),
        ("decision_type", 0, "3", "names a category set that it does not have"),
        ("decision_type", 0, "12", "a decision type"),
        ("decision_type", 0, "-2", "a decision type"),
        ("decision_type", 0, "99999999999999999999", "a decision type"),
        ("num_cat", 0, "1", "has no 'cat_boundaries'"),
        ("num_cat", 0, "-1", "damaged 'num_cat'"),
        ("is_linear", 0, "1", "has no 'num_features'"),
        ("leaf_value", 1, "\x0c1", "other characters than text"),
        ("leaf_value", 1, "\xb2", "other characters than text"),
    ],
)
def test_a_damaged_tree_is_refused_and_named(text, line, index, value, words):
    with pytest.raises(ConversionFailed, match=r"damaged one: .*tree 1\b") as caught:
        read_lightgbm_text(change(text, line, index, value), "m.txt")
    assert words in caught.value.message
    assert (caught.value.where, caught.value.hint) == ("m.txt", "save it again with booster.save_model(path)")


@pytest.mark.parametrize(
    ("line", "index", "value"),
    [
        ("cat_boundaries", 0, "1"), ("cat_boundaries", -1, "0"), ("cat_boundaries", -1, "99999999999999"),
        ("cat_boundaries", -1, "9223372036854775807"), ("cat_boundaries", -1, "-5"), ("cat_threshold", 0, "-1"),
        ("cat_threshold", 0, "4294967296"), ("cat_threshold", 0, "1 1"), ("num_cat", 0, "7"),
    ],
)  # fmt: skip
def test_damaged_category_sets_are_refused(with_sets, line, index, value):
    tree = next(tree for tree in range(3) if b"cat_boundaries" in with_sets.split(b"Tree=")[tree + 1])
    with pytest.raises(ConversionFailed, match=rf"damaged one: .*tree {tree}\b"):
        read_lightgbm_text(change(with_sets, line, index, value, tree), "m.txt")


@pytest.mark.parametrize("value", ["0.5", "9", "-1", "1e300", "inf"])
def test_a_node_whose_set_does_not_exist_is_refused(with_sets, value):
    tree, node = next(
        (tree, kinds.index(b"1"))
        for tree in range(3)
        if b"1" in (kinds := re.findall(rb"decision_type=(.*)", with_sets)[tree].split())
    )
    with pytest.raises(ConversionFailed, match=f"tree {tree} names a category set"):
        read_lightgbm_text(change(with_sets, "threshold", node, value, tree), "m.txt")


@pytest.mark.parametrize(
    ("line", "index", "value"),
    [
        ("num_features", 0, "99"), ("num_features", 0, "-1"), ("leaf_features", 0, "4"), ("leaf_features", 0, "-1"),
        ("leaf_coeff", 0, "x"), ("leaf_coeff", 0, "1 1"), ("leaf_const", 0, "nan"), ("leaf_const", 0, ""),
        ("leaf_const", 0, "1e400"), ("leaf_coeff", 0, "-1e-310"),
    ],
)  # fmt: skip
def test_damaged_linear_leaves_are_refused(linear, line, index, value):
    with pytest.raises(ConversionFailed, match=r"damaged one: .*tree 1\b"):
        read_lightgbm_text(change(linear, line, index, value), "m.txt")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"max_feature_idx=3", b"max_feature_idx=4", "it names 4 features, and its trees use 5"),
        (b"max_feature_idx=3", b"max_feature_idx=x", "max_feature_idx is no whole number"),
        (b"max_feature_idx=3\n", b"", "it has no 'max_feature_idx'"),
        (b"num_tree_per_iteration=1", b"num_tree_per_iteration=2", "not a whole number of iterations"),
        (b"num_tree_per_iteration=1", b"num_tree_per_iteration=0", "iterations of 0"),
        (b"num_class=1", b"num_class=3", "1 trees an iteration, and 3 classes"),
        (b"objective=binary", b"objective=multiclass num_class:3", "its objective has 3 classes, and the model 1"),
        (b"version=v4\n", b"", "it has no 'version'"),
        (b"tree_sizes=", b"tree_sizes=1 ", "tree 0 of 4 is not where the header says"),
        (b"Tree=2", b"Tree=7", "tree 2 of 3 is not where the header says"),
        (b"end of trees", b"end of tree", "'end of trees' is missing"),
        (b"tree\n", b"bush\n", "does not begin with 'tree'"),
        (b"\n", b"\r\n", "CR LF"),
    ],
)
def test_a_damaged_header_is_refused(text, old, new, words):
    assert old in text
    with pytest.raises(ConversionFailed, match="damaged") as caught:
        read_lightgbm_text(text.replace(old, new, -1 if old == b"\n" else 1), "m.txt")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("line", "index", "value"),
    [("leaf_count", 1, "x"), ("split_gain", 0, "1x1 2"), ("internal_weight", 0, ""), ("leaf_weight", -1, "1 1"),
     ("internal_value", 0, "?"), ("internal_count", 0, "1.5"), ("shrinkage", 0, "x"), ("leaf_weight", 0, "1e")],
)  # fmt: skip
def test_lines_that_only_lightgbm_reads_are_checked_before_it_does(text, line, index, value, tmp_path):
    damaged = change(text, line, index, value)
    read_lightgbm_text(damaged, "m.txt")
    path = tmp_path / "m.txt"
    path.write_bytes(damaged)
    with pytest.raises(ConversionFailed, match=rf"damaged one: .*{line}.* tree 1\b"):
        load_lightgbm(path)


@pytest.mark.parametrize("change", [(b"shrinkage=", b"shrinkage "), (b"\n\n\nTree=2", b"\n \n\nTree=2"),
                                    (b"\nleaf_value=", b"\nx=1" * 30 + b"\nleaf_value=")])  # fmt: skip
def test_a_line_that_lightgbm_would_not_find_the_end_of_is_refused(text, change):
    start = text.index(b"Tree=1\n")
    damaged = text[:start] + text[start:].replace(*change, 1)
    sizes = re.search(rb"(?m)^tree_sizes=(\d+) (\d+)", damaged)
    grown = b"%d" % (int(sizes.group(2)) + len(damaged) - len(text))
    with pytest.raises(ConversionFailed, match="tree 1 has a line that is damaged"):
        read_lightgbm_text(damaged[: sizes.start(2)] + grown + damaged[sizes.end(2) :], "m.txt")


def test_a_newer_version_is_refused_by_name(text):
    with pytest.raises(ConversionFailed, match="the version v5, which is not known here") as caught:
        read_lightgbm_text(text.replace(b"version=v4", b"version=v5"), "m.txt")
    assert (caught.value.where, "update mlconvert" in caught.value.hint) == ("m.txt", True)


def test_what_is_no_lightgbm_model_is_refused(tmp_path):
    for data in (b"", b"\xff\xfe\x00", b"tree\n", b"hello\n\nworld", b"tree\nversion=v4\n\n"):
        path = tmp_path / "m.txt"
        path.write_bytes(data)
        with pytest.raises(ConversionFailed) as caught:
            load_lightgbm(path)
        assert caught.value.where == str(path)
    with pytest.raises(ConversionFailed, match="cannot read"):
        load_lightgbm(tmp_path / "absent.txt")


@pytest.mark.parametrize("line", [b"", b"objective=custom\n"])
def test_an_objective_of_the_users_own_is_refused_with_a_hint(text, line):
    header = read_lightgbm_header(text.replace(b"objective=binary sigmoid:1\n", line, 1), "m.txt")
    with pytest.raises(ConversionFailed, match="objective of the user's own") as caught:
        task_of(header, "m.txt")
    assert "objective=regression" in caught.value.hint
    other = read_lightgbm_header(text.replace(b"objective=binary", b"objective=magic", 1), "m.txt")
    with pytest.raises(ConversionFailed, match="'magic'"):
        task_of(other, "m.txt")


def test_what_was_mutated_is_refused_or_never_crashes_lightgbm(text, with_sets, linear, tmp_path):
    """Bytes and numbers changed at random: what passes the checks is loaded and run, in a child process."""
    random = np.random.default_rng(11)
    whole = 0
    for number in range(360):
        data = bytearray((text, with_sets, linear)[number % 3])
        end = data.index(b"end of trees")
        for _ in range(random.integers(1, 4)):
            place = int(random.integers(end))
            match random.integers(3):
                case 0:
                    data[place] = random.integers(256)
                case 1:  # a digit, or a sign
                    digits = [at for at in range(place, min(end, place + 200)) if chr(data[at]).isdigit()]
                    data[digits[0] if digits else place] = ord(str(random.integers(10)))
                case _:
                    del data[place : place + int(random.integers(1, 30))]
        try:
            read_lightgbm_text(bytes(data), "m.txt")
        except ConversionFailed:
            continue
        (tmp_path / f"{number}.txt").write_bytes(data)
        whole += 1
    assert 20 < whole < 340
    code = (
        "import pathlib, sys, numpy\n"
        "from mlconvert.errors import ConversionFailed\n"
        "from mlconvert.forests.evaluation import answers\n"
        "from mlconvert.forests.lightgbm import read_lightgbm\n"
        "from mlconvert.forests.model import check_forest\n"
        "from mlconvert.readers.lightgbm_files import load_lightgbm\n"
        "rows = numpy.random.default_rng(0).normal(size=(50, 4))\n"
        "rows[::9] = numpy.nan\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        booster, _ = load_lightgbm(path)\n"
        "        booster.predict(rows, num_threads=1)\n"
        "        model = read_lightgbm(path.read_bytes(), 'm')\n"
        "    except ConversionFailed:\n"
        "        continue\n"
        "    check_forest(model.forest)\n"
        "    wanted = booster.predict(rows, num_threads=1)\n"
        "    got = answers(model, rows)\n"
        "    got = got['variable'][:, 0] if 'variable' in got else got['probabilities'][:, -1]\n"
        "    assert numpy.allclose(got, wanted, rtol=1e-9, atol=1e-12, equal_nan=True), path\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]


def test_nothing_is_imported_to_read_options():
    code = (
        "import sys\n"
        "from mlconvert.converter import options_of\n"
        "from mlconvert.converters import CONVERTERS\n"
        "names = ('lightgbm', 'xgboost', 'catboost', 'sklearn', 'statsmodels', 'treelite')\n"
        "for row in CONVERTERS:\n"
        "    if row.source in names:\n"
        "        assert ('opset' in options_of(row.load())) == (row.target == 'onnx'), row\n"
        "heavy = {'numpy', 'onnx', 'onnxruntime', 'sklearn', 'pandas', 'skl2onnx', *names}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_paths_are_named(tmp_path: Path):
    path = tmp_path / "broken.txt"
    path.write_bytes(b"tree\nversion=v4\n\n")
    with pytest.raises(ConversionFailed) as caught:
        lightgbm_header(path)
    assert caught.value.where == str(path)
