"""scikit-learn's tree ensembles, small ones of every kind, against their TreeModels and the ONNX files of these."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import ensemble, tree

from mlconvert.forests.estimators import tree_model_of
from mlconvert.readers.estimator_answers import outputs_of

ROWS, FEATURES = 160, 4


def data(kind: str, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(ROWS, FEATURES))
    match kind:
        case "float32":
            return rows.astype(np.float32).astype(np.float64)
        case "quarters":  # most values are thresholds of others
            return np.round(rows * 4) / 4
        case "integers":
            return random.integers(-2, 5, rows.shape).astype(np.float64)
        case "three values":
            return random.choice([0.1, 0.2, 0.3], rows.shape)
        case "wide":
            return rows * [1e-3, 1.0, 1e10, 1e30]
        case "missing":
            rows[random.random(rows.shape) < 0.15] = np.nan
        case "one missing":
            rows[random.random(ROWS) < 0.3, 1] = np.nan
    return rows


def target(kind: str, rows: np.ndarray) -> np.ndarray:
    known = np.nan_to_num(rows, nan=0.7)
    known = known / np.abs(known).max(axis=0)
    value = known[:, 0] + known[:, 1] * known[:, 2] + 0.05 * np.random.default_rng(1).normal(size=len(rows))
    third = np.searchsorted(np.quantile(value, [0.4, 0.75]), value)
    match kind:
        case "two":
            return (third > 0).astype(np.int64)
        case "three":
            return third
        case "five":
            return np.searchsorted(np.quantile(value, [0.2, 0.4, 0.6, 0.8]), value)
        case "texts":
            return np.array(["bad", "fair", "good"])[third]
        case "two texts":
            return np.array(["no", "yes"])[(third > 0).astype(int)].astype(object)
        case "booleans":
            return third > 0
        case "whole floats":
            return np.array([1.0, 2.0, 5.0])[third]
        case "spread":
            return np.array([-5, 3, 1000])[third]
        case "counts":
            return np.floor(10 * np.abs(value))
        case "values":
            return np.stack([value, -3 * value, np.abs(value)], axis=1)
    return value


CASES = [
    # One tree.
    (tree.DecisionTreeClassifier(), "normal", "two"),
    (tree.DecisionTreeClassifier(max_depth=1), "normal", "three"),
    (tree.DecisionTreeClassifier(max_depth=3), "float32", "texts"),
    (tree.DecisionTreeClassifier(max_depth=4), "quarters", "five"),
    (tree.DecisionTreeClassifier(), "integers", "spread"),
    (tree.DecisionTreeClassifier(), "three values", "booleans"),
    (tree.DecisionTreeClassifier(max_leaf_nodes=9), "normal", "whole floats"),
    (tree.DecisionTreeClassifier(ccp_alpha=0.02), "normal", "three"),
    (tree.DecisionTreeClassifier(min_impurity_decrease=0.02), "wide", "two"),
    (tree.DecisionTreeClassifier(criterion="entropy", splitter="random"), "normal", "two texts"),
    (tree.DecisionTreeClassifier(criterion="log_loss", class_weight="balanced", max_depth=4), "normal", "three"),
    (tree.DecisionTreeClassifier(min_weight_fraction_leaf=0.1), "normal", "three weighted"),
    (tree.DecisionTreeClassifier(monotonic_cst=[1, 0, -1, 0], max_depth=5), "normal", "two"),
    (tree.DecisionTreeClassifier(max_depth=5), "missing", "three"),
    (tree.DecisionTreeClassifier(min_samples_leaf=8), "one missing", "two"),
    (tree.ExtraTreeClassifier(max_depth=5), "normal", "three"),
    (tree.ExtraTreeClassifier(max_depth=5), "missing", "texts"),
    (tree.ExtraTreeClassifier(splitter="best", max_depth=5), "quarters", "two"),
    (tree.DecisionTreeRegressor(), "normal", "value"),
    (tree.DecisionTreeRegressor(max_depth=1), "integers", "value"),
    (tree.DecisionTreeRegressor(max_depth=5), "missing", "values"),
    (tree.DecisionTreeRegressor(criterion="poisson", max_depth=4), "normal", "counts"),
    (tree.DecisionTreeRegressor(criterion="absolute_error", max_depth=4), "quarters", "value"),
    (tree.DecisionTreeRegressor(ccp_alpha=0.01), "wide", "value"),
    (tree.DecisionTreeRegressor(monotonic_cst=[1, 0, 0, -1], max_depth=5), "normal", "value"),
    (tree.ExtraTreeRegressor(max_depth=6), "normal", "values"),
    # Means of trees.
    (ensemble.RandomForestClassifier(7), "normal", "two"),
    (ensemble.RandomForestClassifier(7, max_depth=1), "normal", "three"),
    (ensemble.RandomForestClassifier(7, max_depth=4), "float32", "two texts"),
    (ensemble.RandomForestClassifier(7), "quarters", "five"),
    (ensemble.RandomForestClassifier(8), "integers", "two"),
    (ensemble.RandomForestClassifier(7, bootstrap=False, max_features=1), "three values", "three"),
    (ensemble.RandomForestClassifier(7, max_depth=5), "missing", "three"),
    (ensemble.RandomForestClassifier(6, max_depth=5), "one missing", "texts"),
    (ensemble.RandomForestClassifier(7, max_depth=6), "wide", "spread"),
    (ensemble.RandomForestClassifier(7, class_weight="balanced_subsample", max_leaf_nodes=12), "normal", "booleans"),
    (ensemble.RandomForestClassifier(7, criterion="entropy", max_samples=0.5), "normal", "five weighted"),
    (ensemble.RandomForestClassifier(7, ccp_alpha=0.03), "normal", "whole floats"),
    (ensemble.RandomForestClassifier(1, max_depth=3), "normal", "three"),
    (ensemble.ExtraTreesClassifier(7, max_depth=5), "normal", "three"),
    (ensemble.ExtraTreesClassifier(7, max_depth=5, bootstrap=True), "missing", "two"),
    (ensemble.ExtraTreesClassifier(7, max_depth=5), "quarters", "texts"),
    (ensemble.RandomForestRegressor(7), "normal", "value"),
    (ensemble.RandomForestRegressor(7, max_depth=5), "integers", "values"),
    (ensemble.RandomForestRegressor(7, max_depth=5), "missing", "value"),
    (ensemble.RandomForestRegressor(7, criterion="poisson", max_depth=4), "normal", "counts"),
    (ensemble.RandomForestRegressor(3, criterion="absolute_error", max_depth=3), "normal", "value weighted"),
    (ensemble.RandomForestRegressor(7, monotonic_cst=[1, 0, 0, 0], max_depth=4), "wide", "value"),
    (ensemble.ExtraTreesRegressor(7, max_depth=6), "quarters", "value"),
    (ensemble.ExtraTreesRegressor(7, max_depth=6), "one missing", "values"),
    # Sums of weighted trees.
    (ensemble.GradientBoostingClassifier(n_estimators=8), "normal", "two"),
    (ensemble.GradientBoostingClassifier(n_estimators=8, loss="exponential"), "normal", "two texts"),
    (ensemble.GradientBoostingClassifier(n_estimators=8, init="zero", max_depth=1), "integers", "booleans"),
    (ensemble.GradientBoostingClassifier(n_estimators=4), "quarters", "three"),
    (ensemble.GradientBoostingClassifier(n_estimators=4, init="zero", learning_rate=0.37), "three values", "texts"),
    (ensemble.GradientBoostingClassifier(n_estimators=4, subsample=0.6, max_leaf_nodes=6), "normal", "five weighted"),
    (ensemble.GradientBoostingClassifier(n_estimators=9, n_iter_no_change=1, tol=0.1), "wide", "two"),
    (ensemble.GradientBoostingRegressor(n_estimators=8), "normal", "value"),
    (ensemble.GradientBoostingRegressor(n_estimators=8, loss="huber", init="zero"), "quarters", "value"),
    (ensemble.GradientBoostingRegressor(n_estimators=8, loss="quantile", alpha=0.8), "integers", "value"),
    (
        ensemble.GradientBoostingRegressor(n_estimators=8, loss="absolute_error", ccp_alpha=1e-3),
        "normal",
        "value weighted",
    ),
    (ensemble.AdaBoostClassifier(n_estimators=8), "normal", "two"),
    (ensemble.AdaBoostClassifier(n_estimators=8, learning_rate=0.3), "integers", "two texts"),
    (ensemble.AdaBoostClassifier(n_estimators=8), "quarters", "three"),
    (ensemble.AdaBoostClassifier(tree.DecisionTreeClassifier(max_depth=3), n_estimators=6), "normal", "five weighted"),
    (ensemble.AdaBoostClassifier(tree.ExtraTreeClassifier(max_depth=4), n_estimators=6), "normal", "booleans"),
    (ensemble.AdaBoostClassifier(tree.DecisionTreeClassifier(), n_estimators=3), "three values", "spread"),
    # Trees that each see some of the columns.
    (ensemble.BaggingClassifier(n_estimators=6), "normal", "two"),
    (ensemble.BaggingClassifier(n_estimators=6, max_features=0.5), "quarters", "texts"),
    (
        ensemble.BaggingClassifier(tree.ExtraTreeClassifier(), n_estimators=6, bootstrap_features=True),
        "normal",
        "three",
    ),
    (ensemble.BaggingClassifier(n_estimators=6, max_features=3, max_samples=0.4), "missing", "spread"),
    (ensemble.BaggingRegressor(n_estimators=6, max_features=0.5), "normal", "value"),
    (ensemble.BaggingRegressor(tree.DecisionTreeRegressor(max_depth=3), n_estimators=6), "missing", "values"),
    (ensemble.BaggingRegressor(n_estimators=6, max_samples=0.5), "integers", "value weighted"),
    (ensemble.IsolationForest(n_estimators=12), "normal", "none"),
    (ensemble.IsolationForest(n_estimators=12, contamination=0.1), "float32", "none"),
    (ensemble.IsolationForest(n_estimators=12, max_features=0.5, contamination=0.25), "quarters", "none"),
    (ensemble.IsolationForest(n_estimators=12, max_samples=20, bootstrap=True, contamination=0.5), "integers", "none"),
    (ensemble.IsolationForest(n_estimators=12, max_samples=0.3), "missing", "none"),
    (ensemble.IsolationForest(n_estimators=12, contamination=0.05), "wide", "none weighted"),
]


@pytest.mark.parametrize(("estimator", "kind", "wanted"), CASES, ids=[f"{made} {x}, {y}" for made, x, y in CASES])
def test_a_model_answers_as_its_estimator(estimator, kind, wanted, assert_exact):
    rows = data(kind)
    weights = np.random.default_rng(2).integers(1, 4, ROWS) if "weighted" in wanted else None
    labels = target(wanted.removesuffix(" weighted"), rows)
    estimator.set_params(random_state=0).fit(rows, labels, sample_weight=weights)
    model = tree_model_of(estimator, "test")
    assert_exact(model, lambda asked: outputs_of(estimator, asked), rows=rows, random=data(kind, seed=3))
