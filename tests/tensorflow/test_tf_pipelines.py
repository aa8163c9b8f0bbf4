"""Every tabular fixture, forests and whole pipelines with text, through ONNX to a SavedModel: the same answers."""

from __future__ import annotations

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.formats import source_artifact
from mlconvert.inference import cast_to_contract
from mlconvert.parity.compare import compare
from mlconvert.parity.tolerance import Tolerances, defaults_for
from mlconvert.registry import registry
from mlconvert.samples.files import read_samples

# Model, its samples, what its ONNX file computes in.
MODELS = [
    ("bikes.skops", "bikes.csv", "float64"),
    ("breast_cancer.txt", "breast_cancer.csv", "float64"),
    ("churn.skops", "churn.csv", "float64"),
    ("claims.pkl", "claims.csv", "float64"),
    ("diabetes.cbm", "diabetes.csv", "float64"),
    ("iris_xgboost.json", "iris_xgboost.csv", "float32"),
    ("loans.ubj", "loans.csv", "float32"),
    ("tickets.skops", "tickets.csv", "float32"),
    ("wine_forest.skops", "wine_forest.npz", "float64"),
]
BOUNDARY = 1000


@pytest.mark.parametrize(("name", "samples", "precision"), MODELS, ids=[name for name, _, _ in MODELS])
def test_a_fixture_answers_as_a_saved_model(trained, tmp_path, name, samples, precision):
    path = trained(name)
    source = source_artifact(str(path), trusted=True)
    known, made = registry(), tmp_path / "saved" / "saved_model.pb"
    made.parent.mkdir()
    runner = known.runner(source.format)
    rows = read_samples(path.with_name(samples), runner.signature(source))
    converter = known.converter(f"{source.format}->onnx")
    more = {"samples": rows} if converter.uses_samples else {}
    middle: Artifact = converter.load()(source, tmp_path / "model.onnx", **more)
    saved: Artifact = known.converter("onnx->saved-model").load()(middle, made)
    mine, theirs = runner.load(source), known.runner("saved-model").load(saved)
    edges = runner.boundary_samples(source, rows, count=BOUNDARY, seed=3)
    for batch in (rows, edges, {key: array[:1] for key, array in rows.items()}):
        if batch is None:  # a model without trees
            assert name in ("churn.skops", "claims.pkl", "tickets.skops")
            continue
        renamed = {**middle.renamed, **saved.renamed}
        fed = cast_to_contract({renamed.get(key, key): array for key, array in batch.items()}, theirs.signature)
        found = theirs.run(fed)
        parity = compare(mine.run(batch), found, Tolerances(defaults_for(precision)), renamed=renamed)
        assert parity.ok, [(one.name, one.reason) for one in parity.outputs]
        assert parity.samples == len(next(iter(batch.values()))) > 0
        assert any(np.isfinite(one).any() for one in found.values() if one.dtype.kind == "f")
