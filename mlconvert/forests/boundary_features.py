"""What a forest's nodes say about its features: the numbers they are compared with, and the categories they know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlconvert.forests.model import Forest


@dataclass(frozen=True)
class Width:
    """The floats of a comparison: the largest, and the neighbours of numbers among them (float64 in and out)."""

    type: type[np.floating]

    @property
    def largest(self) -> float:
        return float(np.finfo(self.type).max)

    def above(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.nextafter(values.astype(self.type), self.type(np.inf)).astype(np.float64)

    def below(self, values: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.nextafter(values.astype(self.type), self.type(-np.inf)).astype(np.float64)


def width(forest: Forest) -> Width:
    """The floats that a forest compares."""
    return Width(np.float32 if forest.compares == "float32" else np.float64)


@dataclass(frozen=True)
class Features:
    """F features. `values` holds the numbers of one after those of another, each rising and once.

    They are a feature's known categories and one unknown one, where it has categories, and else its finite thresholds.
    """

    floats: Width
    spread: np.ndarray  # float64 [F]: from the smallest to the largest number, at least the size of the largest
    categorical: np.ndarray  # bool [F]
    first: np.ndarray  # int64 [F]: where the feature's numbers begin
    known: np.ndarray  # int64 [F]: how many they are, without the unknown category
    values: np.ndarray  # float64

    @classmethod
    def of(cls, forest: Forest) -> Features:
        categorical = np.zeros(forest.features, bool)
        with_set = np.flatnonzero(forest.category_set >= 0)
        categorical[forest.feature[with_set]] = True
        feature, sets = np.unique(np.stack([forest.feature[with_set], forest.category_set[with_set]]), axis=1)
        sizes = np.diff(forest.set_bounds)[sets]
        members = np.repeat(forest.set_bounds[sets], sizes) + _counted(sizes)
        owners = np.repeat(feature, sizes)
        plain = (forest.category_set < 0) & np.isfinite(forest.threshold) & ~categorical[forest.feature]
        owner = np.concatenate([owners, forest.feature[plain]]).astype(np.int64)
        value = np.concatenate([forest.set_values[members], forest.threshold[plain]])
        owner, value = _unique_pairs(owner, value)
        known = np.bincount(owner, minlength=forest.features)
        first = np.concatenate([[0], np.cumsum(known)])[:-1]
        has = known > 0
        low, high = np.zeros(forest.features), np.zeros(forest.features)
        low[has], high[has] = value[first[has]], value[(first + known - 1)[has]]
        with np.errstate(over="ignore"):
            spread = np.maximum(high - low, np.maximum(np.abs(low), np.abs(high)))
        spread = np.minimum(np.where(spread > 0, spread, 1.0), width(forest).largest)
        # The unknown category of a feature: one more than its largest.
        owner = np.concatenate([owner, np.arange(forest.features)])
        value = np.concatenate([value, np.maximum(np.floor(high), -1) + 1])
        order = np.argsort(owner, kind="stable")
        return cls(width(forest), spread, categorical, first + np.arange(forest.features), known, value[order])

    def rows(self, count: int, random: np.random.Generator) -> np.ndarray:
        """Rows [count, F] near the thresholds: to start from when there are no others."""
        features = len(self.first)
        noise = random.normal(size=(count, features))
        pick = (random.random((count, features)) * np.maximum(self.known, 1)).astype(np.int64)
        near = np.where(self.known > 0, self.values[self.first + pick], 0.0)
        with np.errstate(over="ignore"):
            moved = np.clip(near + 0.25 * self.spread * noise, -self.floats.largest, self.floats.largest)
        return np.where(self.categorical, near, moved)


def _counted(sizes: np.ndarray) -> np.ndarray:
    """0, 1, ... up to each size, one run after another."""
    ends = np.cumsum(sizes)
    counted: np.ndarray = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
    return counted


def _unique_pairs(owner: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((value, owner))
    owner, value = owner[order], value[order]
    new = np.ones(len(owner), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (value[1:] != value[:-1])
    return owner[new], value[new]
