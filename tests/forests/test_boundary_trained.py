"""Boundary rows of trained models: how many of them reach the node that they are for."""

from __future__ import annotations

import numpy as np
import pytest

from mlconvert.forests.boundary import probes
from mlconvert.forests.boundary_features import width
from mlconvert.forests.boundary_paths import Paths, compared
from mlconvert.forests.estimators import tree_model_of
from mlconvert.forests.evaluation import as_compared, goes_left
from mlconvert.forests.model import Forest

CATEGORICAL = [0, 1]


def rows(missing: bool, count: int = 300) -> np.ndarray:
    random = np.random.default_rng(2)
    made = random.normal(size=(count, 6))
    made[:, CATEGORICAL] = random.integers(0, 12, size=(count, 2))
    if missing:
        made[random.random(made.shape) < 0.1] = np.nan
    return made


def labels(made: np.ndarray) -> np.ndarray:
    filled = np.nan_to_num(made)
    return ((filled[:, 0] % 3 == 1) ^ (filled[:, 2] > 0.3) ^ (filled[:, 3] * filled[:, 4] > 0)).astype(int)


def lightgbm(categorical: bool, made: np.ndarray) -> object:
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(
        n_estimators=12, num_leaves=15, min_child_samples=5, min_data_per_group=5, cat_smooth=1, verbose=-1, n_jobs=1
    )
    return model.fit(made, labels(made), categorical_feature=CATEGORICAL if categorical else "auto")


def histogram(categorical: bool, made: np.ndarray) -> object:
    from sklearn.ensemble import HistGradientBoostingClassifier

    columns = CATEGORICAL if categorical else None
    model = HistGradientBoostingClassifier(max_iter=12, min_samples_leaf=5, categorical_features=columns)
    return model.fit(made, labels(made))


def xgboost(categorical: bool, made: np.ndarray) -> object:
    from xgboost import XGBClassifier

    types = {"enable_categorical": True, "feature_types": ["c", "c", "q", "q", "q", "q"]} if categorical else {}
    return XGBClassifier(n_estimators=12, max_depth=5, n_jobs=1, **types).fit(made, labels(made))


def catboost(categorical: bool, made: np.ndarray) -> object:
    from catboost import CatBoostClassifier

    model = CatBoostClassifier(iterations=12, depth=4, verbose=False, allow_writing_files=False, thread_count=1)
    return model.fit(made, labels(made))


def random_forest(categorical: bool, made: np.ndarray) -> object:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(12, random_state=0).fit(made, labels(made))


def extra_trees(categorical: bool, made: np.ndarray) -> object:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(12, random_state=0).fit(made, labels(made))


def gradient_boosting(categorical: bool, made: np.ndarray) -> object:
    from sklearn.ensemble import GradientBoostingClassifier

    return GradientBoostingClassifier(n_estimators=12, max_depth=6).fit(made, labels(made))


CASES = [
    (lightgbm, False, False),
    (lightgbm, True, False),
    (lightgbm, True, True),
    (histogram, False, False),
    (histogram, True, False),
    (histogram, True, True),
    (xgboost, False, False),
    (xgboost, True, False),
    (xgboost, True, True),
    (catboost, False, False),
    (catboost, True, False),
    (random_forest, False, False),
    (random_forest, True, False),
    (extra_trees, False, False),
    (gradient_boosting, False, False),
]


def come_to(forest: Forest, made: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Whether each row, walking down the tree of its node, comes to it."""
    seen = as_compared(forest, made)
    at = forest.roots[Paths.of(forest).tree[nodes]].astype(np.int64)
    been = at == nodes
    moving = np.flatnonzero(at >= 0)
    while len(moving):
        here = at[moving]
        been[moving] |= here == nodes[moving]
        left = goes_left(forest, here, seen[moving, forest.feature[here]])
        at[moving] = np.where(left, forest.left[here], forest.right[here])
        moving = moving[at[moving] >= 0]
    return been


@pytest.mark.parametrize(("train", "missing", "categorical"), CASES)
def test_rows_at_thresholds_reach_their_nodes(train: object, missing: bool, categorical: bool) -> None:
    trained = rows(missing)
    model = train(categorical, trained)
    forest = tree_model_of(model, "here").forest
    start = rows(missing=False, count=50) + 0.25
    made = probes(forest, count=20_000, seed=0, around=start)
    reached = come_to(forest, made.rows, made.nodes)
    own = compared(forest, forest.feature[made.nodes], made.rows[np.arange(20_000), forest.feature[made.nodes]])
    at = forest.threshold[made.nodes]
    near = (own == at) | (own == width(forest).above(at)) | (own == width(forest).below(at))
    # CatBoost's trees ask the same of all nodes of a depth: some are below contradictions, and no row reaches them.
    reachable = np.bincount(made.nodes[reached], minlength=len(forest.feature)) > 0
    assert reachable.all() or (train is catboost and reachable.mean() > 0.9)
    counted = reachable[made.nodes]
    assert near.sum() > 3000
    assert reached[counted].all()


@pytest.mark.parametrize(("train", "missing", "categorical"), CASES)
def test_the_library_answers_them(train: object, missing: bool, categorical: bool) -> None:
    trained = rows(missing)
    model = train(categorical, trained)
    forest = tree_model_of(model, "here").forest
    made = probes(forest, count=5000, seed=0, around=trained[~np.isnan(trained).any(axis=1)]).rows
    answered = np.asarray(model.predict(made))
    assert len(answered) == 5000
    assert np.isnan(made).any() == forest.takes_nan
    assert np.isinf(made).any() == forest.takes_infinity


def test_rows_that_only_hold_a_threshold_mostly_miss_its_node() -> None:
    """Why the path is followed: what these rows would be without it."""
    trained = rows(missing=False)
    forest = tree_model_of(gradient_boosting(False, trained), "here").forest
    random = np.random.default_rng(0)
    nodes = random.integers(len(forest.feature), size=5000)
    made = trained[random.integers(len(trained), size=5000)]
    made[np.arange(5000), forest.feature[nodes]] = forest.threshold[nodes]
    assert come_to(forest, made, nodes).mean() < 0.35
