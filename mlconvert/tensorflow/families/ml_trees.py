"""Tree ensembles of ai.onnx.ml: TreeEnsemble, TreeEnsembleRegressor and TreeEnsembleClassifier.

Rows that are not float64 are compared as float32, and leaves are added up in the type that is compared, one tree after
another, as one thread of ONNX Runtime does (several threads add up trees of their own). What ONNX leaves open follows
ONNX Runtime too: labels and scores of two classes above all. Where its labels are not the model's, the node is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow import grappler
from mlconvert.tensorflow import trees as t
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator
from mlconvert.tensorflow.scores import transformed
from mlconvert.tensorflow.trees import Trees

_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_AT_ONCE = 1 << 22
"""Numbers that a step may hold at once: with more rows than that allows there are several steps."""
_LARGEST = 1 << 27
"""Numbers in the largest table of leaves and targets: 1 GB of float64."""


@dataclass(frozen=True)
class _Weights:
    """What leaves add to targets: entry by entry."""

    leaf: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    leaves: int
    targets: int


def tree_ensemble(
    x: tf.Tensor,
    *,
    node: Node,
    tree_roots: tuple[int, ...],
    nodes_featureids: tuple[int, ...],
    nodes_splits: np.ndarray,
    nodes_modes: np.ndarray,
    nodes_truenodeids: tuple[int, ...],
    nodes_falsenodeids: tuple[int, ...],
    nodes_trueleafs: tuple[int, ...],
    nodes_falseleafs: tuple[int, ...],
    leaf_targetids: tuple[int, ...],
    leaf_weights: np.ndarray,
    nodes_missing_value_tracks_true: tuple[int, ...] = (),
    membership_values: np.ndarray | None = None,
    nodes_hitrates: np.ndarray | None = None,  # noqa: ARG001 - changes nothing
    n_targets: int = 1,
    aggregate_function: int = 1,
    post_transform: int = 0,
) -> tf.Tensor:
    """Nodes and leaves are numbered on their own; a root whose two sides are one leaf is that leaf."""
    on_true, on_false = (
        np.where(np.array(is_leaf, bool), ~np.array(child), np.array(child))
        for is_leaf, child in ((nodes_trueleafs, nodes_truenodeids), (nodes_falseleafs, nodes_falsenodeids))
    )
    roots = np.array(tree_roots)
    alone = (on_true[roots] < 0) & (on_true[roots] == on_false[roots])
    modes = np.array(nodes_modes).astype(int)
    trees = Trees(
        roots=np.where(alone, on_true[roots], roots),
        feature=np.array(nodes_featureids),
        mode=modes,
        value=np.array(nodes_splits),
        on_true=on_true,
        on_false=on_false,
        missing_true=_flags(nodes_missing_value_tracks_true, len(modes)),
        members=_members(modes, membership_values),
    )
    weights = _Weights(
        np.arange(len(leaf_targetids)), np.array(leaf_targetids), np.array(leaf_weights), len(leaf_targetids), n_targets
    )
    x = _numbers(node, x, trees)
    scores, _ = _aggregated(node, trees, weights, x, _AGGREGATES[aggregate_function])
    return transformed(scores, _TRANSFORMS[post_transform])


def _flags(given: tuple[int, ...], count: int) -> np.ndarray:
    return np.array(given, bool) if given else np.zeros(count, bool)


def _members(modes: np.ndarray, values: np.ndarray | None) -> dict[int, np.ndarray]:
    """The sets of the nodes that have one, in order; each ends with NaN."""
    if values is None:
        return {}
    ends = np.flatnonzero(np.isnan(values))
    sets = np.split(values, ends + 1)
    return {int(place): one[:-1] for place, one in zip(np.flatnonzero(modes == t.MEMBER), sets, strict=False)}


def _older(
    nodes_treeids: tuple[int, ...],
    nodes_nodeids: tuple[int, ...],
    nodes_featureids: tuple[int, ...],
    nodes_modes: tuple[str, ...],
    nodes_values: Any,
    nodes_truenodeids: tuple[int, ...],
    nodes_falsenodeids: tuple[int, ...],
    missing: tuple[int, ...],
    leaf_entries: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], Any],
    targets: int,
) -> tuple[Trees, _Weights]:
    """The trees of versions 1 and 3: nodes have a tree's number and one within the tree, and leaves are nodes."""
    keys = {key: place for place, key in enumerate(zip(nodes_treeids, nodes_nodeids, strict=True))}
    is_leaf = np.array([mode == "LEAF" for mode in nodes_modes], bool)
    number = np.where(is_leaf, ~(np.cumsum(is_leaf) - 1), np.cumsum(~is_leaf) - 1)
    inner = np.flatnonzero(~is_leaf)

    def children(ids: tuple[int, ...]) -> np.ndarray:
        return np.array([number[keys[nodes_treeids[place], ids[place]]] for place in inner], int)

    firsts: dict[int, int] = {}
    for place, tree in enumerate(nodes_treeids):
        firsts.setdefault(tree, place)
    values = nodes_values if isinstance(nodes_values, np.ndarray) else np.array(nodes_values, np.float32)
    trees = Trees(
        roots=np.array([number[firsts[tree]] for tree in sorted(firsts)], int),
        feature=np.array(nodes_featureids, int)[inner],
        mode=np.array([_MODES.index(nodes_modes[place]) for place in inner], int),
        value=values[inner],
        on_true=children(nodes_truenodeids),
        on_false=children(nodes_falsenodeids),
        missing_true=_flags(missing, len(nodes_modes))[inner],
    )
    tree_of, node_of, target, weight = leaf_entries
    leaf = np.array([~number[keys[key]] for key in zip(tree_of, node_of, strict=True)], int)
    kind = None if isinstance(weight, np.ndarray) else np.float32
    return trees, _Weights(leaf, np.array(target, int), np.asarray(weight, kind), int(is_leaf.sum()), targets)


