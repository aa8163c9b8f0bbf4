"""The runner of treelite checkpoints: treelite's own answers, from files that were checked before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.formats.treelite_layout import read_layout
from mlconvert.runners import treelite as runner

treelite = pytest.importorskip("treelite")

X = np.random.default_rng(0).normal(size=(200, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def artifact(folder: Path, data: bytes) -> Artifact:
    path = folder / "m.tl"
    path.write_bytes(data)
    return Artifact("treelite", str(path), (path,))


@pytest.fixture(scope="module")
def float32_checkpoint() -> bytes:
    import xgboost

    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 4, "nthread": 1}, xgboost.DMatrix(X, Y), num_boost_round=4
    )
    return treelite.frontend.from_xgboost(booster).serialize_bytes()


def test_rows_are_cast_to_the_type_of_the_thresholds(float32_checkpoint, tmp_path):
    model = artifact(tmp_path, float32_checkpoint)
    session = runner.load(model)
    edges = runner.boundary_samples(model, {"input": X}, count=400, seed=1)
    assert edges is not None
    rows = edges["input"]
    answers = session.run({"input": rows})
    with np.errstate(over="ignore"):
        narrow = rows.astype(np.float32)
    wanted = treelite.gtil.predict(treelite.Model.deserialize_bytes(float32_checkpoint), narrow).reshape(-1)
    assert np.array_equal(answers["probabilities"][:, 1], wanted, equal_nan=True)
    assert session.signature is not None
    assert [str(spec) for spec in session.signature.inputs] == ["input: float64[batch, 3]"]
    assert [spec.dtype for spec in session.signature.outputs] == ["int64", "float32"]


def test_a_damaged_checkpoint_never_comes_to_treelite(float32_checkpoint, tmp_path):
    """treelite takes it, and walks out of its memory: so this is tried in a child process only."""
    field = read_layout(float32_checkpoint).trees[1]["cleft"]
    damaged = (
        float32_checkpoint[: field.start] + (1 << 30).to_bytes(4, "little") + float32_checkpoint[field.start + 4 :]
    )
    for data in (damaged, float32_checkpoint[:-100], float32_checkpoint[:60]):
        with pytest.raises(ConversionFailed, match="damaged"):
            runner.load(artifact(tmp_path, data))
    path = artifact(tmp_path, damaged).path
    code = (
        "import sys, numpy, treelite\n"
        "treelite.gtil.predict(treelite.Model.deserialize(sys.argv[1]), numpy.full((50, 3), -9, 'f4'), nthread=1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, timeout=60)
    assert done.returncode < 0, "treelite checks it now: the runner may trust it"


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ConversionFailed, match="cannot read the treelite checkpoint") as caught:
        runner.signature(Artifact("treelite", str(tmp_path / "m.tl"), (tmp_path / "m.tl",)))
    assert caught.value.where == str(tmp_path / "m.tl")
