"""Each way of calling a model in its natural runtime answers as mlconvert's runner of its format does."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

import mlconvert
from mlconvert.artifact import Artifact
from mlconvert.benchmarking.inputs import inputs_of
from mlconvert.benchmarking.turns import Model, python_turns, tiled
from mlconvert.benchmarking.ways import WAYS, ways_of
from mlconvert.errors import NotVerified
from mlconvert.formats import source_artifact
from mlconvert.registry import registry
from mlconvert.samples import check_samples, read_samples
from mlconvert.signature import Signature, TensorSpec

# Of each fixture: the samples' suffix, and for each way the outputs that its call gives.
PROBABILITIES, VALUES = {"probabilities"}, {"variable"}
CASES = [
    ("breast_cancer.txt", "csv", {"data frame": {"label", "probabilities"}, "array": {"label", "probabilities"}}),
    ("loans.ubj", "csv", {"DMatrix": {"label", "probabilities"}, "in place": {"label", "probabilities"}}),
    ("iris_xgboost.json", "csv", {"DMatrix": {"label", "probabilities"}, "in place": {"label", "probabilities"}}),
    ("diabetes.cbm", "csv", {"": VALUES}),
    ("wine_forest.skops", "npz", {"data frame": PROBABILITIES, "array": PROBABILITIES}),
    ("churn.skops", "csv", {"data frame": PROBABILITIES, "array": None}),
    ("tickets.skops", "csv", {"data frame": None, "array": PROBABILITIES}),
    ("bikes.skops", "csv", {"data frame": VALUES, "array": None}),
]


def ready(path, samples):
    artifact = source_artifact(str(path))
    runner = registry().runner(artifact.format)
    signature = runner.signature(artifact)
    rows = check_samples(read_samples(samples, signature), signature)
    return replace(artifact, signature=signature), rows, runner


@pytest.mark.parametrize(("name", "suffix", "gives"), CASES, ids=[case[0] for case in CASES])
def test_a_way_answers_as_the_runner_does(trained, name, suffix, gives):
    path = trained(name)
    artifact, rows, runner = ready(path, path.with_name(f"{name.partition('.')[0]}.{suffix}"))
    assert {way.name for way in ways_of(artifact.format)} == set(gives)
    right = runner.load(artifact).run({key: array[:5] for key, array in rows.items()})
    for way in ways_of(artifact.format):
        if gives[way.name] is None:
            with pytest.raises(NotVerified):
                way.open(artifact, 1)
            continue
        model = way.open(artifact, 1)
        turns = python_turns(model, inputs_of(artifact, rows, 5), 7, process=None)
        singles, batch = turns.answers(5)
        assert set(singles) == set(batch) == gives[way.name]
        for output in singles:
            np.testing.assert_allclose(singles[output], right[output], rtol=1e-6, err_msg=way.name)
            np.testing.assert_allclose(batch[output], right[output], rtol=1e-6, err_msg=way.name)
        assert len(turns.one_row(3)) == 3
        assert len(turns.batch(2)) == 2


@pytest.mark.parametrize(
    ("to", "call"), [("openvino", "infer_request.infer"), ("saved-model", "serving_default(**tensors)")]
)
def test_a_network_is_called_in_its_own_runtime(small_onnx, tmp_path, to, call, monkeypatch):
    from mlconvert.runners import onnx

    # TensorFlow takes a number of threads before it has run anything, and in this process it may have.
    monkeypatch.setattr("mlconvert.benchmarking.ways.runtimes.limit_tensorflow", lambda threads: None)
    mlconvert.convert(small_onnx, to=to, output=tmp_path / "out", verify=False)
    artifact = source_artifact(str(tmp_path / "out"))
    artifact = replace(artifact, signature=registry().runner(to).signature(artifact))
    rows = {"x": np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)}
    right = onnx.load(source_artifact(str(small_onnx))).run(rows)
    (way,) = ways_of(to)
    turns = python_turns(way.open(artifact, 1), inputs_of(artifact, rows, 5), 11, process=None)
    assert turns.call == call
    for told in turns.answers(5):
        assert set(told) == set(right)
        for name in right:
            np.testing.assert_allclose(told[name], right[name], rtol=1e-5, atol=1e-6)
    assert len(turns.batch(2)) == 2


def test_every_row_of_the_table_names_a_function_and_a_format_with_a_runner():
    runs = {row.format for row in registry().runners}
    for way in WAYS:
        assert find_spec(way.module) is not None, way
        assert way.format in runs, way


def test_a_format_without_a_way_goes_through_its_runner(trained, tmp_path):
    mlconvert.convert(trained("breast_cancer.txt"), to="treelite", output=tmp_path / "m.tl", verify=False)
    artifact, rows, runner = ready(tmp_path / "m.tl", trained("breast_cancer.txt").with_suffix(".csv"))
    (way,) = ways_of(artifact.format)
    turns = python_turns(way.open(artifact, 1), inputs_of(artifact, rows, 4), 6, process=None)
    right = runner.load(artifact).run({key: array[:4] for key, array in rows.items()})
    assert turns.call == "mlconvert's runner of treelite"
    for told in turns.answers(4):
        for name in right:
            np.testing.assert_array_equal(told[name], right[name])


# --- inputs ---


def artifact_of(*inputs, renamed=None):
    return Artifact("onnx", "m.onnx", (), Signature(inputs, ()), renamed=renamed or {})


def test_inputs_go_by_the_models_own_names_and_dtypes():
    artifact = artifact_of(TensorSpec("X", "float32", ("batch", 2)), renamed={"input": "X"})
    inputs = inputs_of(artifact, {"input": np.ones((9, 2)), "dropped": np.ones((9, 1))}, 4)
    feed = inputs.cut(0, 3)
    assert list(feed) == ["X"]
    assert (feed["X"].dtype, feed["X"].shape, inputs.rows, inputs.batches) == (np.float32, (3, 2), 4, True)
    assert tiled(inputs, 10)["X"].shape == (10, 2)


def test_a_model_of_one_row_has_no_batches():
    inputs = inputs_of(artifact_of(TensorSpec("x", "float32", (1, 2))), {"x": np.ones((9, 2))}, 9)
    assert (inputs.batches, inputs.bare) == (False, False)
    inputs = inputs_of(artifact_of(TensorSpec("x", "float32", (3, 2))), {"x": np.ones((9, 3, 2))}, 9)
    assert (inputs.batches, inputs.bare) == (False, True)
    assert inputs.cut(2, 3)["x"].shape == (3, 2)
    model = Model("f", lambda feed: feed["x"], lambda x: x.sum(axis=1), lambda told: {"y": told})
    turns = python_turns(model, inputs, 10, process=None)
    assert turns.batch is None
    (told,) = turns.answers(4)
    assert told["y"].shape == (4, 3)


def test_a_model_of_several_rows_a_call_is_refused():
    with pytest.raises(NotVerified, match="takes 8 rows a call"):
        inputs_of(artifact_of(TensorSpec("x", "float32", (8, 2))), {"x": np.ones((16, 2))}, 16)
    with pytest.raises(NotVerified, match="takes the input 'x', which the samples lack"):
        inputs_of(artifact_of(TensorSpec("x", "float32", ("batch", 2))), {"z": np.ones((16, 2))}, 16)
