"""The trees of a treelite checkpoint as a Forest, checked so that nobody can walk out of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import Float, Forest
from mlconvert.forests.node_lists import number
from mlconvert.formats.treelite_layout import Field, TreeliteLayout

LEAF, NUMERIC, CATEGORICAL = 0, 1, 2  # TreeNodeType
OPERATORS = ("==", "<", "<=", ">", ">=")  # Operator, from 1 on
LESS, LESS_OR_EQUAL = 2, 3
FLOATS: Mapping[str, Float] = {"f4": "float32", "f8": "float64"}
GREATEST_CATEGORY = {"f4": 1 << 24, "f8": (1 << 32) - 1}  # NextNodeCategorical takes no larger one

_PER_NODE = (
    "node_type", "cleft", "cright", "split_index", "default_left", "leaf_value", "threshold", "cmp",
    "category_list_right_child", "leaf_vector_begin", "leaf_vector_end", "category_list_begin", "category_list_end",
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """The fields of the header by name, and those of all trees as one array each. M nodes, inner ones and leaves."""

    number: str
    header: Mapping[str, Any]
    sizes: np.ndarray  # int64 [T]: the nodes of each tree
    trees: Mapping[str, np.ndarray]
    counts: Mapping[str, np.ndarray]  # int64 [T]: how many of those are each tree's


def checkpoint_of(data: bytes, layout: TreeliteLayout) -> Checkpoint:
    """The numbers in the fields of a checkpoint."""

    def values(field: Field) -> np.ndarray:
        return np.frombuffer(data, f"<{field.kind}", field.count, field.start)

    header: dict[str, Any] = {}
    for name, field in layout.header.items():
        text = field.kind == "text"
        header[name] = data[field.start : field.start + field.count].decode("utf-8") if text else values(field)
    trees, counts = {}, {}
    for name in layout.trees[0] if layout.trees else ():
        fields = [tree[name] for tree in layout.trees]
        trees[name] = np.concatenate([values(field) for field in fields])
        counts[name] = np.array([field.count for field in fields], np.int64)
    sizes = trees["num_nodes"].astype(np.int64) if layout.trees else np.empty(0, np.int64)
    return Checkpoint(layout.number, header, sizes, trees, counts)


def forest_of(checkpoint: Checkpoint, of_tree: np.ndarray, *, wide: bool, floors: bool, where: str) -> Forest:
    """The trees; `wide`: their leaves have a value for each output. Raises ValueError for damaged ones, by number."""
    _check_lengths(checkpoint)
    features = int(checkpoint.header["num_feature"][0])
    tree = np.repeat(np.arange(len(checkpoint.sizes)), checkpoint.sizes)
    starts = np.cumsum(checkpoint.sizes) - checkpoint.sizes
    order = _downwards(checkpoint, tree, starts)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    fields = {name: checkpoint.trees[name][order] for name in _PER_NODE}
    leaf = fields["cleft"] == -1
    inner = ~leaf
    asks = inner & (fields["node_type"] == CATEGORICAL)
    _check_nodes(fields, tree, leaf, asks, features)
    # Where the set is the right child's, the children change places.
    swapped = asks & (fields["category_list_right_child"] != 0)
    first, second = (np.where(leaf, 0, place[np.where(leaf, 0, fields[side]) + starts[tree]] - starts[tree])
                     for side in ("cleft", "cright"))  # fmt: skip
    numbering = number(checkpoint.sizes, np.where(swapped, second, first), np.where(swapped, first, second), leaf)
    feature = fields["split_index"][inner].astype(np.int32)
    categorical = np.zeros(features, bool)
    categorical[feature[asks[inner]]] = True
    _refuse_mixed(feature[~asks[inner]], categorical, where)
    bounds, values = _sets(checkpoint, order, tree, asks)
    return Forest(
        features=features,
        compares=FLOATS[checkpoint.number],
        strict=_is_strict(fields["cmp"][inner & ~asks], where),
        roots=numbering.roots,
        feature=feature,
        threshold=np.where(asks, np.nan, fields["threshold"].astype(np.float64))[inner],
        left=numbering.left,
        right=numbering.right,
        missing_left=((fields["default_left"] != 0) ^ swapped)[inner],
        category_set=np.where(asks, np.cumsum(asks) - 1, -1)[inner].astype(np.int32),
        set_bounds=bounds,
        set_values=values,
        leaf_values=_leaf_values(checkpoint, order, tree, leaf, wide=wide),
        leaf_ids=(order - starts[tree])[leaf].astype(np.int32),
        tree_output=of_tree,
        truncates=categorical,
        zero_is_missing=np.zeros(features, bool),
        floors=floors,
    )


def _refuse(tree: np.ndarray, wrong: np.ndarray, what: str) -> None:
    if wrong.any():
        raise ValueError(f"tree {tree[wrong.argmax()]} {what}")


def _check_lengths(checkpoint: Checkpoint) -> None:
    every = np.arange(len(checkpoint.sizes))
    _refuse(every, checkpoint.sizes < 1, "has no node")
    for name in _PER_NODE:
        _refuse(every, checkpoint.counts[name] != checkpoint.sizes, f"has not as many {name} as nodes")


def _downwards(checkpoint: Checkpoint, tree: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The nodes of tree after tree, each after its parent. All trees are walked at once, level by level."""
    left, right = (checkpoint.trees[side].astype(np.int64) for side in ("cleft", "cright"))
    depth = np.full(len(tree), -1)
    level, at = 0, starts
    while len(at):
        _refuse(tree[at], depth[at] >= 0, "has a node with two parents")
        _refuse(tree[at], np.bincount(at)[at] > 1, "has a node with two parents")
        depth[at] = level
        parents = at[left[at] != -1]
        at = np.concatenate([left[parents], right[parents]])
        of = np.concatenate([tree[parents], tree[parents]])
        _refuse(of, (at < 0) | (at >= checkpoint.sizes[of]), "has a child that does not exist")
        at, level = at + starts[of], level + 1
    _refuse(tree, depth < 0, "has a node that no other leads to")
    order: np.ndarray = np.lexsort((depth, tree))
    return order


