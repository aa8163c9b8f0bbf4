"""scikit-learn's sums of weighted trees: GradientBoosting*, and AdaBoostClassifier over trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import Link, TreeModel
from mlconvert.forests.sklearn_trees import class_labels, forest_of, leaf_values
from mlconvert.readers.estimators import column_names

# What turns a sum into a prediction, by the class of the loss's link (sklearn/_loss/link.py).
LINKS = {
    "IdentityLink": Link("identity"),
    "LogLink": Link("exp"),
    "LogitLink": Link("sigmoid"),
    "HalfLogitLink": Link("sigmoid", scale=2.0),
    "MultinomialLogit": Link("softmax"),
}
BELOW_ZERO = float(np.nextafter(0.0, -1.0))  # `sum > BELOW_ZERO` is `sum >= 0`


def read_gradient_boosting(estimator: Any, where: str) -> TreeModel:
    """The model of a fitted GradientBoostingClassifier or -Regressor (sklearn/ensemble/_gb.py).

    The sums begin with the answer of `init_` and get `learning_rate * value` of each tree, stage by stage. A binary
    label is the second class from 0 on. Rows with NaN or infinities are refused by the library.

    Raises ConversionFailed for an `init` estimator whose answer depends on the row.
    """
    stages = estimator.estimators_
    trees, outputs = stages.ravel().tolist(), stages.shape[1]
    forest = forest_of(
        estimator,
        trees,
        # The library multiplies when it predicts: the same product of the same two doubles.
        estimator.learning_rate * leaf_values(trees)[:, :, 0],
        tree_output=np.tile(np.arange(outputs, dtype=np.int32), len(stages)),
    )
    base, names = _first_answer(estimator, where), column_names(estimator)
    if not hasattr(estimator, "classes_"):
        return TreeModel(forest, "value", base, Link("identity"), feature_names=names)
    return TreeModel(
        forest,
        "binary" if outputs == 1 else "multiclass",
        base,
        LINKS[type(estimator._loss.link).__name__],
        cut=BELOW_ZERO,
        label_by_sums=True,
        classes=class_labels(estimator, where),
        feature_names=names,
    )


def _first_answer(estimator: Any, where: str) -> tuple[float, ...]:
    """What the sums begin with, from the library itself: the `init_` estimator's answer through the loss's link."""
    first = estimator.init_
    kind = type(first).__name__
    constant = kind == "DummyRegressor" or (kind == "DummyClassifier" and first.strategy != "stratified")
    if not (isinstance(first, str) and first == "zero") and not constant:
        what = f"the {type(estimator).__name__} starts from the answers of another estimator: init={kind}"
        raise ConversionFailed(what, where=where, hint="train it with init=None or init='zero'")
    row = np.zeros((1, estimator.n_features_in_), np.float32)
    return tuple(estimator._raw_predict_init(row)[0].tolist())


def read_adaboost(estimator: Any, where: str) -> TreeModel:
    """The model of a fitted AdaBoostClassifier over single trees (SAMME; sklearn/ensemble/_weight_boosting.py).

    A tree votes with its weight for the class that it predicts, and with `-1 / (K - 1)` of that against the others.
    The sums are the decision function. For two classes it is the difference of both columns, which are each other's
    negative: twice the second.
    """
    trees, weights = estimator.estimators_, estimator.estimator_weights_
    classes = class_labels(estimator, where)
    count = len(classes)
    if count < 2:
        what = f"the {type(estimator).__name__} was fitted on one class"
        raise ConversionFailed(what, where=where, hint="train it on two classes or more")
    ends = [int(np.count_nonzero(tree.tree_.children_left < 0)) for tree in trees]
    weight = np.repeat(weights[: len(trees)], ends)[:, None]
    # Every tree was fitted on all labels, under other weights, so its classes are those of the ensemble.
    voted = leaf_values(trees)[:, 0].argmax(axis=1)[:, None] == np.arange(count)
    votes = np.where(voted, weight, -1 / (count - 1) * weight)
    binary = count == 2
    return TreeModel(
        forest_of(estimator, trees, 2 * votes[:, 1:] if binary else votes),
        "binary" if binary else "multiclass",
        (0.0,) if binary else (0.0,) * count,
        Link("sigmoid") if binary else Link("softmax", scale=1 / (count - 1)),
        divisor=float(weights.sum()),
        label_by_sums=True,
        classes=classes,
        feature_names=column_names(estimator),
    )
