"""The way to a node: what its ancestors ask of a row, and values that satisfy them.

A path asks for one thing per feature, so features can be moved one by one: a node can be reached exactly when each
feature that its ancestors test has a value that all of them send on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlconvert.forests.boundary_features import Features, width
from mlconvert.forests.evaluation import goes_left
from mlconvert.forests.model import ZERO

if TYPE_CHECKING:
    from mlconvert.forests.model import Forest


@dataclass(frozen=True)
class Paths:
    """The trees read upwards, one entry for each inner node."""

    parent: np.ndarray  # int32 [N], -1 for a root
    is_left: np.ndarray  # bool [N]: the left child of its parent
    tree: np.ndarray  # int32 [N]
    depth: np.ndarray  # int32 [N]

    @classmethod
    def of(cls, forest: Forest) -> Paths:
        nodes = len(forest.feature)
        parent = np.full(nodes, -1, np.int32)
        is_left = np.zeros(nodes, bool)
        for side, left in ((forest.left, True), (forest.right, False)):
            inner = np.flatnonzero(side >= 0)
            parent[side[inner]] = inner
            is_left[side[inner]] = left
        # A root is the first node of its tree, and trees follow each other.
        planted = np.flatnonzero(forest.roots >= 0)
        tree = planted[np.searchsorted(forest.roots[planted], np.arange(nodes), side="right") - 1]
        depth = np.zeros(nodes, np.int32)
        level, at = 0, forest.roots[planted]
        while len(at):
            depth[at] = level
            below = np.concatenate([forest.left[at], forest.right[at]])
            level, at = level + 1, below[below >= 0]
        return cls(parent, is_left, tree.astype(np.int32), depth)


@dataclass(frozen=True)
class Conditions:
    """What the rows of a block must satisfy: row `row` has to go left, or right, at `node`. All of one length."""

    row: np.ndarray  # int64
    node: np.ndarray  # int32
    left: np.ndarray  # bool

    @classmethod
    def of(cls, paths: Paths, nodes: np.ndarray) -> Conditions:
        """Those of the rows 0, 1, ... that are to reach `nodes` [n]: one for each ancestor, the nearest first."""
        rows: list[np.ndarray] = []
        found: list[np.ndarray] = []
        lefts: list[np.ndarray] = []
        row, at = np.arange(len(nodes)), nodes
        while len(at):
            up = paths.parent[at]
            inner = up >= 0
            rows.append(row[inner])
            found.append(up[inner])
            lefts.append(paths.is_left[at[inner]])
            row, at = row[inner], up[inner]
        if not rows:
            return cls(np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, bool))
        return cls(np.concatenate(rows), np.concatenate(found), np.concatenate(lefts))

    def only(self, mask: np.ndarray) -> Conditions:
        return Conditions(self.row[mask], self.node[mask], self.left[mask])


def compared(forest: Forest, feature: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of features as the nodes see them: `evaluation.as_compared` for single values instead of whole rows."""
    with np.errstate(over="ignore"):
        seen = values.astype(forest.compares).astype(np.float64)
    seen = np.where(forest.zero_is_missing[feature] & (np.abs(seen) <= ZERO), np.nan, seen)
    return np.where(forest.truncates[feature], np.floor(seen) if forest.floors else np.trunc(seen), seen)


def met(forest: Forest, asked: Conditions, values: np.ndarray) -> np.ndarray:
    """Which conditions hold, given for each the value of its feature: bool."""
    left = goes_left(forest, asked.node, compared(forest, forest.feature[asked.node], values))
    holds: np.ndarray = left == asked.left
    return holds


