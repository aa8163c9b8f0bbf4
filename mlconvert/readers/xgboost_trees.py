"""The trees of an XGBoost model as arrays of all their nodes, checked so that nobody can walk out of them.

XGBoost loads a tree whose child does not exist, and crashes when it predicts. So each node that a row can reach must
exist and have one parent; nodes that none can reach (pruned ones stay in their places) are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

CATEGORIES = 1 << 24  # of a feature, at most: OutOfRangeCat of XGBoost's src/common/categorical.h

_PER_NODE = ("left_children", "right_children", "split_indices", "split_conditions", "split_type", "default_left")


@dataclass(frozen=True)
class XgboostTrees:
    """M nodes, inner ones and leaves, tree by tree; a child comes after its parent. T trees, S sets of categories."""

    trees: int
    tree: np.ndarray  # int64 [M]
    id: np.ndarray  # int32 [M]: its number within the tree, as XGBoost counts
    left: np.ndarray  # int64 [M], nodes; -1 in a leaf
    right: np.ndarray  # int64 [M], nodes; -1 in a leaf
    feature: np.ndarray  # int32 [M]
    condition: np.ndarray  # float32 [M]: the threshold of an inner node, the value of a leaf
    default_left: np.ndarray  # bool [M]
    category_set: np.ndarray  # int32 [M]: the set that an inner node asks for, else -1
    set_bounds: np.ndarray  # int64 [S + 1]
    set_values: np.ndarray  # int32, rising within a set
    vectors: np.ndarray | None  # float32 [M, K]: the values of leaves, where they have several


def xgboost_trees(trees: Sequence[Mapping[str, Any]], features: int) -> XgboostTrees:
    """The trees of a model's document (`learner > gradient_booster > model > trees`).

    Raises ValueError, or KeyError for an array that is not there, where they are damaged.
    """
    import numpy as np

    sizes = np.array([int(tree["tree_param"]["num_nodes"]) for tree in trees], np.int64)
    for index, tree in enumerate(trees):
        if {len(tree[name]) for name in _PER_NODE} != {int(sizes[index])} or sizes[index] < 1:
            raise ValueError(f"the arrays of tree {index} are not of the length that it states")
    starts = np.cumsum(sizes) - sizes
    left, right, feature, condition, split_type, default_left = (_joined(trees, name) for name in _PER_NODE)
    depth = _depths(left, right, starts, sizes)
    of_tree = np.repeat(np.arange(len(trees)), sizes)
    own = np.arange(len(left)) - starts[of_tree]

    kept = np.flatnonzero(depth >= 0)
    kept = kept[np.lexsort((own[kept], depth[kept], of_tree[kept]))]
    place = np.full(len(left), -1)
    place[kept] = np.arange(len(kept))
    inner = left[kept] != -1
    # The right child of a leaf with several values says where those are.
    left_place, right_place = (
        np.where(inner, place[np.where(inner, children[kept] + starts[of_tree[kept]], 0)], -1)
        for children in (left, right)
    )
    outside = inner & ((feature[kept] < 0) | (feature[kept] >= features))
    if outside.any():
        node = kept[outside.argmax()]
        raise ValueError(f"tree {of_tree[node]} splits on feature {feature[node]} of {features}")
    sets, bounds, values = _category_sets(trees, starts, sizes)
    if np.any(inner & ((split_type[kept] == 1) != (sets[kept] >= 0))):
        raise ValueError("a node splits on categories and has none, or the reverse")
    return XgboostTrees(
        trees=len(trees),
        tree=of_tree[kept],
        id=own[kept].astype(np.int32),
        left=left_place,
        right=right_place,
        feature=feature[kept].astype(np.int32),
        condition=condition[kept].astype(np.float32),
        default_left=default_left[kept] != 0,
        category_set=np.where(inner, sets[kept], -1).astype(np.int32),
        set_bounds=bounds,
        set_values=values,
        vectors=_vectors(trees, own[kept], right[kept], inner, of_tree[kept]),
    )


def _joined(trees: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    import numpy as np

    return np.concatenate([np.asarray(tree[name]) for tree in trees]) if trees else np.empty(0, np.int64)


def _depths(left: np.ndarray, right: np.ndarray, starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """How deep each node lies, -1 for those that none reaches; all trees are walked at once, level by level."""
    import numpy as np

    depth = np.full(len(left), -1)
    tree, node, level = np.arange(len(starts)), np.zeros(len(starts), np.int64), 0
    while len(node):
        inside = (node >= 0) & (node < sizes[tree])
        whole = np.where(inside, starts[tree] + node, -1)
        _, group, count = np.unique(whole, return_inverse=True, return_counts=True)
        wrong = ~inside | (count[group] > 1) | (depth[whole] >= 0)
        if wrong.any():
            first = wrong.argmax()
            raise ValueError(f"node {node[first]} of tree {tree[first]} does not exist, or has two parents")
        depth[whole] = level
        whole, tree = whole[left[whole] != -1], tree[left[whole] != -1]
        tree, node, level = np.concatenate([tree, tree]), np.concatenate([left[whole], right[whole]]), level + 1
    return depth


def _category_sets(
    trees: Sequence[Mapping[str, Any]], starts: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The set of each node, or -1; and the sets, as bounds and values."""
    import numpy as np

    sets = np.full(int(sizes.sum()), -1)
    node, segment, size = (
        _joined(trees, f"categories_{part}").astype(np.int64) for part in ("nodes", "segments", "sizes")
    )
    if not len(node):
        return sets, np.zeros(1, np.int64), np.empty(0, np.int32)
    counts = [len(tree["categories_nodes"]) for tree in trees]
    listed = np.array([len(tree["categories"]) for tree in trees])
    of_tree = np.repeat(np.arange(len(trees)), counts)
    if {len(node), len(segment), len(size)} != {len(node)} or np.any((node < 0) | (node >= sizes[of_tree])):
        raise ValueError("the category sets are not those of the nodes")
    if np.any((segment < 0) | (size < 1) | (segment + size > listed[of_tree])):
        raise ValueError("a category set is cut off, or empty")
    bounds = np.concatenate([[0], np.cumsum(size)])
    first = segment + (np.cumsum(listed) - listed)[of_tree]
    values = _joined(trees, "categories")[np.arange(bounds[-1]) + np.repeat(first - bounds[:-1], size)]
    of_set = np.repeat(np.arange(len(size)), size)
    values = values[np.lexsort((values, of_set))].astype(np.int32)
    if np.any((values < 0) | (values >= CATEGORIES)) or np.any((np.diff(values) <= 0) & (np.diff(of_set) == 0)):
        raise ValueError("a category set holds a number that is no category, or one twice")
    sets[starts[of_tree] + node] = np.arange(len(node))
    return sets, bounds, values