def tree_ensemble_regressor(
    x: tf.Tensor,
    *,
    node: Node,
    nodes_treeids: tuple[int, ...],
    nodes_nodeids: tuple[int, ...],
    nodes_featureids: tuple[int, ...],
    nodes_modes: tuple[str, ...],
    nodes_truenodeids: tuple[int, ...],
    nodes_falsenodeids: tuple[int, ...],
    target_treeids: tuple[int, ...],
    target_nodeids: tuple[int, ...],
    target_ids: tuple[int, ...],
    nodes_values: tuple[float, ...] = (),
    nodes_values_as_tensor: np.ndarray | None = None,
    nodes_missing_value_tracks_true: tuple[int, ...] = (),
    nodes_hitrates: tuple[float, ...] = (),  # noqa: ARG001
    nodes_hitrates_as_tensor: np.ndarray | None = None,  # noqa: ARG001
    target_weights: tuple[float, ...] = (),
    target_weights_as_tensor: np.ndarray | None = None,
    base_values: tuple[float, ...] = (),
    base_values_as_tensor: np.ndarray | None = None,
    n_targets: int = 1,
    aggregate_function: str = "SUM",
    post_transform: str = "NONE",
) -> tf.Tensor:
    values = nodes_values if nodes_values_as_tensor is None else nodes_values_as_tensor
    weights = target_weights if target_weights_as_tensor is None else target_weights_as_tensor
    forest, entries = _older(
        nodes_treeids, nodes_nodeids, nodes_featureids, nodes_modes, values, nodes_truenodeids, nodes_falsenodeids,
        nodes_missing_value_tracks_true, (target_treeids, target_nodeids, target_ids, weights), n_targets,
    )  # fmt: skip
    x = _numbers(node, x, forest)
    scores, voted = _aggregated(node, forest, entries, x, aggregate_function)
    base = _base(base_values, base_values_as_tensor, x)
    if base is not None:  # which a target that no leaf adds to does not get
        scores = scores + base if voted is None else tf.where(voted, scores + base, tf.zeros_like(scores))
    return tf.cast(transformed(scores, post_transform), tf.float32)


