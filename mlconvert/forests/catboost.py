"""CatBoost's models of numeric features as the neutral model: float32 borders, sums in double.

A row is on the right of a split where `x > border` (`catboost/libs/model/cpu/quantization.h`); the splits of a
symmetric tree are the bits of its leaf's number, the first the lowest (`evaluator_impl.cpp`); then the sum times the
model's scale, plus its bias.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import Forest, Link, LinkName, TreeModel
from mlconvert.readers import classical_outputs
from mlconvert.readers.catboost_files import (
    catboost_loss,
    check_catboost_features,
    check_catboost_version,
    probability_threshold,
)
from mlconvert.readers.catboost_trees import CatboostTrees, catboost_trees
from mlconvert.readers.estimators import label_values

if TYPE_CHECKING:
    from mlconvert.readers.classical_outputs import Task

# What each loss makes of a sum, where that is not the sum itself: eval_processing.h.
LINKS: Mapping[str, LinkName] = {
    "CrossEntropy": "sigmoid",
    "Focal": "sigmoid",
    "Logloss": "sigmoid",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "sigmoid",
    "MultiCrossEntropy": "sigmoid",
    "MultiLogloss": "sigmoid",
    "Poisson": "exp",
    "Tweedie": "exp",
}


def read_catboost(model: Any, where: str) -> TreeModel:
    """The model that a loaded CatBoost model is, all of its trees.

    Answers are those of `runners.catboost`. Raises ConversionFailed for features that are not numbers, losses that
    are not in `classical_outputs.CATBOOST`, a model without trees or of a newer CatBoost, classes without an example,
    and labels that are neither whole numbers nor strings.
    """
    check_catboost_version(model, where)
    check_catboost_features(model, where)
    loss = catboost_loss(model)
    task = classical_outputs.task_of(classical_outputs.CATBOOST, loss, "CatBoost", where)
    read = catboost_trees(model, where)
    if not len(read.sizes):
        what = "the CatBoost model has no trees"
        raise ConversionFailed(what, where=where, hint="train it for one iteration at least")
    width = read.leaf_values.shape[1]
    scale, bias = model.get_scale_and_bias()
    names = tuple(str(name) for name in model.feature_names_)
    return TreeModel(
        forest=_forest(read, len(names), float(scale)),
        task=task,
        base=tuple(np.broadcast_to(np.asarray(bias, np.float64), (width,)).tolist()),
        link=Link(LINKS.get(loss, "identity")),
        cut=_cut(probability_threshold(model)) if task == "binary" else 0.0,
        label_by_sums=task == "multiclass",
        classes=_classes(model, task, width, where),
        feature_names=names,
    )


def _cut(threshold: float) -> float:
    """The sum above which the probability is above a threshold, as CatBoost computes it (`TEvalResultProcessor`)."""
    if threshold in (0, 1):
        return -math.inf if threshold == 0 else math.inf
    return -math.log(1 / threshold - 1)


def _classes(model: Any, task: Task, width: int, where: str) -> tuple[int, ...] | tuple[str, ...]:
    if task == "value":
        return ()
    labels = label_values(model.classes_).tolist()
    if len(labels) != (2 if task == "binary" else width):
        what = f"the CatBoost model knows {len(labels)} classes, of which some had no example and have no sums"
        raise ConversionFailed(what, where=where, hint="train it with the classes that the data has")
    return tuple(labels)


@dataclass(frozen=True)
class _Nodes:
    """Inner nodes, by the split that each asks about, and leaves, by the row of their values; as in a Forest."""

    roots: np.ndarray
    split: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    leaf_ids: np.ndarray


def _forest(read: CatboostTrees, features: int, scale: float) -> Forest:
    nodes = _expanded(read) if read.symmetric else _stepped(read)
    border = read.splits[nodes.split]
    return Forest(
        features=features,
        compares="float32",
        strict=False,
        roots=nodes.roots.astype(np.int32),
        feature=read.column[border],
        threshold=read.border[border].astype(np.float64),
        left=nodes.left.astype(np.int32),
        right=nodes.right.astype(np.int32),
        missing_left=~read.nan_is_above[border],
        category_set=np.full(len(border), -1, np.int32),
        set_bounds=np.zeros(1, np.int64),
        set_values=np.empty(0),
        leaf_values=read.leaf_values[nodes.leaf] * scale,
        leaf_ids=nodes.leaf_ids.astype(np.int32),
        tree_output=np.zeros(len(read.sizes), np.int32),
        truncates=np.zeros(features, bool),
        zero_is_missing=np.zeros(features, bool),
    )


def _expanded(read: CatboostTrees) -> _Nodes:
    """Symmetric trees, node by node: every node of a level asks about the level's split."""
    depth = read.sizes.astype(np.int64)
    leaves = 1 << depth
    first_node, first_leaf = np.cumsum(leaves - 1) - (leaves - 1), np.cumsum(leaves) - leaves
    tree = np.repeat(np.arange(len(depth)), leaves - 1)
    # Within a tree, a level's nodes come after those of the level above it, ordered by the bits decided so far.
    own = np.arange(len(tree)) - first_node[tree]
    level = np.frexp(own + 1)[1].astype(np.int64) - 1
    bits = own + 1 - (1 << level)
    sides = []
    for side in (0, 1):
        reached = bits + (side << level)
        inner = first_node[tree] + (2 << level) - 1 + reached
        sides.append(np.where(level + 1 < depth[tree], inner, ~(first_leaf[tree] + reached)))
    number = np.arange(int(leaves.sum()))
    return _Nodes(
        roots=np.where(depth > 0, first_node, ~first_leaf),
        split=(np.cumsum(depth) - depth)[tree] + level,
        left=sides[0],
        right=sides[1],
        leaf=number,
        leaf_ids=number - np.repeat(first_leaf, leaves),
    )


def _stepped(read: CatboostTrees) -> _Nodes:
    """Other trees: from a node it is so many nodes to its children; 0 is the node's own leaf, on one side or both."""
    step = read.steps.astype(np.int64)
    inner, ends = (step > 0).any(axis=1), (step == 0).any(axis=1)
    node, leaf = np.cumsum(inner) - 1, np.cumsum(ends) - 1
    child = np.where(inner, node, ~leaf)
    at = np.flatnonzero(inner)
    left, right = (np.where(step[at, side] > 0, child[at + step[at, side]], ~leaf[at]) for side in (0, 1))
    starts = np.cumsum(read.sizes) - read.sizes
    values = read.node_leaves[ends]
    tree = np.repeat(np.arange(len(read.sizes)), read.sizes)[ends]
    first = np.full(len(read.sizes), len(read.leaf_values))
    np.minimum.at(first, tree, values)
    return _Nodes(child[starts], at, left, right, leaf=values, leaf_ids=values - first[tree])
