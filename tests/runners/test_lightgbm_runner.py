"""The runner of LightGBM text files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.runners import lightgbm as runner

X = np.random.default_rng(0).normal(size=(200, 3))
Y = (X[:, 0] > 0).astype(int)


def artifact(folder: Path, data: bytes) -> Artifact:
    path = folder / "m.txt"
    path.write_bytes(data)
    return Artifact("lightgbm", str(path), (path,))


def text(**settings: Any) -> bytes:
    import lightgbm

    known = {"objective": "binary", "verbose": -1, "num_threads": 1, "num_leaves": 5, **settings}
    return lightgbm.train(known, lightgbm.Dataset(X, Y), 3).model_to_string().encode()


def test_the_signature_is_that_of_the_answers(tmp_path):
    for settings in ({}, {"objective": "regression"}, {"objective": "multiclass", "num_class": 2}):
        model = artifact(tmp_path, text(**settings))
        session = runner.load(model)
        answers = session.run({"input": X})
        assert session.signature == runner.signature(model)
        assert session.signature is not None
        for spec in session.signature.outputs:
            assert spec.dtype == str(answers[spec.name].dtype)
            assert spec.shape[1:] == answers[spec.name].shape[1:]
        assert session.more["raw_scores"]({"input": X}).shape == (200, 2 if "num_class" in settings else 1)
        leaves = session.more["leaf_indices"]({"input": X})
        assert leaves.shape == (200, 6 if "num_class" in settings else 3)
        assert leaves.dtype == np.int64


def test_float32_rows_are_taken_as_they_are(tmp_path):
    session = runner.load(artifact(tmp_path, text()))
    narrow = X.astype(np.float32)
    one, other = session.run({"input": narrow}), session.run({"input": narrow.astype(np.float64)})
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_boundary_samples_reach_the_thresholds(tmp_path):
    model = artifact(tmp_path, text())
    made = runner.boundary_samples(model, {"input": X}, count=100, seed=1)
    assert made is not None
    assert made["input"].shape == (100, 3)
    thresholds = [float(word) for line in text().split(b"\n") if line.startswith(b"threshold=")
                  for word in line[10:].split()]  # fmt: skip
    assert np.isin(made["input"], thresholds).any()


def test_a_model_without_rows_at_its_thresholds_has_none(tmp_path):
    stump = artifact(tmp_path, text(min_data_in_leaf=500))
    assert runner.boundary_samples(stump, {"input": X}, count=100, seed=1) is None


def test_a_damaged_file_never_comes_to_lightgbm(tmp_path):
    whole = text()
    with pytest.raises(ConversionFailed, match="damaged"):
        runner.load(artifact(tmp_path, whole[: whole.index(b"end of trees") - 50]))
    with pytest.raises(ConversionFailed, match="objective of the user's own"):
        runner.load(artifact(tmp_path, whole.replace(b"objective=binary sigmoid:1", b"objective=custom")))
    with pytest.raises(ConversionFailed, match="LightGBM cannot load the model"):
        runner.load(artifact(tmp_path, whole.replace(b"feature_infos=", b"feature_notes=")))
