"""Decision trees in core TensorFlow operations: which leaf each row of a batch comes to in each tree.

Trees of up to 64 leaves are answered without walking, after QuickScorer (Lucchese et al., "QuickScorer: a fast
algorithm to rank documents with additive ensembles of regression trees", SIGIR 2015). A tree's leaves are numbered from
its true side to its false side. A condition that is false rules out the leaves on its true side, and the first leaf
that no condition rules out is the one that the row comes to. Which conditions of a feature are false depends on
nothing but where its value lies among the thresholds: a table has the leaves that are left (a bit each) by feature,
place and tree. Its rows are gathered and their bits joined, for all trees at once.

Larger trees are walked a level at a time, all trees and rows at once.

TensorFlow's kernels take numbers too small for a normal float as zero, so that a comparison of floats may send a row to
the wrong side. Floats are therefore compared by their bits, as integers in the same order (`key_of`, `keys_of`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf

LEQ, LT, GTE, GT, EQ, NEQ, MEMBER = range(7)
"""How a node compares, by TreeEnsemble's numbers."""

TOGETHER = 128
"""Trees with one table. Its size is the places of all of them, times their number."""
UNROLLED = 24
"""Levels up to which a walk is written out; a longer one is a loop."""

Weight = Callable[[str, np.ndarray], Any]
"""Gives an array as a tensor of the graph, under a name of its own."""


@dataclass(frozen=True)
class Trees:
    """Nodes of all trees. A child or root c >= 0 is a node; c < 0 is the leaf ~c."""

    roots: np.ndarray
    feature: np.ndarray
    mode: np.ndarray
    value: np.ndarray  # float32 or float64: what rows are compared in; no NaN where it is compared
    on_true: np.ndarray
    on_false: np.ndarray
    missing_true: np.ndarray  # whether NaN goes to the true side
    members: dict[int, np.ndarray] = field(default_factory=dict)  # of the nodes with MEMBER


def key_of(x: Any) -> tuple[Any, Any]:
    """The bits of floats as integers in the floats' order, with one zero; and which of them are NaN."""
    kind = tf.int32 if x.dtype == tf.float32 else tf.int64
    bits = tf.bitcast(x, kind)
    size = tf.bitwise.bitwise_and(bits, tf.constant(kind.max, kind))
    infinite = keys_of(np.array(np.inf, x.dtype.as_numpy_dtype))
    return tf.where(bits < 0, -size, size), size > tf.constant(infinite)


def keys_of(values: np.ndarray) -> np.ndarray:
    """The same for an array, which has no NaN."""
    kind: Any = np.int32 if values.dtype == np.float32 else np.int64
    bits: Any = values.view(kind)
    size = bits & np.iinfo(kind).max
    keys: np.ndarray = np.where(bits < 0, -size, size)
    return keys


@dataclass(frozen=True)
class _Tree:
    """One tree: its leaves from true to false, and for each of its nodes the bits of the leaves on its true side."""

    leaves: list[int]
    nodes: list[tuple[int, int]]
    depth: int


def _laid_out(trees: Trees, root: int) -> _Tree:
    """Walks without recursion, as trees may be deep."""
    leaves: list[int] = []
    nodes: list[tuple[int, int]] = []
    deepest = 0
    # (what, child or node, depth or first leaf): a child to visit, or a node whose true side has been visited.
    left: list[tuple[bool, int, int]] = [(True, root, 0)]
    while left:
        is_visit, at, number = left.pop()
        if not is_visit:
            nodes.append((at, ((1 << len(leaves)) - 1) & ~((1 << number) - 1)))
        elif at < 0:
            leaves.append(~at)
            deepest = max(deepest, number)
        else:
            left.append((True, int(trees.on_false[at]), number + 1))
            left.append((False, at, len(leaves)))
            left.append((True, int(trees.on_true[at]), number + 1))
    return _Tree(leaves, nodes, deepest)


def leaves(trees: Trees, x: Any, weight: Weight) -> Any:
    """The leaf, int32 [N, T], of each row of x [N, F] (of the thresholds' type) in each tree.

    A test takes room for N x T x (the features that 128 trees test) integers: pass as many rows as there is room for.
    """
    laid = [_laid_out(trees, int(root)) for root in trees.roots]
    by_kind: dict[str, list[int]] = {"int32": [], "int64": [], "walk": []}
    for number, tree in enumerate(laid):
        count = len(tree.leaves)
        by_kind["int32" if count <= 32 else "int64" if count <= 64 else "walk"].append(number)
    found, order = [], []
    for kind, numbers in by_kind.items():
        step = len(numbers) if kind == "walk" else TOGETHER
        for first in range(0, len(numbers), step or 1):
            some = numbers[first : first + step]
            key = f"{kind}{first}"

            def named(name: str, array: np.ndarray, key: str = key) -> Any:
                return weight(f"{key}.{name}", array)

            if kind == "walk":
                found.append(_walked(trees, np.array(some), max(laid[one].depth for one in some), x, named))
            else:
                found.append(_masked(trees, [laid[one] for one in some], np.dtype(kind), x, named))
            order += some
    joined = found[0] if len(found) == 1 else tf.concat(found, axis=1)
    if order != sorted(order):
        joined = tf.gather(joined, np.argsort(order).astype(np.int32), axis=1)
    return joined