def tree_ensemble_classifier(
    x: tf.Tensor,
    *,
    node: Node,
    nodes_treeids: tuple[int, ...],
    nodes_nodeids: tuple[int, ...],
    nodes_featureids: tuple[int, ...],
    nodes_modes: tuple[str, ...],
    nodes_truenodeids: tuple[int, ...],
    nodes_falsenodeids: tuple[int, ...],
    class_treeids: tuple[int, ...],
    class_nodeids: tuple[int, ...],
    class_ids: tuple[int, ...],
    class_weights: tuple[float, ...] = (),
    class_weights_as_tensor: np.ndarray | None = None,
    classlabels_int64s: tuple[int, ...] = (),
    classlabels_strings: tuple[str, ...] = (),
    nodes_values: tuple[float, ...] = (),
    nodes_values_as_tensor: np.ndarray | None = None,
    nodes_missing_value_tracks_true: tuple[int, ...] = (),
    nodes_hitrates: tuple[float, ...] = (),  # noqa: ARG001
    nodes_hitrates_as_tensor: np.ndarray | None = None,  # noqa: ARG001
    base_values: tuple[float, ...] = (),
    base_values_as_tensor: np.ndarray | None = None,
    post_transform: str = "NONE",
) -> tuple[tf.Tensor, tf.Tensor]:
    values = nodes_values if nodes_values_as_tensor is None else nodes_values_as_tensor
    weights = class_weights if class_weights_as_tensor is None else class_weights_as_tensor
    labels: tuple[Any, ...] = classlabels_strings or classlabels_int64s
    if len(labels) < 2:
        raise node.refuse("has fewer than two classes")
    forest, entries = _older(
        nodes_treeids, nodes_nodeids, nodes_featureids, nodes_modes, values, nodes_truenodeids, nodes_falsenodeids,
        nodes_missing_value_tracks_true, (class_treeids, class_nodeids, class_ids, weights), len(labels),
    )  # fmt: skip
    x = _numbers(node, x, forest)
    scores, voted = _aggregated(node, forest, entries, x, "SUM")
    base = _base(base_values, base_values_as_tensor, x)
    names = tf.constant(list(labels), tf.string if classlabels_strings else tf.int64)
    if len(labels) == 2:
        index, answer = _two_classes(node, scores, voted, entries, base, labels, post_transform)
    else:
        judged = scores
        if base is not None:
            if len(base) != len(labels):
                raise node.refuse(f"has {len(base)} base_values for {len(labels)} classes")
            judged = scores = scores + base
        elif voted is not None:  # a class that no leaf votes for is never the answer
            judged = tf.where(voted, scores, tf.fill(tf.shape(scores), tf.constant(-np.inf, scores.dtype)))
        index, answer = tf.argmax(grappler.fenced(judged), axis=1), transformed(scores, post_transform)
    return tf.gather(names, index), tf.cast(answer, tf.float32)


