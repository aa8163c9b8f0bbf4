"""Rows at the thresholds of a forest's trees, that reach the node whose test they probe.

A random row meets few thresholds, and a row that merely has one in the right column mostly never comes to the node
that asks for it. These rows do: each starts as an ordinary row, has the values moved that would lead it elsewhere,
and then takes the threshold, a number next to it, or another value that converters get wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.boundary_features import Features
from mlconvert.forests.boundary_paths import Conditions, Paths, lead, met
from mlconvert.forests.boundary_values import kinds_of_thresholds, values

if TYPE_CHECKING:
    from mlconvert.forests.model import Forest, TreeModel

BLOCK = 1 << 20  # values that are worked on at once, so that some 50 MB suffice however many features there are


def boundary_rows(forest: Forest, *, count: int, seed: int, around: np.ndarray | None = None) -> np.ndarray:
    """At most `count` rows float64 [n, F] at the thresholds of a forest: as many, or none if it has no inner node.

    Each row belongs to a node, and no node comes twice before all came once. A short list is spread evenly over the
    trees, and then over the depths of each. With every row the kind of value is another one: see `boundary_values`.
    `around` [m, F] are the rows to start from; without them, random ones near the thresholds. The same arguments give
    the same rows. Rows hold NaN and infinities only if the forest takes them (or `around` holds them).
    """
    return probes(forest, count=count, seed=seed, around=around).rows


def matrix_samples(
    read: Callable[[], TreeModel], samples: Mapping[str, np.ndarray], *, count: int, seed: int
) -> dict[str, np.ndarray] | None:
    """Boundary rows under the name `input`, made of the samples of that name: what a runner of trees gives.

    None for trees without inner nodes, and where `read` raises ConversionFailed: such a model answers, but its trees
    are none that could be read.
    """
    try:
        forest = read().forest
    except ConversionFailed:
        return None
    rows = boundary_rows(forest, count=count, seed=seed, around=samples["input"])
    return {"input": rows} if len(rows) else None


@dataclass(frozen=True)
class Probes:
    """Boundary rows, and what each is for."""

    rows: np.ndarray  # float64 [n, F]
    nodes: np.ndarray  # int64 [n]: the node whose test a row probes
    starts: np.ndarray  # int64 [n]: which of the rows `around` it was made of; -1 where there were none


def probes(forest: Forest, *, count: int, seed: int, around: np.ndarray | None = None) -> Probes:
    """The rows of `boundary_rows`, with the nodes that they are for."""
    if not len(forest.feature) or count <= 0:
        return Probes(np.empty((0, forest.features)), np.empty(0, np.int64), np.empty(0, np.int64))
    random = np.random.default_rng(seed)
    paths, features = Paths.of(forest), Features.of(forest)
    order = _spread(paths, random)
    place = np.arange(count)
    nodes = order[place % len(order)]
    # One kind further in each round, so that a node meets every kind in time.
    turns = _turns(forest, min(count, len(order)), random)[place % len(order)] + place // len(order)
    rows, starts = np.empty((count, forest.features)), np.full(count, -1)
    step = min(max(BLOCK // forest.features, 64), 1 << 14)
    for start in range(0, count, step):
        block = slice(start, min(start + step, count))
        size = block.stop - block.start
        if around is None or not len(around):
            rows[block] = features.rows(size, random)
        else:
            starts[block] = random.integers(len(around), size=size)
            rows[block] = around[starts[block]]
        _probe(forest, features, paths, rows[block], nodes[block], turns[block], random)
    return Probes(rows, nodes, starts)


def _probe(
    forest: Forest,
    features: Features,
    paths: Paths,
    rows: np.ndarray,
    nodes: np.ndarray,
    turns: np.ndarray,
    random: np.random.Generator,
) -> None:
    """Lead, in place, each of `rows` [n, F] to its node, with a value of the kind `turns` in the node's feature."""
    asked = Conditions.of(paths, nodes)
    feature = forest.feature[nodes]
    wanted = values(forest, features, nodes, turns, random)
    # A value that the node's own ancestors send elsewhere tests other nodes: then the threshold itself is better, or
    # in a category's place one that the path allows.
    own = asked.only(forest.feature[asked.node] == feature[asked.row])
    astray = np.zeros(len(nodes), bool)
    astray[own.row[~met(forest, own, wanted[own.row])]] = True
    instead = values(forest, features, nodes, np.zeros_like(turns), random)
    rows[np.arange(len(nodes)), feature] = np.where(astray, instead, wanted)
    lead(forest, features, rows, asked, random)


def _turns(forest: Forest, count: int, random: np.random.Generator) -> np.ndarray:
    """Which kind comes first for each of `count` nodes: every kind once, in a random order, then all again."""
    kinds = len(kinds_of_thresholds(forest))
    turns = np.tile(np.arange(kinds), (-(-count // kinds), 1))
    return random.permuted(turns, axis=1).reshape(-1)[:count]


def _spread(paths: Paths, random: np.random.Generator) -> np.ndarray:
    """All nodes, so that any beginning of the list is spread over the trees, and in a tree over its depths."""
    nodes = len(paths.tree)
    shuffled = random.permutation(nodes)
    in_depth = _rank(np.lexsort((shuffled, paths.depth, paths.tree)), paths.tree, paths.depth)
    in_tree = _rank(np.lexsort((shuffled, in_depth, paths.tree)), paths.tree)
    return np.lexsort((random.permutation(int(paths.tree.max()) + 1)[paths.tree], in_tree))


def _rank(order: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """The place of each within those of equal keys, of a list sorted by the keys first."""
    new = np.zeros(len(order), bool)
    new[0] = True
    for key in keys:
        new[1:] |= key[order][1:] != key[order][:-1]
    starts = np.flatnonzero(new)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return rank
