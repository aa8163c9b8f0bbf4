"""Treelite checkpoints, made here or by treelite, to ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.converters import lightgbm_to_treelite, xgboost_to_treelite
from mlconvert.converters.treelite_to_onnx import convert
from mlconvert.errors import ConversionFailed
from mlconvert.runners import onnx as onnx_runner
from mlconvert.runners import treelite as runner

treelite = pytest.importorskip("treelite")

RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(300, 4))
VALUE = X[:, 0] + X[:, 1] * X[:, 2]
TWO = (VALUE > 0).astype(int)
THREE = np.searchsorted([-0.5, 0.5], VALUE)


def lightgbm_file(folder: Path, labels: np.ndarray, **settings: Any) -> Artifact:
    import lightgbm

    known = {"verbose": -1, "num_threads": 1, "num_leaves": 7, **settings}
    path = folder / "model.txt"
    lightgbm.train(known, lightgbm.Dataset(X, labels), 4).save_model(path)
    return Artifact("lightgbm", str(path), (path,))


def xgboost_file(folder: Path, labels: np.ndarray, name: str = "model.ubj", **settings: Any) -> Artifact:
    import xgboost

    path = folder / name
    xgboost.train({"max_depth": 3, "nthread": 1, **settings}, xgboost.DMatrix(X, labels), 4).save_model(path)
    return Artifact("xgboost", str(path), (path,))


def checkpoints(folder: Path) -> dict[str, Artifact]:
    made = {
        "binary": lightgbm_to_treelite.convert(lightgbm_file(folder, TWO, objective="binary"), folder / "a.tl"),
        "multiclass": lightgbm_to_treelite.convert(
            lightgbm_file(folder, THREE, objective="multiclass", num_class=3), folder / "b.tl"
        ),
        "xgboost": xgboost_to_treelite.convert(xgboost_file(folder, TWO, objective="binary:logistic"), folder / "c.tl"),
        "xgboost json": xgboost_to_treelite.convert(
            xgboost_file(folder, VALUE, "model.json", objective="reg:squarederror"), folder / "d.tl"
        ),
    }
    model = treelite.frontend.load_xgboost_model(str(folder / "model.ubj"))
    model.serialize(folder / "e.tl")
    return {**made, "treelite's own": Artifact("treelite", str(folder / "e.tl"), (folder / "e.tl",))}


@pytest.mark.parametrize("name", ["binary", "multiclass", "xgboost", "xgboost json", "treelite's own"])
def test_a_checkpoint_answers_in_onnx_as_in_treelite(name, tmp_path):
    source = checkpoints(tmp_path)[name]
    made = convert(source, tmp_path / "m.onnx", raw_scores=True, leaf_indices=True)
    edges = runner.boundary_samples(source, {"input": X}, count=500, seed=3)
    assert edges is not None
    rows = {"input": np.concatenate([X, edges["input"]])}
    reference, got = runner.load(source), onnx_runner.load(made).run(rows)
    wanted = {**reference.run(rows), **{name: more(rows) for name, more in reference.more.items()}}
    assert sorted(wanted) == sorted(got)
    for output, expected in wanted.items():
        assert (expected.shape, expected.dtype) == (got[output].shape, got[output].dtype)
        # GTIL computes softmax in float32, and adds XGBoost's base score last where treelite made the checkpoint.
        bound = 1e-12 if name == "binary" else 2e-6
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got[output], expected, rtol=bound, atol=bound)
        else:
            assert np.array_equal(got[output], expected)


def test_making_a_checkpoint_states_its_precision_and_is_the_same_each_time(tmp_path):
    made = checkpoints(tmp_path)
    assert made["binary"].facts == {"precision": "float64"}
    assert made["multiclass"].facts == {"precision": "float32", "tolerance": {"rtol": 1e-6, "atol": 1e-6}}
    assert made["xgboost"].facts == {"precision": "float32"}
    again = tmp_path / "again"
    again.mkdir()
    for name, artifact in checkpoints(again).items():
        assert artifact.path.read_bytes() == made[name].path.read_bytes(), name
    signature = made["binary"].signature
    assert signature is not None
    assert signature == runner.signature(made["binary"])
    assert signature.inputs[0].columns == tuple(f"Column_{index}" for index in range(4))


def test_a_treelite_that_does_not_take_the_checkpoint_is_an_error_of_the_step(tmp_path, monkeypatch):
    def refuse(_path: str) -> None:
        raise treelite.TreeliteError("too new")

    monkeypatch.setattr(treelite.Model, "deserialize", refuse)
    source = lightgbm_file(tmp_path, TWO, objective="binary")
    with pytest.raises(ConversionFailed, match="does not take the checkpoint: too new"):
        lightgbm_to_treelite.convert(source, tmp_path / "m.tl")


def test_the_command_line_goes_through_a_checkpoint_to_onnx(tmp_path, capsys):
    source = xgboost_file(tmp_path, TWO, objective="binary:logistic")
    out = tmp_path / "m.onnx"
    code = main(["convert", source.location, "--to", "onnx", "--via", "treelite", "-o", str(out), "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    steps = json.loads(said.out)["targets"][0]["steps"]
    assert [step["converter"] for step in steps] == ["xgboost->treelite", "treelite->onnx"]
    assert all(step["parity"]["ok"] for step in steps)


def test_a_damaged_checkpoint_is_named_on_the_command_line(tmp_path, capsys):
    path = lightgbm_to_treelite.convert(lightgbm_file(tmp_path, TWO, objective="binary"), tmp_path / "m.tl").path
    path.write_bytes(path.read_bytes()[:-40])
    assert main(["convert", str(path), "--to", "onnx", "-o", str(tmp_path / "m.onnx")]) == 4
    said = capsys.readouterr().err
    assert "truncated or damaged" in said
    assert not (tmp_path / "m.onnx").exists()
