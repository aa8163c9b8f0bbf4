"""A forest as the arrays that the class of `java/Model.java` walks.

Thresholds are kept once for each feature, rising, and a node compares ranks: integers, so that a step is arithmetic and
no jump that a processor would have to guess. Exact: of the thresholds of a feature, a value lies above those that are
below it. The trees are laid out level by level, the children of a node side by side, so that their places need not be
stored: the resource says only which nodes are leaves.

QuickScorer (Lucchese et al., SIGIR 2015) and RapidScorer (Ye et al., KDD 2018) rank and merge thresholds likewise; the
walk of several trees at a time is that of VPred (Asadi, Lin and de Vries, TKDE 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import Forest

AT_ONCE = 4  # trees that are walked together


@dataclass(frozen=True)
class Layout:
    """Where nodes and leaves stand: level by level within a tree, both children of a node together."""

    nodes: np.ndarray  # int64 [M]: children, as in Forest: a node's index, or ~leaf
    trees: np.ndarray  # int64 [T + 1]: the first place of each tree


@dataclass(frozen=True)
class Packed:
    """The arrays, and how many bits of a node its parts take."""

    features: np.ndarray  # [lists]: the feature of each list
    starts: np.ndarray  # [lists + 1] into thresholds
    thresholds: np.ndarray
    numeric_lists: int  # the first ones; the others are categories
    two_sided: bool  # whether NaN goes left somewhere
    slots: int
    is_inner: np.ndarray  # [M]: 1 or 0
    node_slots: np.ndarray  # of inner nodes
    node_ranks: np.ndarray
    leaves: np.ndarray  # [L]: the leaves in the order of their places
    slot_bits: int
    rank_bits: int
    child_bits: int
    set_starts: np.ndarray
    set_bits: np.ndarray

    @property
    def wide(self) -> bool:
        """Whether a node takes a long."""
        return self.slot_bits + self.rank_bits + self.child_bits > 32


def layout(forest: Forest) -> Layout:
    """The places of all nodes and leaves."""
    level = forest.roots.astype(np.int64)
    tree = np.arange(forest.trees)
    levels, owners = [level], [tree]
    while len(inner := np.flatnonzero(level >= 0)):
        nodes = level[inner]
        level = np.stack([forest.left[nodes], forest.right[nodes]], axis=1).reshape(-1).astype(np.int64)
        tree = np.repeat(tree[inner], 2)
        levels.append(level)
        owners.append(tree)
    every, owner = np.concatenate(levels), np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return Layout(every[order], np.searchsorted(owner[order], np.arange(forest.trees + 1)))


def pack(forest: Forest, where: str) -> Packed:
    """The arrays of a forest; raises ConversionFailed for one whose nodes do not fit into 63 bits each."""
    placed = layout(forest)
    inner = placed.nodes >= 0
    nodes = placed.nodes[inner]
    is_set = forest.category_set[nodes] >= 0
    lists = _lists(forest, nodes, is_set)
    ranks = np.empty(len(nodes), np.int64)
    slots = np.empty(len(nodes), np.int64)
    numeric = ~is_set
    list_of, rank_of = lists.numeric_places(forest.feature[nodes[numeric]], forest.threshold[nodes[numeric]])
    left = forest.missing_left[nodes[numeric]]
    two_sided = bool(left.any())
    numeric_lists = max(lists.numeric, 1) if is_set.any() else lists.numeric  # a leaf's slot 0 has to be a number's
    slots[numeric] = list_of + np.where(left, numeric_lists, 0)
    ranks[numeric] = rank_of
    first_set_slot = numeric_lists * (1 + two_sided)
    sets = _sets(forest, nodes[is_set], lists)
    slots[is_set] = first_set_slot + sets.list_of
    ranks[is_set] = sets.table_of
    count = max(1, first_set_slot + lists.categorical)
    highest = max(int(np.diff(lists.starts).max(initial=0)) + 2, len(sets.starts), 1)
    packed = Packed(
        features=lists.features if lists.numeric or not is_set.any() else np.concatenate([[0], lists.features]),
        starts=lists.starts if lists.numeric or not is_set.any() else np.concatenate([[0], lists.starts]),
        thresholds=lists.values,
        numeric_lists=numeric_lists,
        two_sided=two_sided,
        slots=count,
        is_inner=inner.astype(np.int64),
        node_slots=slots,
        node_ranks=ranks,
        leaves=~placed.nodes[~inner],
        slot_bits=max(1, (count - 1).bit_length()),
        rank_bits=highest.bit_length(),
        child_bits=max(1, _furthest(placed, inner).bit_length()),
        set_starts=sets.starts,
        set_bits=sets.bits,
    )
    if packed.slot_bits + packed.rank_bits + packed.child_bits > 63 or packed.rank_bits > 30:
        what = f"the forest of {len(nodes):,} nodes is too large for a jar: a node does not fit into 63 bits"
        raise ConversionFailed(what, where=where, hint="use --to onnx, or train fewer or smaller trees")
    return packed


def _furthest(placed: Layout, inner: np.ndarray) -> int:
    """The longest way from a node to its left child."""
    position = np.arange(len(inner))
    tree = np.repeat(placed.trees[:-1], np.diff(placed.trees))
    before = np.cumsum(inner) - inner
    child = tree + 1 + 2 * (before - before[tree]) if len(inner) else position
    return int((child - position)[inner].max(initial=1))


# --- thresholds and categories, each once for a feature ---


@dataclass(frozen=True)
class _Lists:
    features: np.ndarray
    starts: np.ndarray
    values: np.ndarray
    numeric: int
    categorical: int

    def numeric_places(self, feature: np.ndarray, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of thresholds, the list and the rank in it."""
        list_of = np.searchsorted(self.features[: self.numeric], feature)
        rank = np.empty(len(feature), np.int64)
        order = np.argsort(list_of, kind="stable")
        bounds = np.searchsorted(list_of[order], np.arange(self.numeric + 1))
        for one in range(self.numeric):
            own = order[bounds[one] : bounds[one + 1]]
            rank[own] = np.searchsorted(self.values[self.starts[one] : self.starts[one + 1]], threshold[own])
        return list_of, rank


