"""scikit-learn's ensembles of trees that each see some of the columns: Bagging*, and IsolationForest."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import Link, TreeModel
from mlconvert.forests.sklearn_trees import forest_of, mean_of_trees, takes_nan
from mlconvert.readers.estimators import column_names


def read_bagging(estimator: Any, where: str) -> TreeModel:
    """The model of a fitted BaggingClassifier or -Regressor over single trees (sklearn/ensemble/_bagging.py).

    It divides by `n_estimators`. With n_jobs the library adds the sums of groups, which can differ in the last bits.
    Raises ConversionFailed for classifiers with trees that did not see all classes.
    """
    trees = estimator.estimators_
    if any(tree.tree_.max_n_classes != getattr(estimator, "n_classes_", 1) for tree in trees):
        # Only with metadata routing: else rows are drawn by weights, and a weight of 0 shows the class.
        what = f"a tree of the {type(estimator).__name__} was fitted on some of the classes only"
        raise ConversionFailed(what, where=where, hint="route sample_weight to the trees, and train it again")
    return mean_of_trees(
        estimator,
        trees,
        where,
        divisor=float(estimator.n_estimators),
        takes_nan=all(takes_nan(tree) for tree in trees),
        features=estimator.estimators_features_,
    )


def read_isolation_forest(estimator: Any, _where: str) -> TreeModel:
    """The model of a fitted IsolationForest (sklearn/ensemble/_iforest.py).

    A leaf counts its depth and the length that further splits of its training rows would have on average; `scores`,
    the decision function, is `-2 ** (-sum / scale) - offset_`.
    """
    from sklearn.ensemble._iforest import _average_path_length

    trees = estimator.estimators_
    lengths = zip(estimator._decision_path_lengths, estimator._average_path_length_per_tree, strict=True)
    values = np.concatenate(
        [(depth + rest - 1.0)[tree.tree_.children_left < 0] for tree, (depth, rest) in zip(trees, lengths, strict=True)]
    )
    features = estimator.estimators_features_ if estimator._max_features != estimator.n_features_in_ else None
    forest = forest_of(estimator, trees, values[:, None], features=features, takes_nan=True, takes_infinity=True)
    base, scale = 0.0, len(trees) * float(_average_path_length([estimator._max_samples])[0])
    if not scale:  # trees of one row have no length, and the library takes 1 for the quotient
        base, scale = 1.0, 1.0
    offset = float(estimator.offset_)
    return TreeModel(
        forest,
        "outlier",
        (base,),
        Link("isolation", scale=scale, offset=offset),
        cut=_last_outlier(scale, offset),
        feature_names=column_names(estimator),
    )


def _last_outlier(scale: float, offset: float) -> float:
    """The largest sum with a score below 0, as the library's own power computes it; -1 if there is none.

    `offset_` often is the score of a training row, and so 0 the score of a row: no other power may decide there.
    Found by bisection: floats from 0 on are in the order of their bits.
    """

    def is_outlier(bits: int) -> bool:
        length = np.array([bits]).view(np.float64)
        return bool((-(2 ** -(length / scale)) - offset)[0] < 0)

    low, high = -1, int(np.array([np.inf]).view(np.int64)[0])
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_outlier(middle) else (low, middle)
    return float(np.array([low]).view(np.float64)[0]) if low >= 0 else -1.0