def lead(forest: Forest, features: Features, rows: np.ndarray, asked: Conditions, random: np.random.Generator) -> None:
    """Move, in place, those values of `rows` [n, F] that keep a row from its node.

    A value that satisfies its conditions stays. Where no value does (a tree can ask for x <= 1 and, further down, for
    x > 2), the row keeps one that satisfies some.
    """
    feature = forest.feature[asked.node]
    wrong = ~met(forest, asked, rows[asked.row, feature])
    key = asked.row * forest.features + feature
    moved = np.unique(key[wrong])
    if not len(moved):
        return
    group = np.searchsorted(moved, key)
    inside = moved[np.minimum(group, len(moved) - 1)] == key
    asked, group = asked.only(inside), group[inside]
    moved_feature = moved % forest.features
    values = _between(forest, features, asked, group, moved_feature, random)
    _in_sets(forest, features, asked, group, moved_feature, values, random)
    if forest.takes_nan:
        failing = _groups_that_fail(forest, asked, group, values)
        through_nan = np.ones(len(moved), bool)
        np.logical_and.at(through_nan, group, forest.missing_left[asked.node] == asked.left)
        values[failing & through_nan] = np.nan
    rows[moved // forest.features, moved_feature] = values


def _groups_that_fail(forest: Forest, asked: Conditions, group: np.ndarray, values: np.ndarray) -> np.ndarray:
    fails = np.zeros(len(values), bool)
    fails[group[~met(forest, asked, values[group])]] = True
    return fails


def _between(
    forest: Forest,
    features: Features,
    asked: Conditions,
    group: np.ndarray,
    feature: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """For each group, a number between the thresholds on its way: float64 [G]. Sets of categories are passed over."""
    low, high = _bounds(forest, asked, group, feature)
    largest = width(forest).largest
    bottom, top = np.clip(low, -largest, largest), np.clip(high, -largest, largest)
    # Where one side is open, stay as near as the thresholds of the feature are to each other.
    room = features.spread[feature]
    with np.errstate(over="ignore"):
        bottom = np.where(np.isinf(low), np.maximum(bottom, np.where(np.isinf(high), 0, top) - room), bottom)
        top = np.where(np.isinf(high), np.minimum(top, bottom + room), top)
    share = random.random(len(feature))
    values: np.ndarray = np.clip(bottom * (1 - share) + top * share, np.minimum(bottom, top), np.maximum(bottom, top))
    values = np.where(forest.truncates[feature], np.floor(values), values)
    if forest.zero_is_missing.any():
        values = _off_zero(forest, feature, low, high, values)
    if forest.takes_infinity:
        values = np.where(low == np.inf, np.inf, np.where(high == -np.inf, -np.inf, values))
    return values


def _bounds(forest: Forest, asked: Conditions, group: np.ndarray, feature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest number that each group may have; the lowest above the highest where none may be."""
    low, high = np.full(len(feature), -np.inf), np.full(len(feature), np.inf)
    numeric = forest.category_set[asked.node] < 0
    threshold = forest.threshold[asked.node]
    beyond = width(forest).above(threshold) if not forest.strict else width(forest).below(threshold)
    left, right = numeric & asked.left, numeric & ~asked.left
    np.minimum.at(high, group[left], (beyond if forest.strict else threshold)[left])
    np.maximum.at(low, group[right], (threshold if forest.strict else beyond)[right])
    whole = forest.truncates[feature]
    return np.where(whole, np.ceil(low), low), np.where(whole, np.floor(high), high)


def _off_zero(forest: Forest, feature: np.ndarray, low: np.ndarray, high: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values, but none that counts as missing because it is next to zero, where the bounds leave a choice."""
    near = forest.zero_is_missing[feature] & (np.abs(values) <= ZERO)
    least = width(forest).above(np.full(len(values), ZERO))
    least = np.where(forest.truncates[feature], 1.0, least)
    return np.where(near & (high >= least), least, np.where(near & (low <= -least), -least, values))


def _in_sets(
    forest: Forest,
    features: Features,
    asked: Conditions,
    group: np.ndarray,
    feature: np.ndarray,
    values: np.ndarray,
    random: np.random.Generator,
) -> None:
    """Give, in place, each group with a condition on categories a category that satisfies all of its conditions.

    The candidates, tried in turn from a random start: the smallest set that the value must be in, or if it only must
    not be in some, all known categories of the feature and an unknown one.
    """
    sets = forest.category_set[asked.node]
    listed = np.flatnonzero(sets >= 0)
    if not len(listed):
        return
    pool = np.concatenate([features.values, forest.set_values])
    start, count = features.first[feature], features.known[feature] + 1  # one more: the unknown one
    inside = listed[asked.left[listed]]
    size = forest.set_bounds[sets[inside] + 1] - forest.set_bounds[sets[inside]]
    smallest_last = np.argsort(-size, kind="stable")  # of several values for one place, numpy keeps the last
    of = group[inside[smallest_last]]
    start[of] = len(features.values) + forest.set_bounds[sets[inside[smallest_last]]]
    count[of] = size[smallest_last]
    offset = (random.random(len(feature)) * count).astype(np.int64)
    trying = np.unique(group[listed])
    trying = trying[count[trying] > 0]
    turn = 0
    while len(trying):
        values[trying] = pool[start[trying] + (offset[trying] + turn) % count[trying]]
        open_ = np.zeros(len(feature), bool)
        open_[trying] = True
        of_open = open_[group]
        failing = _groups_that_fail(forest, asked.only(of_open), group[of_open], values)
        turn += 1
        trying = np.flatnonzero(open_ & failing & (turn < count))