def _check_nodes(
    fields: Mapping[str, np.ndarray], tree: np.ndarray, leaf: np.ndarray, asks: np.ndarray, features: int
) -> None:
    _refuse(tree, leaf != (fields["node_type"] == LEAF), "has a node of an unknown kind")
    _refuse(tree, ~leaf & ~asks & (fields["node_type"] != NUMERIC), "has a node of an unknown kind")
    split = fields["split_index"]
    _refuse(tree, ~leaf & ((split < 0) | (split >= features)), "splits on a feature that the model does not have")
    _refuse(tree, ~leaf & ~asks & np.isnan(fields["threshold"]), "has a threshold that is NaN")


def _is_strict(operators: np.ndarray, where: str) -> bool:
    found = set(operators.tolist())
    if not found <= {LESS, LESS_OR_EQUAL} or len(found) > 1:
        names = [OPERATORS[code - 1] if 1 <= code <= len(OPERATORS) else str(code) for code in sorted(found)]
        what = f"the treelite model compares with {' and '.join(names)}: only < or <= in all nodes can be converted"
        raise ConversionFailed(what, where=where)
    return found == {LESS}


def _refuse_mixed(numeric: np.ndarray, categorical: np.ndarray, where: str) -> None:
    both = np.unique(numeric[categorical[numeric]])
    if len(both):
        listed = ", ".join(map(str, both))
        what = f"the treelite model splits these features both as numbers and as categories: {listed}"
        raise ConversionFailed(what, where=where)


def _ranges(
    checkpoint: Checkpoint, name: str, order: np.ndarray, tree: np.ndarray, nodes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where the list `name` of each of the `nodes`, bool [M], begins and ends in the lists of all trees."""
    begin, end = (checkpoint.trees[f"{name}_{part}"][order][nodes] for part in ("begin", "end"))
    counts = checkpoint.counts[name]
    of = tree[nodes]
    _refuse(of, (begin > end) | (end > counts[of].astype(np.uint64)), f"has a {name} that is cut off")
    first = (np.cumsum(counts) - counts)[of]
    return begin.astype(np.int64) + first, end.astype(np.int64) + first


def _listed(values: np.ndarray, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values from each begin to its end, one list after another, and the number of the list of each."""
    sizes = end - begin
    of = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(of)) - (np.cumsum(sizes) - sizes)[of] + begin[of]
    return values[place], of


def _sets(
    checkpoint: Checkpoint, order: np.ndarray, tree: np.ndarray, asks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    begin, end = _ranges(checkpoint, "category_list", order, tree, asks)
    values, of = _listed(checkpoint.trees["category_list"], begin, end)
    _refuse(tree[asks][of], values > GREATEST_CATEGORY[checkpoint.number], "has a category that its floats cannot hold")
    pairs = np.unique(np.stack([of, values.astype(np.int64)]), axis=1)
    counts = np.bincount(pairs[0], minlength=len(begin))
    return np.append(0, np.cumsum(counts)), pairs[1].astype(np.float64)


def _leaf_values(
    checkpoint: Checkpoint, order: np.ndarray, tree: np.ndarray, leaf: np.ndarray, *, wide: bool
) -> np.ndarray:
    """The values of the leaves: float64 [L, W]. A leaf holds one itself, or a list of them."""
    begin, end = _ranges(checkpoint, "leaf_vector", order, tree, leaf)
    vectors = checkpoint.trees["leaf_vector"].astype(np.float64)
    if wide:
        width = int(checkpoint.header["leaf_vector_shape"].prod())
        _refuse(tree[leaf], end - begin != width, f"has a leaf without the {width} values that each should have")
        values: np.ndarray = vectors[begin[:, None] + np.arange(width)]
        return values
    _refuse(tree[leaf], end - begin > 1, "has a leaf with several values")
    single: np.ndarray = checkpoint.trees["leaf_value"][order][leaf].astype(np.float64)
    single[end > begin] = vectors[begin[end > begin]]
    return single[:, None]