def leaves_of_trees(trees: Trees) -> list[list[int]]:
    """The leaves of each tree."""
    return [_laid_out(trees, int(root)).leaves for root in trees.roots]


# --- by masks ---


def _masked(trees: Trees, laid: list[_Tree], kind: np.dtype[Any], x: Any, weight: Weight) -> Any:
    nodes = np.array([node for tree in laid for node, _ in tree.nodes], int)
    size = max(len(tree.leaves) for tree in laid)
    numbers = np.zeros((len(laid), size), np.int32)
    for row, tree in zip(numbers, laid, strict=True):
        row[: len(tree.leaves)] = tree.leaves
    if not len(nodes):
        return tf.tile(tf.constant(numbers[:, 0])[None, :], tf.stack([tf.shape(x)[0], 1]))
    features = np.unique(trees.feature[nodes])
    side = _side(trees, nodes)
    thresholds = [_thresholds(trees, nodes[trees.feature[nodes] == one]) for one in features]
    tables: list[np.ndarray] = []
    starts: list[int] = []
    counts: list[int] = []
    place_of = {int(one): place for place, one in enumerate(features)}
    for values in thresholds:
        places = len(values) * (2 if side == "both" else 1) + 2  # and the last one for NaN
        starts.append(sum(counts))
        counts.append(places)
        tables.append(np.full((places, len(laid)), -1, kind))
    for column, tree in enumerate(laid):
        for node, bits in tree.nodes:
            place = place_of[int(trees.feature[node])]
            holds = _holds(trees, node, thresholds[place], side)
            tables[place][~holds, column] &= _signed(~bits, kind)
    width = max(len(values) for values in thresholds)
    kind_of_keys = keys_of(trees.value[:0]).dtype
    padded = np.full((len(features), width), np.iinfo(kind_of_keys).max, kind_of_keys)
    for row, values in zip(padded, thresholds, strict=True):
        row[: len(values)] = keys_of(values)

    columns, missing = key_of(tf.transpose(tf.gather(x, features.astype(np.int32), axis=1)))
    bounds, most = weight("thresholds", padded), np.array([[len(values)] for values in thresholds], np.int32)
    rank = tf.zeros_like(columns, tf.int32)
    if side != "right":
        rank += tf.minimum(tf.raw_ops.LowerBound(sorted_inputs=bounds, values=columns), most)
    if side != "left":
        rank += tf.minimum(tf.raw_ops.UpperBound(sorted_inputs=bounds, values=columns), most)
    last = (np.array(counts) - 1).astype(np.int32)[:, None]
    rank = tf.where(missing, last, rank) + np.array(starts, np.int32)[:, None]
    masks = tf.gather(weight("masks", np.concatenate(tables)), rank)  # [features, N, T]
    count = len(features)
    while count > 1:
        half = count // 2
        joined = tf.bitwise.bitwise_and(masks[:half], masks[half : 2 * half])
        masks = tf.concat([joined, masks[2 * half :]], axis=0) if count % 2 else joined
        count -= half
    first = tf.bitwise.bitwise_and(masks[0], -masks[0])  # the lowest bit that is set
    leaf = tf.cast(tf.raw_ops.PopulationCount(x=first - 1), tf.int32)
    shift = (np.arange(len(laid)) * size).astype(np.int32)
    return tf.gather(weight("leaves", numbers.reshape(-1)), leaf + shift)


def _signed(bits: int, kind: np.dtype[Any]) -> Any:
    """The lowest bits of a Python int as the signed integer that has them."""
    width = kind.itemsize * 8
    return np.array(bits & ((1 << width) - 1), f"uint{width}").astype(kind)


def _side(trees: Trees, nodes: np.ndarray) -> str:
    """From which side a value that equals a threshold is counted; both where conditions differ in that."""
    modes = set(trees.mode[nodes].tolist())
    if modes <= {LEQ, GT}:
        return "left"
    return "right" if modes <= {LT, GTE} else "both"


def _thresholds(trees: Trees, nodes: np.ndarray) -> np.ndarray:
    plain = nodes[trees.mode[nodes] != MEMBER]
    sets = [trees.members[int(node)] for node in nodes if int(node) in trees.members]
    return np.unique(np.concatenate([trees.value[plain], *sets]).astype(trees.value.dtype) + 0)


