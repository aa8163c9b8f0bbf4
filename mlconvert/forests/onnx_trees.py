"""The tree operators of ai.onnx.ml: the arrays of a forest as the attributes of one node.

`TreeEnsemble` (version 5) takes floats of one width throughout. `TreeEnsembleRegressor` (version 3) answers in
float32, but compares in double where its attributes are tensors of doubles.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests import onnx_attributes as wire
from mlconvert.forests.node_lists import rounded_down, rounded_up

if TYPE_CHECKING:
    from mlconvert.forests.model import Float, Forest
    from mlconvert.forests.onnx_attributes import Pieces
    from mlconvert.forests.onnx_graph import Graph
    from mlconvert.onnx_model.releases import TreeVersion

ML = "ai.onnx.ml"
_LEQ, _LT, _MEMBER = 0, 1, 6  # TreeEnsemble's nodes_modes
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "LEAF")  # TreeEnsembleRegressor's

DEEPEST = 5000
"""The deepest tree that is written. ONNX Runtime walks down a tree by recursion when it loads it: with a stack of 8 MB
version 1.32 takes 10,000 levels and crashes at 15,000."""


@dataclass(frozen=True)
class Targets:
    """What the operator adds up: the target and the weight of each leaf, both [L], of `count` targets."""

    count: int
    target: np.ndarray  # int
    weight: np.ndarray  # float64


def check_depth(forest: Forest) -> None:
    """Raise ConversionFailed for a tree so deep that ONNX Runtime would crash."""
    if int(nodes_of_trees(forest).max(initial=0)) <= DEEPEST:
        return
    level, levels = forest.roots[forest.roots >= 0], 0
    while len(level):
        levels += 1
        if levels > DEEPEST:
            what = f"a tree has more than {DEEPEST} levels: ONNX Runtime could crash when it loads it"
            raise ConversionFailed(what, hint="train with a smaller max_depth")
        children = np.concatenate([forest.left[level], forest.right[level]])
        level = children[children >= 0]


def places_of_sets(forest: Forest, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in `set_values` the members of some sets are, set after set, and how many each set has."""
    sizes = np.diff(forest.set_bounds)[sets]
    before = np.cumsum(sizes) - sizes
    return np.repeat(forest.set_bounds[sets] - before, sizes) + np.arange(sizes.sum()), sizes


def nodes_of_trees(forest: Forest) -> np.ndarray:
    """The number of inner nodes of each tree: int64 [T]. A tree has one leaf more."""
    counts = np.zeros(forest.trees, np.int64)
    inner = np.flatnonzero(forest.roots >= 0)
    counts[inner] = np.diff(forest.roots[inner], append=len(forest.feature))
    return counts


def with_first_leaves(forest: Forest, values: np.ndarray) -> Forest:
    """The forest with further first trees, each of a single leaf: these values [B, W], for the outputs 0 to B - 1."""
    count = len(values)

    def shifted(children: np.ndarray) -> np.ndarray:
        return np.where(children < 0, children - count, children).astype(np.int32)

    linear = forest.linear
    if linear is not None:
        linear = replace(
            linear,
            constant=np.concatenate([values[:, 0], linear.constant]),
            feature=np.pad(linear.feature, ((count, 0), (0, 0)), constant_values=-1),
            coefficient=np.pad(linear.coefficient, ((count, 0), (0, 0))),
        )
    return replace(
        forest,
        roots=np.concatenate([~np.arange(count, dtype=np.int32), shifted(forest.roots)]),
        left=shifted(forest.left),
        right=shifted(forest.right),
        leaf_values=np.concatenate([values, forest.leaf_values]),
        leaf_ids=np.concatenate([np.zeros(count, np.int32), forest.leaf_ids]),
        tree_output=np.concatenate([np.arange(count), forest.tree_output]).astype(np.int32),
        linear=linear,
    )


def for_float32(forest: Forest) -> Forest:
    """The forest for rows that are float32 by nature: it sends each of them where the forest itself would.

    A float32 is at most a number when it is at most the largest float32 that is at most that number, and below it
    when it is below the smallest that is not below it. A category that no float32 is can be met by none.
    """
    with np.errstate(over="ignore"):
        kept = forest.set_values == forest.set_values.astype(np.float32)
    bounds = np.concatenate([[0], np.cumsum(kept)])[forest.set_bounds]
    return replace(
        forest,
        compares="float32",
        threshold=(rounded_up if forest.strict else rounded_down)(forest.threshold),
        set_bounds=bounds,
        set_values=forest.set_values[kept],
    )


def add_trees(
    graph: Graph, forest: Forest, targets: Targets, dtype: Float, version: TreeVersion, source: str, output: str = ""
) -> str:
    """A node that takes `source` [N, F] of the type `dtype` to the targets' sums [N, targets.count].

    The sums are of the type `dtype` (version 5) or float32 (version 3), and named `output` if given.
    """
    name, attributes_of = ("TreeEnsemble", _version_5) if version >= 5 else ("TreeEnsembleRegressor", _version_3)
    return graph.add(name, source, output=output, domain=ML, attributes=attributes_of(forest, targets, dtype))


