"""Small HistGradientBoosting models of every kind, against their TreeModels and the ONNX files of these."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from mlconvert.forests.estimators import tree_model_of
from mlconvert.readers.estimator_answers import outputs_of

ROWS, FEATURES = 200, 4
CODES = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
NEGATIVE = [-7.0, -3.0, -1.0, 0.0, 2.0, 40.0, 1e6]
FRACTIONS = [-2.5, -0.5, 0.1, 0.5, 1.75, 1e-9, 1e20]


def data(kind: str, seed: int = 0) -> np.ndarray:
    """Rows whose columns 1 and 3 are categories, where the kind has any."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(ROWS, FEATURES))
    for name, known in {"codes": CODES, "negative": NEGATIVE, "fractions": FRACTIONS}.items():
        if name in kind:
            rows[:, 1] = random.choice(known, ROWS)
            rows[:, 3] = random.choice(known[:4], ROWS, p=[0.6, 0.25, 0.1, 0.05])
    if "many" in kind:
        rows[:, 1] = random.integers(0, 60, ROWS) * 1.5 - 20
    if "single" in kind:
        rows[:, 1] = 4.0
    if "float32" in kind:
        rows = rows.astype(np.float32).astype(np.float64)
    if "quarters" in kind:
        rows = np.round(rows * 4) / 4
    if "infinite" in kind:
        rows[random.random(rows.shape) < 0.1] = np.inf
        rows[random.random(rows.shape) < 0.1] = -np.inf
    if "wide" in kind:
        rows *= [1e-300, 1.0, 1e300, 1e-30]
    if "missing" in kind:
        rows[random.random(rows.shape) < 0.15] = np.nan
    return rows


def target(kind: str, rows: np.ndarray) -> np.ndarray:
    known = np.nan_to_num(rows, nan=0.7, posinf=3.0, neginf=-3.0)
    rank = known.argsort(axis=0).argsort(axis=0) / ROWS
    value = rank[:, 0] + np.abs(rank[:, 1] - 0.4) - rank[:, 2] * rank[:, 3]
    value += 0.5 * np.isnan(rows[:, 1]) + 0.05 * np.random.default_rng(1).normal(size=ROWS)
    third = np.searchsorted(np.quantile(value, [0.4, 0.75]), value)
    match kind:
        case "two":
            return (third > 0).astype(np.int64)
        case "three":
            return third
        case "texts":
            return np.array(["bad", "fair", "good"])[third]
        case "two texts":
            return np.array(["no", "yes"])[(third > 0).astype(int)]
        case "booleans":
            return third > 0
        case "spread":
            return np.array([-5, 3, 1000])[third]
        case "counts":
            return np.floor(10 * np.abs(value))
        case "positive":
            return np.abs(value) + 0.1
    return value


def classifier(**parameters: object) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(**{"max_iter": 6, "min_samples_leaf": 5, **parameters})


def regressor(**parameters: object) -> HistGradientBoostingRegressor:
    return HistGradientBoostingRegressor(**{"max_iter": 6, "min_samples_leaf": 5, **parameters})


BOTH = [1, 3]
CASES = [
    (classifier(), "plain", "two"),
    (classifier(), "float32", "two texts"),
    (classifier(max_iter=3), "quarters", "three"),
    (classifier(max_iter=3), "missing", "texts"),
    (classifier(), "quarters missing", "booleans"),
    (classifier(max_iter=3, max_depth=1), "missing", "spread"),
    (classifier(max_depth=2, max_iter=12), "wide", "two"),
    (classifier(max_leaf_nodes=None, max_iter=2, min_samples_leaf=2), "plain", "two"),
    (classifier(learning_rate=0.7, l2_regularization=1.0), "infinite", "two"),
    (classifier(max_iter=3), "infinite missing", "three"),
    (classifier(class_weight="balanced", max_bins=8), "plain", "two"),
    (classifier(early_stopping=True, n_iter_no_change=1, max_iter=20), "missing", "two"),
    (classifier(monotonic_cst=[1, 0, -1, 0]), "plain", "two"),
    (classifier(interaction_cst=[[0, 1], [2, 3]], max_features=0.5), "plain", "three weighted"),
    (classifier(categorical_features=BOTH), "codes", "two"),
    (classifier(categorical_features=BOTH), "codes missing", "two texts"),
    (classifier(categorical_features=BOTH, max_iter=3), "codes missing", "three"),
    (classifier(categorical_features=[3]), "codes", "booleans"),
    (classifier(categorical_features=[False, True, False, False]), "negative", "two"),
    (classifier(categorical_features=BOTH, max_iter=3), "negative missing", "texts"),
    (classifier(categorical_features=BOTH, max_depth=1), "negative", "two"),
    (classifier(categorical_features=BOTH), "fractions", "two"),
    (classifier(categorical_features=BOTH, max_iter=3), "fractions missing", "spread"),
    (classifier(categorical_features=BOTH, early_stopping=True, max_iter=8), "fractions missing", "two"),
    (classifier(categorical_features=[1], min_samples_leaf=1), "many", "two"),
    (classifier(categorical_features=[1], max_iter=3), "many missing", "three"),
    (classifier(categorical_features=[1]), "single missing", "two"),
    (classifier(categorical_features=[0, 1, 2, 3], max_bins=255), "quarters", "two weighted"),
    (regressor(), "plain", "value"),
    (regressor(loss="absolute_error"), "missing", "value"),
    (regressor(loss="quantile", quantile=0.9), "quarters", "value"),
    (regressor(loss="poisson"), "float32", "counts"),
    (regressor(loss="poisson", categorical_features=BOTH), "codes missing", "counts"),
    (regressor(loss="gamma"), "missing", "positive"),
    (regressor(loss="gamma", categorical_features=BOTH), "fractions", "positive weighted"),
    (regressor(categorical_features=BOTH), "codes", "value"),
    (regressor(categorical_features=BOTH), "negative missing", "value"),
    (regressor(loss="quantile", quantile=0.2, categorical_features=BOTH), "fractions missing", "value"),
    (regressor(loss="absolute_error", categorical_features=[1]), "single missing", "value"),
    (regressor(max_iter=1, max_leaf_nodes=2), "plain", "value"),
    (regressor(monotonic_cst=[0, 0, 1, 0], categorical_features=[1]), "codes", "value"),
    (regressor(min_samples_leaf=200), "plain", "value"),
]


@pytest.mark.parametrize(("estimator", "kind", "wanted"), CASES, ids=[f"{made} {x}, {y}" for made, x, y in CASES])
def test_a_model_answers_as_its_estimator(estimator, kind, wanted, assert_exact):
    rows = data(kind)
    weights = np.random.default_rng(2).integers(1, 4, ROWS) if "weighted" in wanted else None
    labels = target(wanted.removesuffix(" weighted"), rows)
    with threadpool_limits(1):  # threads cost more than they save here
        estimator.set_params(random_state=0).fit(rows, labels, sample_weight=weights)
    model = tree_model_of(estimator, "test")
    others = data(kind, seed=3)
    if estimator.is_categorical_ is not None:
        others[::7, 1] = 3.5  # never met
        others[::11, 1] = -100.0
    assert_exact(model, lambda asked: outputs_of(estimator, asked), rows=rows, random=others)