def _two_classes(
    node: Node,
    scores: tf.Tensor,
    voted: tf.Tensor | None,
    entries: _Weights,
    base: np.ndarray | None,
    labels: tuple[Any, ...],
    post_transform: str,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The class' number, and the scores. Leaves that vote for class 0 only tell the score of class 1, and so both."""
    columns = set(entries.target.tolist())
    if base is not None and (columns != {0} or len(base) != 1):
        raise node.refuse("has base_values for two classes, whose meaning ONNX leaves open")
    if columns == {0, 1}:
        if voted is not None:
            raise node.refuse("has two classes and leaves that vote for neither or for one of them")
        if labels != (0, 1) and not isinstance(labels[0], str):
            raise node.refuse(
                "votes for two classes whose labels are not 0 and 1, where ONNX Runtime answers 0 and 1 all the same",
                hint="let its leaves vote for one class, or name the classes by texts",
            )
        return tf.cast(scores[:, 1] > 0, tf.int32), transformed(scores, post_transform)
    positive = bool((entries.weight >= 0).all())
    if columns == {1}:
        index = tf.cast(scores[:, 1] > (0.5 if positive else 0.0), tf.int32)
        return index, transformed(scores, post_transform)
    if post_transform == "PROBIT":
        raise node.refuse("has two classes, one score and post_transform PROBIT, which give one column")
    score = scores[:, :1] if base is None else scores[:, :1] + base[0]
    index = tf.cast(score[:, 0] > (0.5 if positive else 0.0), tf.int32)
    if post_transform == "LOGISTIC":
        return index, transformed(tf.concat([-score, score], axis=1), post_transform)
    return index, tf.concat([1 - score if positive else -score, score], axis=1)


def _numbers(node: Node, x: tf.Tensor, trees: Trees) -> tf.Tensor:
    """The rows as they are compared. Raises ConversionFailed for what ONNX Runtime does not compare."""
    if x.shape.rank != 2:
        raise node.refuse("needs an input of two axes")
    if trees.value.dtype == np.float64 and x.dtype != tf.float64:
        raise node.refuse("has thresholds of float64 and rows that are not")
    plain = trees.value[trees.mode != t.MEMBER]
    if np.isnan(plain).any():
        raise node.refuse("has a threshold that is NaN")
    return x if x.dtype in (tf.float32, tf.float64) else tf.cast(x, tf.float32)


def _base(values: tuple[float, ...], tensor: np.ndarray | None, x: tf.Tensor) -> np.ndarray | None:
    base = np.array(values, np.float32) if tensor is None else tensor
    return base.astype(x.dtype.as_numpy_dtype) if len(base) else None


def _aggregated(
    node: Node, trees: Trees, weights: _Weights, x: tf.Tensor, aggregate: str
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The targets' sums (or averages, least or largest values) over the trees' leaves, [N, targets] of the type of x,
    and whether a leaf adds to each; None where one always does.
    """
    kind = x.dtype.as_numpy_dtype
    trees = replace(trees, value=trees.value.astype(kind))
    weights = replace(weights, weight=weights.weight.astype(kind))
    if weights.leaves * weights.targets > _LARGEST:
        raise node.refuse("has more leaves and targets than fit in a table")
    of_trees = t.leaves_of_trees(trees)
    finish, each = (_summed if aggregate in ("SUM", "AVERAGE") else _extreme)(node, weights, of_trees, aggregate)
    votes = _votes(node, weights, of_trees)
    features = max(1, len(np.unique(trees.feature)))
    step = max(1, _AT_ONCE // max(1, len(of_trees) * each, min(len(of_trees), t.TOGETHER) * features))

    def answer(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        leaves = t.leaves(trees, rows, node.weight)
        voted = tf.ones([1, 1], tf.bool) if votes is None else tf.reduce_any(tf.gather(votes, leaves), axis=1)
        return finish(leaves), voted

    scores, voted = _by_steps(answer, x, step, weights.targets, votes is not None)
    if aggregate == "AVERAGE":
        scores /= len(trees.roots)
    return scores, voted


def _by_steps(
    answer: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]], x: tf.Tensor, step: int, targets: int, votes: bool
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The answers for all rows, `step` rows at a time."""
    count = tf.shape(x)[0]
    steps = tf.maximum(1, (count + step - 1) // step)
    scores = tf.TensorArray(x.dtype, steps, infer_shape=False, element_shape=[None, targets])
    voted = tf.TensorArray(tf.bool, steps, infer_shape=False, element_shape=[None, targets if votes else 1])

    def body(at: tf.Tensor, scores: tf.TensorArray, voted: tf.TensorArray) -> tuple[Any, ...]:
        one, other = answer(x[at * step : (at + 1) * step])
        return at + 1, scores.write(at, one), voted.write(at, other)

    _, scores, voted = tf.while_loop(
        lambda at, *_: at < steps, body, (tf.constant(0), scores, voted), parallel_iterations=1
    )
    found = tf.ensure_shape(scores.concat(), [x.shape[0], targets])
    return found, tf.ensure_shape(voted.concat(), [x.shape[0], targets]) if votes else None


def _votes(node: Node, weights: _Weights, of_trees: list[list[int]]) -> tf.Tensor | None:
    """Which targets a leaf adds to; None where each row has a leaf for each target."""
    table = np.zeros((weights.leaves, weights.targets), bool)
    table[weights.leaf, weights.target] = True
    always = np.zeros(weights.targets, bool)
    for tree in of_trees:
        always |= table[tree].all(axis=0)
    return None if always.all() else node.weight("votes", table)


_Finish = Callable[[tf.Tensor], tf.Tensor]


def _extreme(node: Node, weights: _Weights, of_trees: list[list[int]], aggregate: str) -> tuple[_Finish, int]:  # noqa: ARG001
    worst = np.inf if aggregate == "MIN" else -np.inf
    table = np.full((weights.leaves, weights.targets), worst, weights.weight.dtype)
    (np.minimum if aggregate == "MIN" else np.maximum).at(table, (weights.leaf, weights.target), weights.weight)

    def finish(leaves: tf.Tensor) -> tf.Tensor:
        found = grappler.fenced(tf.gather(node.weight("targets", table), leaves))
        best = tf.reduce_min(found, axis=1) if aggregate == "MIN" else tf.reduce_max(found, axis=1)
        return tf.where(tf.math.is_inf(best), tf.zeros_like(best), best)

    return finish, weights.targets


def _summed(node: Node, weights: _Weights, of_trees: list[list[int]], aggregate: str) -> tuple[_Finish, int]:  # noqa: ARG001
    """How leaves [n, T] become sums [n, targets], and how many numbers a tree takes for that.

    One tree is added after another: the last of cumsum's sums is that, and reduce_sum's is not. Where no tree adds to
    two targets, each target's own trees are added, those of all targets at once.
    """
    table = np.zeros((weights.leaves, weights.targets), weights.weight.dtype)
    np.add.at(table, (weights.leaf, weights.target), weights.weight)
    adds = np.zeros((weights.leaves, weights.targets), bool)
    adds[weights.leaf, weights.target] = True
    own = [np.flatnonzero(adds[tree].any(axis=0)) for tree in of_trees]
    if weights.targets == 1 or any(len(one) > 1 for one in own):

        def finish(leaves: tf.Tensor) -> tf.Tensor:
            return tf.cumsum(tf.gather(node.weight("leaf_weights", table), leaves), axis=1)[:, -1]

        return finish, weights.targets
    trees = [[place for place, one in enumerate(own) if target in one] for target in range(weights.targets)]
    longest = max(1, *map(len, trees))
    slots = np.full((weights.targets, longest), len(of_trees), np.int32)  # the tree behind the last adds zero
    for row, places in zip(slots, trees, strict=True):
        row[: len(places)] = places
    column = np.append(table.sum(axis=1, dtype=table.dtype), np.zeros(1, table.dtype))  # one of each row's at most

    def finish_each(leaves: tf.Tensor) -> tf.Tensor:
        leaves = tf.pad(leaves, [[0, 0], [0, 1]], constant_values=weights.leaves)
        found = tf.gather(node.weight("leaf_weights", column), tf.gather(leaves, node.weight("slots", slots), axis=1))
        return tf.cumsum(found, axis=2)[:, :, -1]

    return finish_each, max(1, -(-slots.size // max(1, len(of_trees))))


OPERATORS: tuple[Operator, ...] = (
    Operator("TreeEnsemble", 5, tree_ensemble, domain="ai.onnx.ml"),
    Operator("TreeEnsembleRegressor", 1, tree_ensemble_regressor, domain="ai.onnx.ml"),
    Operator("TreeEnsembleClassifier", 1, tree_ensemble_classifier, domain="ai.onnx.ml"),
)
