"""XGBoost's files to ONNX: outputs, options and refusals. Exactness: tests/forests/test_xgboost_matrix.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters.xgboost_to_onnx import convert
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.runners import xgboost as runner

X = np.random.default_rng(7).normal(size=(200, 4))
X[::9, 1] = np.nan
VALUES = X[:, 0] + np.nan_to_num(X[:, 1]) ** 2
MODELS: dict[str, tuple[dict[str, Any], np.ndarray]] = {
    "binary": ({"objective": "binary:logistic"}, VALUES > 0.5),
    "classes": ({"objective": "multi:softprob", "num_class": 3}, np.digitize(VALUES, [0, 1])),
    "values": ({"objective": "reg:squarederror"}, VALUES),
    "targets": ({"multi_strategy": "multi_output_tree"}, np.nan_to_num(X[:, :3])),
}


def source(
    folder: Path, params: dict[str, Any], target: np.ndarray, *, rounds: int = 5, name: str = "m.ubj"
) -> Artifact:
    import xgboost

    rows = xgboost.DMatrix(X, target, feature_names=["age", "x y", "ä", "f0"], nthread=1)
    settings = {"max_depth": 3, "nthread": 1, "verbosity": 0, **params}
    xgboost.train(settings, rows, rounds).save_model(folder / name)
    return Artifact("xgboost", str(folder / name), (folder / name,))


def onnx_answers(path: Path, rows: np.ndarray) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": rows}), strict=True))


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray]) -> None:
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert (found[name].shape, found[name].dtype) == (values.shape, values.dtype), name
        if values.dtype.kind == "f":
            np.testing.assert_allclose(found[name], values, rtol=2e-6, atol=1e-7)
        else:
            np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", ["m.json", "m.ubj"])
def test_outputs_are_those_of_the_runner(tmp_path, kind, name):
    model = source(tmp_path, *MODELS[kind], name=name)
    session = runner.load(model)
    made = convert(model, tmp_path / "m.onnx")
    assert made.signature is not None
    assert made.signature.outputs == session.signature.outputs
    assert [str(spec) for spec in made.signature.inputs] == ["input: float64[batch, 4]"]
    assert made.facts["precision"] == "float32"  # XGBoost adds up in float32
    assert_same(onnx_answers(tmp_path / "m.onnx", X), session.run({"input": X}))


@pytest.mark.parametrize("kind", MODELS)
def test_raw_scores_and_leaf_indices_on_demand(tmp_path, kind):
    model = source(tmp_path, *MODELS[kind])
    session = runner.load(model)
    convert(model, tmp_path / "m.onnx", raw_scores=True, leaf_indices=True)
    found = onnx_answers(tmp_path / "m.onnx", X)
    wanted = session.run({"input": X}) | {name: answer({"input": X}) for name, answer in session.more.items()}
    assert_same(found, wanted)


@pytest.mark.parametrize("kind", MODELS)
def test_float32_inputs_on_demand(tmp_path, kind):
    model = source(tmp_path, *MODELS[kind])
    made = convert(model, tmp_path / "m.onnx", dtype="float32")
    assert made.signature is not None
    assert [str(spec) for spec in made.signature.inputs] == ["input: float32[batch, 4]"]
    rows = X.astype(np.float32)
    assert_same(onnx_answers(tmp_path / "m.onnx", rows), runner.load(model).run({"input": rows}))


@pytest.mark.parametrize("opset", [15, 18, 21])
def test_the_opset_is_the_one_asked_for(tmp_path, opset):
    made = convert(source(tmp_path, *MODELS["binary"]), tmp_path / "m.onnx", opset=opset)
    assert made.facts["opsets"]["ai.onnx"] == opset


def test_an_opset_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(UsageError, match="opset"):
        convert(source(tmp_path, *MODELS["binary"]), tmp_path / "m.onnx", opset=3)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = source(tmp_path, *MODELS["classes"])
    convert(model, tmp_path / "a.onnx")
    convert(model, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("params", "rounds", "named"),
    [({"booster": "gblinear"}, 5, "gblinear"), ({}, 0, "no trees")],
)
def test_what_has_no_trees_is_refused_before_anything_is_written(tmp_path, params, rounds, named):
    model = source(tmp_path, params, VALUES, rounds=rounds)
    with pytest.raises(ConversionFailed, match=named) as caught:
        convert(model, tmp_path / "m.onnx")
    assert caught.value.where == model.location
    assert caught.value.hint
    assert not (tmp_path / "m.onnx").exists()


def test_a_damaged_file_is_refused_before_anything_is_written(tmp_path):
    model = source(tmp_path, *MODELS["binary"], name="m.json")
    document = json.loads(model.path.read_text())
    document["learner"]["gradient_booster"]["model"]["trees"][0]["right_children"][0] = -7
    model.path.write_text(json.dumps(document))
    with pytest.raises(ConversionFailed, match="tree 0"):
        convert(model, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