def _lists(forest: Forest, nodes: np.ndarray, is_set: np.ndarray) -> _Lists:
    features, values = [], []
    counts = []
    for of_sets in (False, True):
        chosen = nodes[is_set == of_sets]
        own = forest.feature[chosen]
        order = np.argsort(own, kind="stable")
        used, starts = np.unique(own[order], return_index=True)
        counts.append(len(used))
        for one, members in zip(used, np.split(chosen[order], starts[1:]), strict=False):  # none: one empty part
            if of_sets:
                found = [_members(forest, int(forest.category_set[node])) for node in members]
                values.append(np.unique(np.concatenate(found)) + 0.0)
            else:
                values.append(np.unique(forest.threshold[members] + 0.0))
            features.append(int(one))
    starts = np.cumsum([0, *(len(one) for one in values)])
    whole = np.concatenate([np.empty(0), *values])
    return _Lists(np.array(features, np.int64), starts, whole, *counts)


def _members(forest: Forest, number: int) -> np.ndarray:
    found: np.ndarray = forest.set_values[forest.set_bounds[number] : forest.set_bounds[number + 1]]
    return found


# --- sets of categories ---


@dataclass(frozen=True)
class _Sets:
    list_of: np.ndarray  # of each node, counted from the first list of categories
    table_of: np.ndarray
    starts: np.ndarray
    bits: np.ndarray


def _sets(forest: Forest, nodes: np.ndarray, lists: _Lists) -> _Sets:
    """A bit for each rank of a list, 1 where a row goes right; equal tables are kept once."""
    list_of = np.searchsorted(lists.features[lists.numeric :], forest.feature[nodes])
    tables: dict[bytes, int] = {}
    kept: list[np.ndarray] = []
    table_of = np.empty(len(nodes), np.int64)
    for index, (node, own) in enumerate(zip(nodes, list_of + lists.numeric, strict=True)):
        known = lists.values[lists.starts[own] : lists.starts[own + 1]]
        right = np.ones((len(known) + 2 + 31) // 32 * 32, bool)
        right[np.searchsorted(known, _members(forest, int(forest.category_set[node])))] = False
        right[len(known) + 1] = not forest.missing_left[node]
        words = np.packbits(right.reshape(-1, 32), axis=1, bitorder="little").view("<u4").reshape(-1)
        key = words.tobytes()
        if key not in tables:
            tables[key] = len(kept)
            kept.append(words)
        table_of[index] = tables[key]
    starts = np.cumsum([0, *(len(one) for one in kept)])[:-1]
    return _Sets(list_of, table_of, starts, np.concatenate([np.empty(0, np.uint32), *kept]).astype(np.int64))