def _holds(trees: Trees, node: int, thresholds: np.ndarray, side: str) -> np.ndarray:
    """Whether a node's condition holds, for each place among the thresholds and then for NaN.

    Counted from one side a place is the number of thresholds below it. Counted from both, place 2k + 1 is the
    threshold k itself, and 2k what lies between it and the one before.
    """
    mode = int(trees.mode[node])
    places = np.arange(len(thresholds) * (2 if side == "both" else 1) + 1)
    if mode == MEMBER:
        holds = np.isin(places, 2 * np.searchsorted(thresholds, trees.members[node]) + 1)
    else:
        at = int(np.searchsorted(thresholds, trees.value[node]))
        if side == "both":
            equal = places == 2 * at + 1
            below, above = places < 2 * at + 1, places > 2 * at + 1
            holds = [below | equal, below, above | equal, above, equal, ~equal][mode]
        else:
            holds = places <= at if mode in (LEQ, LT) else places > at
    return np.append(holds, bool(trees.missing_true[node]) or mode == NEQ)


# --- by walking ---


def _walked(trees: Trees, numbers: np.ndarray, depth: int, x: Any, weight: Weight) -> Any:
    trees, longer = _without_members(trees)
    depth += longer
    nodes = len(trees.feature)
    count = 1 + max(-int(side.min(initial=-1)) - 1 for side in (trees.on_true, trees.on_false, trees.roots))

    def placed(children: np.ndarray) -> np.ndarray:
        return np.where(children >= 0, children, nodes + ~children)

    ends = np.arange(nodes, nodes + count)
    # Pairs: where to go when the condition is false, and when it holds; a leaf stays where it is.
    pairs = np.stack([np.append(placed(trees.on_false), ends), np.append(placed(trees.on_true), ends)], axis=1)
    more = (0, count)
    child = weight("children", pairs.astype(np.int32).reshape(-1))
    feature = weight("features", np.pad(trees.feature, more).astype(np.int32))
    value = weight("values", np.pad(keys_of(np.nan_to_num(trees.value, nan=0, posinf=np.inf, neginf=-np.inf)), more))
    modes = np.unique(trees.mode)
    mode = weight("modes", np.pad(trees.mode, more).astype(np.int32)) if len(modes) > 1 else None
    on_missing = trees.missing_true | (trees.mode == NEQ)
    missing = weight("missing", np.pad(on_missing, more).astype(bool)) if on_missing.any() else None
    flat, is_missing = key_of(tf.reshape(x, [-1]))
    row = (tf.range(tf.shape(x)[0]) * tf.shape(x)[1])[:, None]
    roots = tf.constant(placed(trees.roots[numbers]).astype(np.int32))

    def step(at: Any) -> Any:
        place = row + tf.gather(feature, at)
        seen, unknown = tf.gather(flat, place), tf.gather(is_missing, place)
        bound = tf.gather(value, at)
        holds = _compared(int(modes[0]), seen, bound)
        if mode is not None:
            which = tf.gather(mode, at)
            for one in modes[1:]:
                holds = tf.where(which == int(one), _compared(int(one), seen, bound), holds)
        holds &= ~unknown
        if missing is not None:
            holds |= unknown & tf.gather(missing, at)
        return tf.gather(child, 2 * at + tf.cast(holds, tf.int32))

    at = tf.tile(roots[None, :], tf.stack([tf.shape(x)[0], 1]))
    if depth <= UNROLLED:
        for _ in range(depth):
            at = step(at)
    else:
        (at,) = tf.while_loop(lambda _: True, lambda at: (step(at),), (at,), maximum_iterations=depth)
    return at - nodes


def _compared(mode: int, seen: Any, bound: Any) -> Any:
    return (tf.less_equal, tf.less, tf.greater_equal, tf.greater, tf.equal, tf.not_equal)[mode](seen, bound)


def _without_members(trees: Trees) -> tuple[Trees, int]:
    """The same trees with a chain of comparisons for each set, and by how many levels they may be deeper."""
    if not trees.members:
        return trees, 0
    names = ("feature", "mode", "value", "on_true", "on_false", "missing_true")
    columns = {name: list(getattr(trees, name)) for name in names}
    for node, members in trees.members.items():
        columns["mode"][node] = EQ
        columns["value"][node] = members[0] if len(members) else 0
        if not len(members):  # nothing is in it
            columns["on_true"][node] = trees.on_false[node]
            if trees.missing_true[node]:
                columns["mode"][node], columns["value"][node] = GT, np.inf
                columns["on_true"][node] = trees.on_true[node]
        at = node
        for one in members[1:]:
            new = len(columns["mode"])
            for name, column in columns.items():
                column.append(columns[name][node])
            columns["value"][new] = one
            columns["on_false"][new] = trees.on_false[node]
            columns["on_false"][at] = new
            at = new
    kinds = {name: getattr(trees, name).dtype for name in columns}
    arrays: dict[str, Any] = {name: np.array(column, kinds[name]) for name, column in columns.items()}
    longer = sum(max(len(members) - 1, 0) for members in trees.members.values())
    return replace(trees, **arrays, members={}), longer
