"""The reference of XGBoost's native files: float64 rows, its own labels, and what it gives on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.registry import registry
from mlconvert.runners import xgboost as runner

X = np.random.default_rng(7).normal(size=(150, 4))
VALUES = X[:, 0] + X[:, 1] ** 2
CLASSES = np.digitize(VALUES, [0, 1])


def trained(params: dict[str, Any], target: np.ndarray, names: Any = None) -> Any:
    import xgboost

    rows = xgboost.DMatrix(X, target, feature_names=names, nthread=1)
    return xgboost.train({"max_depth": 3, "nthread": 1, "verbosity": 0, **params}, rows, 4)


def saved(folder: Path, booster: Any) -> Artifact:
    booster.save_model(folder / "m.ubj")
    return Artifact("xgboost", str(folder / "m.ubj"), (folder / "m.ubj",))


def loaded(folder: Path, booster: Any) -> Session:
    session = runner.load(saved(folder, booster))
    assert session.signature == runner.signature(saved(folder, booster))
    return session


@pytest.mark.parametrize(
    ("params", "target", "outputs"),
    [
        ({"objective": "binary:logistic"}, CLASSES > 0, {"label": (150,), "probabilities": (150, 2)}),
        ({"objective": "binary:hinge"}, CLASSES > 0, {"label": (150,), "probabilities": (150, 2)}),
        ({"objective": "binary:logistic"}, X > 0, {"variable": (150, 4)}),
        ({"objective": "multi:softprob", "num_class": 3}, CLASSES, {"label": (150,), "probabilities": (150, 3)}),
        ({"objective": "multi:softmax", "num_class": 3}, CLASSES, {"label": (150,), "probabilities": (150, 3)}),
        ({"objective": "reg:logistic"}, CLASSES / 2, {"variable": (150, 1)}),
        ({}, X[:, :2], {"variable": (150, 2)}),
        ({"booster": "gblinear"}, VALUES, {"variable": (150, 1)}),
    ],
)
def test_outputs_are_what_the_signature_says(tmp_path, params, target, outputs):
    session = loaded(tmp_path, trained(params, target))
    answers = session.run({"input": X})
    assert {name: values.shape for name, values in answers.items()} == outputs
    assert session.signature is not None
    assert [str(spec) for spec in session.signature.inputs] == ["input: float64[batch, 4]"]
    assert [(spec.name, spec.dtype, spec.shape[1:]) for spec in session.signature.outputs] == [
        (name, str(answers[name].dtype), shape[1:]) for name, shape in outputs.items()
    ]
    if "label" in answers:
        np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(answers["label"], answers["probabilities"].argmax(axis=1))


def test_labels_of_softmax_are_those_that_xgboost_predicts(tmp_path):
    import xgboost

    booster = trained({"objective": "multi:softmax", "num_class": 3}, CLASSES)
    label = loaded(tmp_path, booster).run({"input": X})["label"]
    np.testing.assert_array_equal(label, booster.predict(xgboost.DMatrix(X)))


def test_columns_have_the_names_of_the_features(tmp_path):
    session = loaded(tmp_path, trained({}, VALUES, ["age", "x y", "ä", "f0"]))
    assert session.signature is not None
    assert session.signature.inputs[0].columns == ("age", "x y", "ä", "f0")
    assert len(session.run({"input": X})["variable"]) == len(X)


def test_doubles_are_rounded_to_the_nearest_float32_by_xgboost(tmp_path):
    session = loaded(tmp_path, trained({}, VALUES))
    for rows in (X, X + 1e-9, X - 1e-9):
        np.testing.assert_array_equal(
            session.run({"input": rows})["variable"], session.run({"input": rows.astype(np.float32)})["variable"]
        )


@pytest.mark.parametrize(
    ("params", "target", "width", "trees"),
    [
        ({}, VALUES, 1, 4),
        ({"objective": "multi:softprob", "num_class": 3}, CLASSES, 3, 12),
        ({"multi_strategy": "multi_output_tree"}, X[:, :2], 2, 4),
    ],
)
def test_more_on_demand(tmp_path, params, target, width, trees):
    import xgboost

    booster = trained(params, target)
    more = loaded(tmp_path, booster).more
    raw, leaves = (more[name]({"input": X}) for name in ("raw_scores", "leaf_indices"))
    assert (raw.shape, raw.dtype) == ((150, width), np.float32)
    assert (leaves.shape, leaves.dtype) == ((150, trees), np.int64)
    rows = xgboost.DMatrix(X)
    np.testing.assert_array_equal(raw, booster.predict(rows, output_margin=True).reshape(150, -1))
    np.testing.assert_array_equal(leaves, booster.predict(rows, pred_leaf=True))


def test_one_tree_and_one_row(tmp_path):
    import xgboost

    booster = xgboost.train({"max_depth": 2, "nthread": 1}, xgboost.DMatrix(X, VALUES), 1)
    session = loaded(tmp_path, booster)
    assert session.run({"input": X[:1]})["variable"].shape == (1, 1)
    assert session.more["leaf_indices"]({"input": X[:1]}).shape == (1, 1)


@pytest.mark.parametrize("number", [np.inf, -np.inf, 1e39, 3.4028235677973366e38])
def test_numbers_that_xgboost_does_not_take_are_refused_by_their_place(tmp_path, number):
    session = loaded(tmp_path, trained({}, VALUES))
    rows = X.copy()
    rows[0, 0], rows[1, 1], rows[7, 2] = np.nan, 3.4028235e38, number
    for act in (session.run, *session.more.values()):
        with pytest.raises(UsageError, match="row 7, column 2"):
            act({"input": rows})
    rows[7, 2] = 0
    session.run({"input": rows})


def test_boundary_samples(tmp_path):
    session, artifact = loaded(tmp_path, trained({}, VALUES)), Artifact("xgboost", str(tmp_path / "m.ubj"), ())
    made = registry().runner("xgboost").boundary_samples(artifact, {"input": X}, count=300, seed=1)
    again = runner.boundary_samples(artifact, {"input": X}, count=300, seed=1)
    assert made is not None
    assert again is not None
    rows = made["input"]
    assert (rows.dtype, rows.shape) == (np.float64, (300, 4))
    np.testing.assert_array_equal(rows, again["input"])
    assert not np.isinf(rows.astype(np.float32)).any()
    session.run(made)  # XGBoost takes every row


@pytest.mark.parametrize("params", [{"booster": "gblinear"}, {"gamma": 1e9}])
def test_no_boundary_samples_where_no_tree_splits(tmp_path, params):
    artifact = saved(tmp_path, trained(params, VALUES))
    assert runner.boundary_samples(artifact, {"input": X}, count=10, seed=1) is None


def test_an_objective_that_is_not_known_is_refused_by_name(tmp_path, monkeypatch):
    from mlconvert.readers import classical_outputs

    monkeypatch.setattr(classical_outputs, "XGBOOST", {"reg:gamma": "value"})
    artifact = saved(tmp_path, trained({}, VALUES))
    for act in (runner.load, runner.signature):
        with pytest.raises(ConversionFailed, match="reg:squarederror"):
            act(artifact)
