"""Chains in this process: what they take, give and hand on, and rows at the thresholds of their first models."""

from __future__ import annotations

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.ensembles.chain import Chain, Model, chain_of, formats_in
from mlconvert.ensembles.graph import Graph, Step
from mlconvert.errors import ConversionFailed
from mlconvert.execution import ensemble_runner

ROWS = np.random.default_rng(0).normal(size=(80, 3))


@pytest.fixture(scope="module")
def chain(tmp_path_factory, small_onnx):
    """A LightGBM model of `rows` and the small network of `x`, side by side."""
    import lightgbm

    path = tmp_path_factory.mktemp("chain") / "model.txt"
    settings = {"objective": "binary", "verbose": -1, "num_leaves": 4, "min_data_in_leaf": 5, "num_threads": 1}
    lightgbm.train(settings, lightgbm.Dataset(ROWS, ROWS[:, 0] > 0), 3).save_model(path)
    graph = Graph(
        ("rows", "more"),
        ("label", "y"),
        (Step("trees", {"input": "rows"}, {"label": "label"}), Step("net", {"x": "more"}, {"y": "y"})),
    )
    models = {
        "trees": Model(Artifact("lightgbm", str(path), (path,)), "", "trees"),
        "net": Model(Artifact("onnx", str(small_onnx), (small_onnx,)), "", "net"),
    }
    return Chain(graph, models).artifact()


def test_what_a_chain_takes_and_gives(chain):
    signature = ensemble_runner.signature(chain)
    assert [(spec.name, spec.dtype, spec.shape) for spec in signature.inputs] == [
        ("rows", "float64", ("batch", 3)),
        ("more", "float32", ("batch", 4)),
    ]
    assert [spec.name for spec in signature.outputs] == ["label", "y"]
    assert formats_in(chain) == {"lightgbm", "onnx"}
    session = ensemble_runner.load(chain)
    answers = session.run({"rows": ROWS[:5], "more": np.ones((5, 4), np.float64)})  # cast to what the model takes
    assert {name: values.shape for name, values in answers.items()} == {"label": (5,), "y": (5, 3)}


def test_rows_at_the_thresholds_of_the_first_models(chain):
    samples = {"rows": ROWS, "more": np.arange(320, dtype=np.float32).reshape(80, 4)}
    made = ensemble_runner.boundary_samples(chain, samples, count=200, seed=0)
    assert set(made) == {"rows", "more"}
    assert len(made["rows"]) == len(made["more"]) > 0
    # What the trees do not take is the samples' own, again and again.
    np.testing.assert_array_equal(made["more"][: min(80, len(made["more"]))], samples["more"][: len(made["more"])])


def test_a_chain_survives_json(chain):
    read = Chain.from_json(chain_of(chain).as_json())
    assert read.graph == chain_of(chain).graph
    assert read.models == chain_of(chain).models


def test_an_output_that_a_model_does_not_give(chain):
    whole = chain_of(chain)
    steps = (Step("trees", {"input": "rows"}, {"lable": "label"}), whole.graph.steps[1])
    other = Chain(Graph(whole.graph.inputs, whole.graph.outputs, steps), whole.models).artifact()
    with pytest.raises(ConversionFailed, match="the model 'trees' gives no output 'lable'"):
        ensemble_runner.load(other).run({"rows": ROWS[:2], "more": np.ones((2, 4), np.float32)})


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"schema": "mlconvert.ensemble/1"}', '{"schema": "mlconvert.ensemble/1", "inputs": 3}', "\xff"],
)
def test_a_file_that_is_no_ensemble(tmp_path, text):
    path = tmp_path / "ensemble.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ConversionFailed, match="not an ensemble"):
        ensemble_runner.load(Artifact("ensemble", str(path), (path,)))
