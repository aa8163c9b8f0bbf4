"""CatBoost's files to ONNX: outputs, options and refusals. Exactness: tests/forests/test_catboost_matrix.py."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters.catboost_to_onnx import convert
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.runners import catboost as runner

X = np.random.default_rng(7).normal(size=(200, 4))
X[::9, 1] = np.nan
VALUES = X[:, 0] + np.nan_to_num(X[:, 1]) ** 2
CLASSES = np.digitize(VALUES, [0, 1])
MODELS: dict[str, tuple[str, np.ndarray]] = {
    "binary": ("Logloss", (CLASSES > 0).astype(int)),
    "words": ("MultiClass", np.array(["a", "b", "ä"])[CLASSES]),
    "values": ("Poisson", np.abs(VALUES)),
    "targets": ("MultiRMSE", np.nan_to_num(X[:, :3])),
    "labels": ("MultiLogloss", np.stack([CLASSES > 0, CLASSES > 1], axis=1).astype(int)),
}


def source(folder: Path, loss: str, target: np.ndarray, data: Any = X, **params: Any) -> Artifact:
    import catboost

    settings = {"iterations": 5, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1, **params}
    path = folder / "m.cbm"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pandas' dtypes, of which CatBoost 1.2 does not know all
        catboost.CatBoost({"loss_function": loss, **settings}).fit(data, target).save_model(str(path))
    return Artifact("catboost", str(path), (path,))


def onnx_answers(path: Path, rows: np.ndarray) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": rows}), strict=True))


def assert_same(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], tolerance: float = 1e-12) -> None:
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert found[name].shape == values.shape, name
        if values.dtype.kind == "f":
            np.testing.assert_allclose(found[name], values, rtol=tolerance, atol=tolerance)
        else:
            assert found[name].tolist() == values.tolist()


@pytest.mark.parametrize(
    ("kind", "grow_policy"),
    [*((kind, "SymmetricTree") for kind in MODELS), ("binary", "Lossguide"), ("words", "Depthwise")],
)
def test_outputs_are_those_of_the_runner(tmp_path, kind, grow_policy):
    model = source(tmp_path, *MODELS[kind], grow_policy=grow_policy)
    session = runner.load(model)
    made = convert(model, tmp_path / "m.onnx")
    assert made.signature is not None
    assert made.signature.outputs == session.signature.outputs
    assert [str(spec) for spec in made.signature.inputs] == ["input: float64[batch, 4]"]
    assert made.facts["precision"] == "float64"
    assert_same(onnx_answers(tmp_path / "m.onnx", X), session.run({"input": X}))


@pytest.mark.parametrize("kind", MODELS)
def test_raw_scores_and_leaf_indices_on_demand(tmp_path, kind):
    model = source(tmp_path, *MODELS[kind])
    session = runner.load(model)
    convert(model, tmp_path / "m.onnx", raw_scores=True, leaf_indices=True)
    wanted = session.run({"input": X}) | {name: answer({"input": X}) for name, answer in session.more.items()}
    assert_same(onnx_answers(tmp_path / "m.onnx", X), wanted)


@pytest.mark.parametrize("kind", MODELS)
def test_float32_inputs_on_demand(tmp_path, kind):
    model = source(tmp_path, *MODELS[kind])
    made = convert(model, tmp_path / "m.onnx", dtype="float32")
    assert made.signature is not None
    assert [str(spec) for spec in made.signature.inputs] == ["input: float32[batch, 4]"]
    assert made.facts["precision"] == "float32"
    rows = X.astype(np.float32)
    wanted = runner.load(model).run({"input": rows})
    assert_same(onnx_answers(tmp_path / "m.onnx", rows), wanted, tolerance=1e-6)


@pytest.mark.parametrize("opset", [15, 18, 21])
def test_the_opset_is_the_one_asked_for(tmp_path, opset):
    made = convert(source(tmp_path, *MODELS["binary"]), tmp_path / "m.onnx", opset=opset)
    assert made.facts["opsets"]["ai.onnx"] == opset


def test_an_opset_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(UsageError, match="opset"):
        convert(source(tmp_path, *MODELS["binary"]), tmp_path / "m.onnx", opset=3)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model = source(tmp_path, *MODELS["words"])
    convert(model, tmp_path / "a.onnx")
    convert(model, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def colours() -> Any:
    import pandas as pd

    return pd.DataFrame({"size": X[:, 0], "colour": np.random.default_rng(1).choice(["red", "blue"], len(X))})


@pytest.mark.parametrize(
    ("named", "loss", "params"),
    [("RMSEWithUncertainty", "RMSEWithUncertainty", {}), ("colour", "RMSE", {"cat_features": ["colour"]})],
)
def test_what_cannot_be_exact_is_refused_before_anything_is_written(tmp_path, named, loss, params):
    model = source(tmp_path, loss, VALUES, colours() if params else X, **params)
    for act in (lambda: convert(model, tmp_path / "m.onnx"), lambda: runner.load(model)):
        with pytest.raises(ConversionFailed, match=named) as caught:
            act()
        assert caught.value.where == model.location
        assert caught.value.hint
    assert not (tmp_path / "m.onnx").exists()