def _version_5(forest: Forest, targets: Targets, dtype: Float) -> Pieces:
    # A tree of a single leaf has no node in a Forest, and needs one here: it leads to two copies of the leaf.
    # (ONNX Runtime takes a node both of whose sides are one leaf for a leaf, and reads that under the node's number.)
    single = ~forest.roots[forest.roots < 0]
    unused = _unused_leaves(forest)
    copies = unused + forest.leaves + np.arange(len(single))
    roots = forest.roots.astype(np.int64)
    roots[roots < 0] = len(forest.feature) + np.arange(len(single))

    def per_node(values: np.ndarray, of_single: np.ndarray | int = 0) -> np.ndarray:
        if not len(single):
            return values
        return np.concatenate([values, np.broadcast_to(of_single, len(single)).astype(values.dtype)])

    def per_leaf(values: np.ndarray) -> np.ndarray:
        if not unused and not len(single):
            return values
        return np.concatenate([np.zeros(unused, values.dtype), values, values[single]])

    compare = _LT if forest.strict else _LEQ
    mode, splits, members = np.full(len(forest.feature), compare, np.uint8), forest.threshold, np.empty(0)
    tested = np.flatnonzero(forest.category_set >= 0)
    if len(tested):
        sets = forest.category_set[tested]
        filled = np.diff(forest.set_bounds)[sets] > 0
        mode[tested] = np.where(filled, _MEMBER, _LT)
        splits = splits.copy()
        splits[tested] = np.where(filled, 0, -np.inf)  # nothing is in an empty set, or below -infinity
        members = _joined_sets(forest, sets[filled])
    attributes: Pieces = [
        *wire.integer_attribute("n_targets", targets.count),
        *wire.integers_attribute("tree_roots", roots),
        *wire.integers_attribute("nodes_featureids", per_node(forest.feature)),
        *wire.tensor_attribute("nodes_modes", per_node(mode, compare)),
        *wire.tensor_attribute("nodes_splits", per_node(splits).astype(dtype)),
    ]
    for side, children, of_single in (("true", forest.left, single + unused), ("false", forest.right, copies)):
        is_leaf = children < 0
        number = np.where(is_leaf, unused + ~children, children)
        attributes += wire.integers_attribute(f"nodes_{side}nodeids", per_node(number, of_single))
        attributes += wire.integers_attribute(f"nodes_{side}leafs", per_node(is_leaf, 1))
    if forest.missing_left.any():
        attributes += wire.integers_attribute("nodes_missing_value_tracks_true", per_node(forest.missing_left))
    if len(members):
        attributes += wire.tensor_attribute("membership_values", members.astype(dtype))
    attributes += wire.integers_attribute("leaf_targetids", per_leaf(targets.target))
    return attributes + wire.tensor_attribute("leaf_weights", per_leaf(targets.weight).astype(dtype))


def _unused_leaves(forest: Forest) -> int:
    """How many leaves to put before those of the forest, so that no root leads to a node and a leaf of one number.

    ONNX Runtime 1.21 to 1.23 take such a root for a leaf: they compare the numbers, and do not look at what is one.
    """
    roots = forest.roots[forest.roots >= 0]
    left, right = forest.left[roots], forest.right[roots]
    mixed = (left < 0) != (right < 0)
    node, leaf = np.maximum(left, right)[mixed], ~np.minimum(left, right)[mixed]
    return int(np.setdiff1d(np.arange(len(roots) + 1), node - leaf)[0])


def _joined_sets(forest: Forest, sets: np.ndarray) -> np.ndarray:
    """The members of sets one after the other, each set followed by a NaN."""
    places, sizes = places_of_sets(forest, sets)
    joined = np.full(len(places) + len(sets), np.nan)
    joined[np.arange(len(places)) + np.repeat(np.arange(len(sets)), sizes)] = forest.set_values[places]
    return joined


def _version_3(forest: Forest, targets: Targets, dtype: Float) -> Pieces:
    """Of a forest without sets. Here leaves are nodes, which come after the others of their tree."""
    inner = nodes_of_trees(forest)
    entries = 2 * inner + 1
    tree = np.repeat(np.arange(forest.trees), entries)
    own = np.arange(len(tree)) - np.repeat(np.cumsum(entries) - entries, entries)  # the number within the tree
    is_leaf = own >= inner[tree]

    def per_entry(of_nodes: np.ndarray, of_leaves: int = 0) -> np.ndarray:
        values = np.full(len(tree), of_leaves, of_nodes.dtype)
        values[~is_leaf] = of_nodes
        return values

    of_node, of_leaf = own[~is_leaf], own[is_leaf]
    if dtype == "float64":
        splits = wire.tensor_attribute("nodes_values_as_tensor", per_entry(forest.threshold))
        weights = wire.tensor_attribute("target_weights_as_tensor", targets.weight.astype(np.float64))
    else:
        splits = wire.floats_attribute("nodes_values", per_entry(forest.threshold))
        weights = wire.floats_attribute("target_weights", targets.weight)
    attributes: Pieces = [
        *wire.integer_attribute("n_targets", targets.count),
        *wire.integers_attribute("nodes_treeids", tree),
        *wire.integers_attribute("nodes_nodeids", own),
        *wire.integers_attribute("nodes_featureids", per_entry(forest.feature)),
        *wire.choices_attribute("nodes_modes", _MODES, per_entry(np.full(len(of_node), int(forest.strict)), 2)),
        *splits,
    ]
    of_child = np.concatenate([of_node, of_leaf[::-1]])  # -1, the leaf 0, is the last
    for side, children in (("true", forest.left), ("false", forest.right)):
        attributes += wire.integers_attribute(f"nodes_{side}nodeids", per_entry(of_child[children]))
    if forest.missing_left.any():
        attributes += wire.integers_attribute("nodes_missing_value_tracks_true", per_entry(forest.missing_left))
    attributes += wire.integers_attribute("target_treeids", tree[is_leaf])
    attributes += wire.integers_attribute("target_nodeids", of_leaf)
    attributes += wire.integers_attribute("target_ids", targets.target)
    return attributes + weights
