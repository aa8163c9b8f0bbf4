"""From lists in which inner nodes and leaves stand together, as scikit-learn keeps them, to the numbers of `Forest`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Numbering:
    """The children of the inner nodes of all trees, in the order of the lists. T trees, N inner nodes."""

    roots: np.ndarray  # int32 [T], children as `Forest` has them
    left: np.ndarray  # int32 [N]
    right: np.ndarray  # int32 [N]


def number(sizes: np.ndarray, left: np.ndarray, right: np.ndarray, leaf: np.ndarray) -> Numbering:
    """Number inner nodes and leaves, each from 0 and through all trees.

    sizes: int [T], the nodes of each tree; the first of them is its root. left, right: int [M], the children within
    the tree, anything where `leaf`, bool [M]. Raises IndexError for a child that is in no list.
    """
    starts = (np.cumsum(sizes) - sizes).astype(np.int32)
    child = np.where(leaf, -np.cumsum(leaf, dtype=np.int32), np.cumsum(~leaf, dtype=np.int32) - 1)
    shift = np.repeat(starts, sizes)[~leaf]
    return Numbering(child[starts], child[left[~leaf] + shift], child[right[~leaf] + shift])


def within_trees(sizes: np.ndarray, leaf: np.ndarray) -> np.ndarray:
    """The number that each leaf has in its tree's own list: int32 [L]."""
    starts = (np.cumsum(sizes) - sizes).astype(np.int32)
    own: np.ndarray = np.flatnonzero(leaf).astype(np.int32) - np.repeat(starts, sizes)[leaf]
    return own


def rounded_down(thresholds: np.ndarray) -> np.ndarray:
    """The largest float32 numbers that are not above `thresholds`, as float64.

    For every float32 x, `x <= threshold` and `x <= rounded_down(threshold)` say the same.
    """
    with np.errstate(over="ignore"):
        rounded: np.ndarray = thresholds.astype(np.float32)
        above = rounded > thresholds
        rounded[above] = np.nextafter(rounded[above], np.float32(-np.inf))
    return rounded.astype(np.float64)


def rounded_up(thresholds: np.ndarray) -> np.ndarray:
    """The smallest float32 numbers that are not below `thresholds`, as float64: the same for `x < threshold`."""
    return -rounded_down(-thresholds)
