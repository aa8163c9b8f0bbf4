"""scikit-learn's decision trees, and the forests that average them.

Their rule (sklearn/tree/_tree.pyx, `Tree._apply_dense`): rows are cast to float32 and compared with float64 thresholds,
`x <= threshold` goes left; NaN goes where `missing_go_to_left` says. A tree answers the `value` of its leaf: class
probabilities, or one number per output. A forest adds them from the first tree to the last in float64 and divides by
their number (sklearn/ensemble/_forest.py); with n_jobs the order of its sums is not fixed, and is not ours then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import Forest, Link, TreeModel
from mlconvert.forests.node_lists import number, rounded_down, within_trees
from mlconvert.readers.estimators import column_names, label_values

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def read_tree(estimator: Any, where: str) -> TreeModel:
    """The model of a fitted DecisionTree* or ExtraTree*: a forest of one."""
    return mean_of_trees(estimator, [estimator], where, divisor=1.0, takes_nan=takes_nan(estimator))


def read_forest(estimator: Any, where: str) -> TreeModel:
    """The model of a fitted RandomForest* or ExtraTrees*."""
    trees = estimator.estimators_
    return mean_of_trees(estimator, trees, where, divisor=float(len(trees)), takes_nan=takes_nan(trees[0]))


def mean_of_trees(
    estimator: Any,
    trees: Sequence[Any],
    where: str,
    *,
    divisor: float,
    takes_nan: bool,
    features: Sequence[np.ndarray] | None = None,
) -> TreeModel:
    """What the answers of `trees` (fitted tree estimators) add up to, divided by `divisor`, as `estimator`'s answer.

    features: for each tree, the columns that are its features 0, 1, ...; without, all. Raises ConversionFailed for a
    classifier with several outputs.
    """
    values = leaf_values(trees)
    if not hasattr(estimator, "classes_"):
        forest = forest_of(estimator, trees, values[:, :, 0], features=features, takes_nan=takes_nan)
        base = (0.0,) * forest.leaf_values.shape[1]
        names = column_names(estimator)
        return TreeModel(forest, "value", base, Link("identity"), divisor=divisor, feature_names=names)
    if values.shape[1] > 1:
        what = f"the {type(estimator).__name__} has {values.shape[1]} outputs, each with classes of its own"
        raise ConversionFailed(what, where=where, hint="train one classifier for each output")
    return TreeModel(
        forest_of(estimator, trees, values[:, 0], features=features, takes_nan=takes_nan),
        "multiclass",
        (0.0,) * values.shape[2],
        Link("identity"),
        divisor=divisor,
        classes=class_labels(estimator, where),
        feature_names=column_names(estimator),
    )


def leaf_values(trees: Sequence[Any]) -> np.ndarray:
    """The values of all leaves, from the first tree to the last: float64 [L, outputs, classes]; 1 for no classes."""
    return np.concatenate([tree.tree_.value[tree.tree_.children_left < 0] for tree in trees])


def forest_of(
    estimator: Any,
    trees: Sequence[Any],
    values: np.ndarray,
    *,
    features: Sequence[np.ndarray] | None = None,
    tree_output: np.ndarray | None = None,
    takes_nan: bool = False,
    takes_infinity: bool = False,
) -> Forest:
    """The nodes of fitted tree estimators, with `values` [L, W] in their leaves; thresholds become float32 numbers."""
    structures = [tree.tree_ for tree in trees]

    def each(name: str, dtype: DTypeLike) -> np.ndarray:
        return np.concatenate([getattr(tree, name) for tree in structures], dtype=dtype, casting="unsafe")

    sizes = np.array([tree.node_count for tree in structures])
    left = each("children_left", np.int32)
    leaf = left < 0
    asked = [tree.feature for tree in structures]
    if features is not None:  # a leaf's feature is -2, which is no index
        asked = [own[np.maximum(feature, 0)] for own, feature in zip(features, asked, strict=True)]
    inner = int(np.count_nonzero(~leaf))
    numbering = number(sizes, left, each("children_right", np.int32), leaf)
    return Forest(
        features=int(estimator.n_features_in_),
        compares="float32",
        strict=False,
        roots=numbering.roots,
        feature=np.concatenate(asked).astype(np.int32)[~leaf],
        threshold=rounded_down(each("threshold", np.float64)[~leaf]),
        left=numbering.left,
        right=numbering.right,
        missing_left=each("missing_go_to_left", bool)[~leaf],
        category_set=np.full(inner, -1, np.int32),
        set_bounds=np.zeros(1, np.int64),
        set_values=np.empty(0),
        leaf_values=values,
        leaf_ids=within_trees(sizes, leaf),
        tree_output=np.zeros(len(sizes), np.int32) if tree_output is None else tree_output,
        truncates=np.zeros(estimator.n_features_in_, bool),
        zero_is_missing=np.zeros(estimator.n_features_in_, bool),
        takes_nan=takes_nan,
        takes_infinity=takes_infinity,
    )


def takes_nan(tree: Any) -> bool:
    """Whether a tree estimator answers rows with NaN, whether or not it met any in training."""
    from sklearn.utils import get_tags

    return bool(get_tags(tree).input_tags.allow_nan)


def class_labels(estimator: Any, where: str) -> tuple[int, ...] | tuple[str, ...]:
    """The classes in the order of the columns; raises ConversionFailed for others than whole numbers and strings."""
    try:
        return tuple(label_values(estimator.classes_, "its classes").tolist())
    except ConversionFailed as error:
        what = f"{type(estimator).__name__}: {error.message}"
        raise ConversionFailed(what, where=where, hint=error.hint) from error
