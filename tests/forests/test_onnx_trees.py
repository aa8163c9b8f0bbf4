"""The ONNX file of a TreeModel answers as the model does: every feature of the model, drawn at random."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlconvert.forests import onnx_sums
from mlconvert.forests.evaluation import answers, leaves_of, sums
from mlconvert.forests.model import Link
from mlconvert.forests.onnx_file import write_trees

FEATURES = {
    "plain": {},
    "strict": {"strict": True},
    "missing": {"missing": True},
    "base": {"base": 0.3},
    "many trees": {"trees": 90, "depth": 2},
    "a chain": {"chain": True, "depth": 6},
    "only leaves": {"depth": 0},
    "small sets": {"sets": 5, "missing": True},
    "sets": {"sets": 30},
    "large sets": {"sets": 90, "missing": True},
    "truncated": {"sets": 90, "truncates": True},
    "truncated numbers": {"truncates": True, "missing": True},
    "zeros": {"zero_is_missing": True, "missing": True},
    "zeros and sets": {"sets": 9, "truncates": True, "zero_is_missing": True, "missing": True},
    "several outputs": {"outputs": 3, "trees": 8, "base": -0.7},
    "vectors": {"outputs": 3, "vector": True, "divisor": 5.0},
    "vectors and a base": {"outputs": 2, "vector": True, "base": 1.5},
    "linear": {"linear": True},
    "linear, several outputs": {"linear": True, "outputs": 2, "trees": 7, "base": 0.1},
    "linear, zeros": {"linear": True, "zero_is_missing": True, "truncates": True},
    "binary": {"task": "binary", "link": Link("sigmoid", 1.5), "base": 0.2},
    "binary, texts": {"task": "binary", "link": Link("sigmoid"), "texts": True},
    "binary, a cut": {"task": "binary", "link": Link("sigmoid"), "cut": 0.25},
    "binary, step": {"task": "binary", "link": Link("step")},
    "classes": {"task": "multiclass", "link": Link("softmax", 0.7), "outputs": 3, "trees": 9},
    "classes, texts": {"task": "multiclass", "link": Link("softmax"), "outputs": 4, "texts": True},
    "classes, one against all": {"task": "multiclass", "link": Link("sigmoid", 2.0), "outputs": 3},
    "classes by sums": {"task": "multiclass", "link": Link("softmax"), "outputs": 3, "label_by_sums": True},
    "classes of vectors": {"task": "multiclass", "outputs": 3, "vector": True, "divisor": 5.0},
    "outliers": {"task": "outlier", "link": Link("isolation", 3.0, -0.5), "divisor": 5.0, "cut": 0.1},
}
OPTIONS = {
    "default": {},
    "float32": {"dtype": "float32"},
    "all outputs": {"raw_scores": True, "leaf_indices": True},
    "for 1.19": {"target_runtime": "1.19"},
    "float32 for 1.19": {"target_runtime": "1.19", "dtype": "float32", "raw_scores": True},
    "for 1.22": {"target_runtime": "1.22.0"},
}
TYPES = [("float64", "float64"), ("float32", "float64"), ("float32", "float32")]


def session_of(path: Path, threads: int = 1) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def check(path, model, rows, *, threads=1, **options):
    """Hold the file against numpy on all rows, a few, one and none."""
    made = write_trees(model, path, **options)
    session = session_of(made.path, threads)
    float32 = options.get("dtype") == "float32"
    if float32:
        with np.errstate(over="ignore"):
            rows = rows.astype(np.float32)
        model = replace(model, arithmetic="float32")
    for count in (len(rows), 7, 1, 0):
        some = rows[:count]
        wide = some.astype(np.float64)
        wanted = answers(model, wide)
        if options.get("raw_scores"):
            with np.errstate(all="ignore"):
                wanted["raw_scores"] = sums(model, wide)
        if options.get("leaf_indices"):
            wanted["leaf_indices"] = model.forest.leaf_ids[leaves_of(model.forest, wide)]
        names = [output.name for output in session.get_outputs()]
        assert sorted(names) == sorted(wanted)
        for name, got in zip(names, session.run(names, {"input": some}), strict=True):
            expected = wanted[name]
            assert got.shape == expected.shape
            if expected.dtype.kind == "f":
                assert got.dtype == expected.dtype
                bound = 1e-12 if got.dtype == np.float64 else 1e-5
                np.testing.assert_allclose(got, expected, rtol=bound, atol=bound, err_msg=name)
            else:
                np.testing.assert_array_equal(got.astype(expected.dtype), expected, err_msg=name)


@pytest.mark.parametrize("types", TYPES, ids=["double", "cast", "float"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("features", FEATURES.values(), ids=FEATURES)
def test_a_file_answers_as_its_model(tmp_path, random_forests, features, options, types):
    kind = random_forests.Kind(**features, compares=types[0], arithmetic=types[1])
    model = random_forests.random_forest(kind, 2)
    check(tmp_path / "m.onnx", model, random_forests.rows_for(model, 2), **options)


KINDS = st.fixed_dictionaries(
    {
        "trees": st.integers(1, 12),
        "depth": st.integers(0, 5),
        "strict": st.booleans(),
        "missing": st.booleans(),
        "sets": st.sampled_from([0, 0, 1, 3, 31, 32, 64, 70]),
        "truncates": st.booleans(),
        "zero_is_missing": st.booleans(),
        "outputs": st.integers(1, 4),
        "vector": st.booleans(),
        "linear": st.booleans(),
        "base": st.sampled_from([0.0, 0.4, -3.0]),
        "divisor": st.sampled_from([1.0, 3.0]),
        "chain": st.booleans(),
    }
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KINDS, st.sampled_from(TYPES), st.sampled_from(list(OPTIONS.values())), st.integers(0, 1 << 30))
def test_any_mixture_of_features(tmp_path, random_forests, features, types, options, seed):
    if features["vector"] and features["outputs"] > 1:
        features = {**features, "linear": False}
    kind = random_forests.Kind(**features, compares=types[0], arithmetic=types[1])
    model = random_forests.random_forest(kind, seed)
    check(tmp_path / "m.onnx", model, random_forests.rows_for(model, seed), **options)


@pytest.mark.parametrize("rows", [1, 7, 60, 300])
@pytest.mark.parametrize("features", ["many trees", "several outputs", "large sets", "classes of vectors"])
def test_leaves_do_not_depend_on_threads(tmp_path, random_forests, features, rows):
    """Nor on how many rows come at once: ONNX Runtime goes other ways for few rows, many trees, several threads."""
    kind = random_forests.Kind(**{**FEATURES[features], "trees": 90, "depth": 3})
    model = random_forests.random_forest(kind, 4)
    check(tmp_path / "m.onnx", model, random_forests.rows_for(model, 4, rows), threads=2, leaf_indices=True)
    check(tmp_path / "m.onnx", model, random_forests.rows_for(model, 4, rows), threads=2)


@pytest.mark.parametrize("leaf_indices", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_float32_sums_are_added_in_order(tmp_path, random_forests, outputs, leaf_indices):
    """Bit for bit, the base first: in float32 each other order gives other sums."""
    kind = random_forests.Kind(compares="float32", arithmetic="float32", trees=200, depth=2, outputs=outputs, base=0.7)
    model = random_forests.random_forest(kind, 3)
    rows = random_forests.rows_for(model, 3, 200)
    write_trees(model, tmp_path / "m.onnx", raw_scores=True, leaf_indices=leaf_indices)
    session = session_of(tmp_path / "m.onnx")
    wanted = sums(model, rows)
    for some in (slice(None), slice(0, 1), slice(3, 40)):
        np.testing.assert_array_equal(session.run(["raw_scores"], {"input": rows[some]})[0], wanted[some])
    backwards = replace(model.forest, leaf_values=model.forest.leaf_values[::-1])
    assert not np.array_equal(sums(replace(model, forest=backwards), rows), wanted)


def test_sums_of_vectors_are_added_in_order_whatever_the_threads(tmp_path, random_forests):
    kind = random_forests.Kind(task="multiclass", outputs=3, vector=True, trees=100, depth=2, divisor=100.0)
    model = random_forests.random_forest(kind, 3)
    rows = random_forests.rows_for(model, 3, 100)
    write_trees(model, tmp_path / "m.onnx", raw_scores=True)
    for some in (rows, rows[:1]):
        got = session_of(tmp_path / "m.onnx", threads=2).run(["raw_scores"], {"input": some})[0]
        np.testing.assert_array_equal(got, sums(model, some))


@pytest.mark.parametrize("features", ["vectors", "several outputs", "linear", "vectors and a base"])
@pytest.mark.parametrize("runtime", [None, "1.19"])
def test_leaves_beyond_what_a_float32_can_number(tmp_path, random_forests, monkeypatch, features, runtime):
    """Then the operator gives the number within the tree, and what comes before it is added as an integer."""
    monkeypatch.setattr(onnx_sums, "INDEX_LIMIT", 20)
    model = random_forests.random_forest(random_forests.Kind(**FEATURES[features]), 1)
    check(
        tmp_path / "m.onnx",
        model,
        random_forests.rows_for(model, 1),
        leaf_indices=True,
        target_runtime=runtime,
    )
