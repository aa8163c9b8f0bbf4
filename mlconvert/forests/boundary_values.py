"""The values that a node is tested with: its threshold, the numbers next to it, and those that are often mistaken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mlconvert.forests.boundary_features import Features, Width, width
from mlconvert.forests.evaluation import goes_left
from mlconvert.forests.model import ZERO

if TYPE_CHECKING:
    from mlconvert.forests.model import Forest

_WIDE, _NARROW = Width(np.float64), Width(np.float32)

NEAR = ("threshold", "below", "above", "narrow", "narrow-below", "narrow-above")
TIES = ("tie-below", "tie-above", "past-tie-below", "past-tie-above")
SPECIAL = ("nan", "+inf", "-inf", "0.0", "-0.0", "+K", "-K", "past +K", "past -K", "within +K", "within -K")
CATEGORY = (
    "member",
    "other",
    "unknown",
    "nan",
    "fraction of member",
    "negative",
    "large",
    "2.5",
    "-0.5",
    "+inf",
    "-inf",
    "0.0",
    "-0.0",
)


def kinds_of_thresholds(forest: Forest) -> tuple[str, ...]:
    """The kinds of values for a node with a threshold, in turn: every second one is next to the threshold."""
    near = NEAR + TIES if forest.compares == "float32" else NEAR
    turns = max(len(near), len(SPECIAL))
    return tuple(kind for turn in range(turns) for kind in (near[turn % len(near)], SPECIAL[turn % len(SPECIAL)]))


def values(
    forest: Forest, features: Features, nodes: np.ndarray, turns: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """The value for the own feature of each node: float64 [n], of the kind whose turn it is.

    Kinds that the forest does not take (NaN, infinities, numbers beyond its floats) give way to the threshold.
    """
    result = np.empty(len(nodes))
    with_set = forest.category_set[nodes] >= 0
    numeric = np.flatnonzero(~with_set)
    listed = kinds_of_thresholds(forest)
    kind = turns[numeric] % len(listed)
    for index in np.unique(kind):
        at = numeric[kind == index]
        result[at] = _numeric(listed[index], forest.threshold[nodes[at]])
    sets = np.flatnonzero(with_set)
    kind = turns[sets] % len(CATEGORY)
    for index in np.unique(kind):
        at = sets[kind == index]
        result[at] = _category(CATEGORY[index], forest, features, nodes[at], random)
    return _as_taken(forest, nodes, result)


def _as_taken(forest: Forest, nodes: np.ndarray, result: np.ndarray) -> np.ndarray:
    own = np.where(forest.category_set[nodes] >= 0, 0.0, forest.threshold[nodes])
    if not forest.takes_nan:
        result = np.where(np.isnan(result), own, result)
    if not forest.takes_infinity:
        result = np.where(np.isinf(result), own, result)
        result = np.clip(result, -width(forest).largest, width(forest).largest)
    return result


def _numeric(kind: str, threshold: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrow = threshold.astype(np.float32).astype(np.float64)
    match kind:
        case "threshold":
            return threshold
        case "below":
            return _WIDE.below(threshold)
        case "above":
            return _WIDE.above(threshold)
        case "narrow":
            return narrow
        case "narrow-below":
            return _NARROW.below(narrow)
        case "narrow-above":
            return _NARROW.above(narrow)
        # A double in the middle of two float32 numbers is rounded to the even one; past it, to the nearer one.
        case "tie-below":
            return _middle(narrow, _NARROW.below(narrow))
        case "tie-above":
            return _middle(narrow, _NARROW.above(narrow))
        case "past-tie-below":
            return _WIDE.below(_middle(narrow, _NARROW.below(narrow)))
        case "past-tie-above":
            return _WIDE.above(_middle(narrow, _NARROW.above(narrow)))
    return np.full(len(threshold), _SPECIAL_VALUES[kind])


_SPECIAL_VALUES = {
    "nan": np.nan,
    "+inf": np.inf,
    "-inf": -np.inf,
    "0.0": 0.0,
    "-0.0": -0.0,
    "+K": ZERO,
    "-K": -ZERO,
    "past +K": float(np.nextafter(ZERO, 1)),
    "past -K": float(np.nextafter(-ZERO, -1)),
    "within +K": float(np.nextafter(ZERO, 0)),
    "within -K": float(np.nextafter(-ZERO, 0)),
    "negative": -1.0,
    "large": 1e9,  # fits the 32-bit integers that libraries make of categories
    "2.5": 2.5,
    "-0.5": -0.5,
}


def _middle(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return one / 2 + other / 2


def _category(
    kind: str, forest: Forest, features: Features, nodes: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    feature = forest.feature[nodes]
    unknown: np.ndarray = features.values[features.first[feature] + features.known[feature]]
    match kind:
        case "member" | "fraction of member":
            sets = forest.category_set[nodes]
            low, high = forest.set_bounds[sets], forest.set_bounds[sets + 1]
            place = low + (random.random(len(nodes)) * (high - low)).astype(np.int64)
            found: np.ndarray = np.where(high > low, np.append(forest.set_values, np.nan)[place], unknown)
            return found + 0.5 if kind == "fraction of member" else found
        case "other":
            return _not_in_set(forest, features, nodes, unknown, random)
        case "unknown":
            return unknown
    return np.full(len(nodes), _SPECIAL_VALUES[kind])


def _not_in_set(
    forest: Forest, features: Features, nodes: np.ndarray, unknown: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """A known category that is not in the node's set; the unknown one where a few draws find none."""
    feature = forest.feature[nodes]
    found = unknown.copy()
    open_ = np.arange(len(nodes))
    for _ in range(8):
        place = (random.random(len(open_)) * features.known[feature[open_]]).astype(np.int64)
        drawn = features.values[features.first[feature[open_]] + place]
        outside = ~goes_left(forest, nodes[open_], drawn)
        found[open_[outside]] = drawn[outside]
        open_ = open_[~outside]
    return found
