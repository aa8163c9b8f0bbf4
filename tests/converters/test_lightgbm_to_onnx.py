"""LightGBM to ONNX: the options, and the whole way through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.converters.lightgbm_to_onnx import convert
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.runners import lightgbm as source_runner
from mlconvert.runners import onnx as onnx_runner

RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(300, 4))
X[:, 3] = RANDOM.integers(0, 8, 300)
VALUE = X[:, 0] + X[:, 1] * X[:, 2] + 2 * np.sin(3 * X[:, 3])
TWO = (VALUE > 0).astype(int)


def model_file(folder: Path, labels: np.ndarray = TWO, **settings: Any) -> Artifact:
    import lightgbm

    known = {"verbose": -1, "num_threads": 1, "num_leaves": 7, "min_data_in_leaf": 4, "cat_smooth": 1, "cat_l2": 0,
             "max_cat_to_onehot": 1, "min_data_per_group": 2, **settings}  # fmt: skip
    stated = {name: settings[name] for name in ("linear_tree", "zero_as_missing") if name in settings}
    data = lightgbm.Dataset(X, labels, categorical_feature=[3], params={"verbose": -1, **stated})
    path = folder / "model.txt"
    lightgbm.train(known, data, 4).save_model(path)
    return Artifact("lightgbm", str(path), (path,))


@pytest.fixture
def source(tmp_path) -> Artifact:
    return model_file(tmp_path, objective="binary")


def rows_of(source: Artifact) -> np.ndarray:
    made = source_runner.boundary_samples(source, {"input": X}, count=500, seed=3)
    assert made is not None
    return np.concatenate([X, made["input"]])


@pytest.mark.parametrize("settings", [{"objective": "binary"}, {"objective": "regression", "boosting": "rf",
    "bagging_freq": 1, "bagging_fraction": 0.5}, {"objective": "multiclass", "num_class": 3}])  # fmt: skip
def test_raw_scores_and_leaf_indices_are_lightgbms(settings, tmp_path):
    labels = np.searchsorted([-1, 1], VALUE) if "num_class" in settings else TWO
    source = model_file(tmp_path, labels, **settings)
    made = convert(source, tmp_path / "m.onnx", raw_scores=True, leaf_indices=True)
    rows = {"input": rows_of(source)}
    reference, got = source_runner.load(source), onnx_runner.load(made).run(rows)
    wanted = {**reference.run(rows), **{name: more(rows) for name, more in reference.more.items()}}
    assert sorted(wanted) == sorted(got)
    for name, expected in wanted.items():
        assert (expected.shape, expected.dtype) == (got[name].shape, got[name].dtype)
        if expected.dtype.kind == "f":
            np.testing.assert_allclose(got[name], expected, rtol=1e-12, atol=1e-12)
        else:
            assert np.array_equal(got[name], expected)
    assert made.facts["precision"] == "float64"
    assert made.signature is not None
    assert [str(spec) for spec in made.signature.inputs] == ["input: float64[batch, 4]"]


def test_float32_inputs_are_exact_for_float32_rows(source, tmp_path):
    made = convert(source, tmp_path / "m.onnx", dtype="float32")
    rows = rows_of(source).astype(np.float32)
    rows = rows[np.isfinite(rows).all(axis=1)]
    wanted = source_runner.load(source).run({"input": rows.astype(np.float64)})
    got = onnx_runner.load(made).run({"input": rows})
    assert np.array_equal(got["label"], wanted["label"])
    np.testing.assert_allclose(got["probabilities"], wanted["probabilities"], rtol=1e-5, atol=1e-6)
    assert made.facts["precision"] == "float32"


def test_the_same_model_gives_the_same_bytes(source, tmp_path):
    one, other = (convert(source, tmp_path / name).path.read_bytes() for name in ("a.onnx", "b.onnx"))
    assert one == other


def test_a_damaged_file_and_a_wrong_opset_leave_nothing_behind(source, tmp_path):
    with pytest.raises(UsageError, match="opset 3"):
        convert(source, tmp_path / "m.onnx", opset=3)
    whole = source.path.read_bytes()
    source.path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ConversionFailed, match="damaged"):
        convert(source, tmp_path / "m.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.txt"]


# --- through the command line ---


@pytest.mark.parametrize("target", ["onnx", "treelite"])
def test_the_command_line_verifies_it_with_boundary_rows(target, tmp_path, capsys):
    source = model_file(tmp_path, objective="binary")
    out = tmp_path / f"out.{target}"
    assert main(["convert", source.location, "--to", target, "-o", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (step,) = report["targets"][0]["steps"]
    assert step["parity"]["ok"]
    assert all(row["mismatched"] == 0 for row in step["parity"]["outputs"])


def test_samples_with_another_number_of_features_are_wrong_use(source, tmp_path, capsys):
    np.save(tmp_path / "samples.npy", X[:, :3])
    code = main(["convert", source.location, "--to", "onnx", "-o", str(tmp_path / "o.onnx"), "--samples",
                 str(tmp_path / "samples.npy")])  # fmt: skip
    said = capsys.readouterr().err
    assert code == 2, said
    assert "4" in said
    assert "3" in said
    assert not (tmp_path / "o.onnx").exists()


def test_what_treelite_cannot_hold_is_named(tmp_path, capsys):
    source = model_file(tmp_path, objective="regression", linear_tree=True)
    code = main(["convert", source.location, "--to", "treelite", "-o", str(tmp_path / "o.tl")])
    said = "".join(capsys.readouterr())
    assert code == 4, said
    assert "linear leaves" in said
    assert not (tmp_path / "o.tl").exists()