def _vectors(
    trees: Sequence[Mapping[str, Any]], node: np.ndarray, right: np.ndarray, inner: np.ndarray, of_tree: np.ndarray
) -> np.ndarray | None:
    """The values of leaves that have several: float32 [M, K], zeros in inner nodes. None where each has one."""
    import numpy as np

    widths = {int(tree["tree_param"].get("size_leaf_vector", 1)) for tree in trees}
    if widths <= {0, 1}:
        return None
    if len(widths) > 1:
        raise ValueError("leaves have one value in some trees, and several in others")
    (width,) = widths
    # XGBoost 3.2 has the values of leaves alone, in the order of their right child; before, it had those of all nodes.
    leaves_alone = "leaf_weights" in trees[0]
    name, row = ("leaf_weights", right) if leaves_alone else ("base_weights", node)
    counts = np.array([len(tree[name]) for tree in trees])
    leaf = ~inner
    if np.any(counts % width) or np.any(leaf & ((row < 0) | (row * width >= counts[of_tree]))):
        raise ValueError("a leaf has fewer values than the model has outputs")
    first = (np.cumsum(counts) - counts)[of_tree] // width
    values = _joined(trees, name).astype(np.float32).reshape(-1, width)
    return np.where(leaf[:, None], values[np.where(leaf, first + row, 0)], np.float32(0))
