"""The reference of CatBoost's files: float64 rows, the answers of CatBoost's own classes, what it gives on demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.registry import registry
from mlconvert.runners import catboost as runner

X = np.random.default_rng(7).normal(size=(150, 4))
VALUES = X[:, 0] + X[:, 1] ** 2
CLASSES = np.digitize(VALUES, [0, 1])
BINARY = (CLASSES > 0).astype(int)
SETTINGS = {"iterations": 4, "depth": 3, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


def trained(loss: str, target: np.ndarray, **params: Any) -> Any:
    """A model of the class that its users train it with."""
    import catboost

    classifies = loss.startswith(("Multi", "Logloss", "Cross", "Focal")) and loss != "MultiRMSE"
    kind = catboost.CatBoostClassifier if classifies else catboost.CatBoostRegressor
    return kind(loss_function=loss, **SETTINGS, **params).fit(X, target)


def saved(folder: Path, model: Any) -> Artifact:
    path = folder / "m.cbm"
    model.save_model(str(path))
    return Artifact("catboost", str(path), (path,))


def loaded(folder: Path, model: Any) -> Session:
    artifact = saved(folder, model)
    session = runner.load(artifact)
    assert session.signature == runner.signature(artifact)
    return session


@pytest.mark.parametrize(
    ("loss", "target", "classes"),
    [
        ("Logloss", BINARY, 2),
        ("Logloss", np.array(["no", "yes"])[BINARY], 2),
        ("Logloss", BINARY > 0, 2),
        ("CrossEntropy", 1 / (1 + np.exp(-VALUES)), 2),
        ("MultiClass", CLASSES, 3),
        ("MultiClassOneVsAll", np.array(["a", "b", "c"])[CLASSES], 3),
    ],
)
def test_classifiers_answer_as_catboosts_own_do(tmp_path, loss, target, classes):
    model = trained(loss, target)
    session = loaded(tmp_path, model)
    answers = session.run({"input": X})
    assert answers["label"].tolist() == model.predict(X).reshape(-1).tolist()
    np.testing.assert_array_equal(answers["probabilities"], model.predict_proba(X))
    assert session.signature is not None
    assert session.signature.outputs[1].shape == ("batch", classes)
    assert session.signature.outputs[0].dtype == ("string" if target.dtype.kind == "U" else "int64")
    assert [str(spec) for spec in session.signature.inputs] == ["input: float64[batch, 4]"]


@pytest.mark.parametrize(
    ("loss", "target", "width"),
    [
        ("RMSE", VALUES, 1),
        ("Poisson", np.abs(VALUES), 1),
        ("Tweedie:variance_power=1.5", np.abs(VALUES), 1),
        ("MultiRMSE", X[:, :3], 3),
    ],
)
def test_regressors_answer_as_catboosts_own_do(tmp_path, loss, target, width):
    model = trained(loss, target)
    session = loaded(tmp_path, model)
    values = session.run({"input": X})["variable"]
    np.testing.assert_array_equal(values, model.predict(X).reshape(150, width))
    assert session.signature is not None
    assert [(spec.name, spec.shape) for spec in session.signature.outputs] == [("variable", ("batch", width))]


def test_several_labels_are_the_probability_of_each(tmp_path):
    model = trained("MultiLogloss", np.stack([CLASSES > 0, CLASSES > 1], axis=1).astype(int))
    np.testing.assert_array_equal(loaded(tmp_path, model).run({"input": X})["variable"], model.predict_proba(X))


def test_labels_go_by_the_threshold_of_the_model(tmp_path):
    model = trained("Logloss", BINARY)
    model.set_probability_threshold(0.8)
    answers = loaded(tmp_path, model).run({"input": X})
    np.testing.assert_array_equal(answers["label"], answers["probabilities"][:, 1] > 0.8)


def test_doubles_are_rounded_to_the_nearest_float32_by_catboost(tmp_path):
    session = loaded(tmp_path, trained("RMSE", VALUES))
    for rows in (X, X + 1e-9, X - 1e-9):
        np.testing.assert_array_equal(
            session.run({"input": rows})["variable"], session.run({"input": rows.astype(np.float32)})["variable"]
        )


@pytest.mark.parametrize(("loss", "target", "width"), [("Logloss", BINARY, 1), ("MultiClass", CLASSES, 3)])
def test_more_on_demand(tmp_path, loss, target, width):
    model = trained(loss, target)
    more = loaded(tmp_path, model).more
    raw, leaves = (more[name]({"input": X}) for name in ("raw_scores", "leaf_indices"))
    assert (raw.shape, raw.dtype) == ((150, width), np.float64)
    np.testing.assert_array_equal(raw, model.predict(X, prediction_type="RawFormulaVal").reshape(150, width))
    assert (leaves.shape, leaves.dtype) == ((150, 4), np.int64)
    np.testing.assert_array_equal(leaves, model.calc_leaf_indexes(X))


def test_boundary_samples(tmp_path):
    artifact = saved(tmp_path, trained("RMSE", VALUES))
    made = registry().runner("catboost").boundary_samples(artifact, {"input": X}, count=300, seed=1)
    again = runner.boundary_samples(artifact, {"input": X}, count=300, seed=1)
    assert made is not None
    assert again is not None
    assert (made["input"].dtype, made["input"].shape) == (np.float64, (300, 4))
    np.testing.assert_array_equal(made["input"], again["input"])


def test_no_boundary_samples_where_no_tree_splits(tmp_path):
    import catboost

    model = catboost.CatBoostRegressor(**{**SETTINGS, "depth": 0}).fit(X, VALUES)
    assert runner.boundary_samples(saved(tmp_path, model), {"input": X}, count=10, seed=1) is None
