"""Numbers of a type in their order, as integers, and the search for the two between which a function passes a value.

The neighbour of a number is one further, so a bisection ends with two neighbours: the function is at most the value
at the one, and above it at the other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LARGEST = {2: 6e4, 4: 1e30, 8: 1e30}  # floats are searched up to here, by their bytes: squares of them stay finite


def place_of(values: np.ndarray) -> np.ndarray:
    """int64: rises with the numbers, by one from each to its neighbour. Both zeros are 0."""
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    signed = np.dtype(f"i{values.dtype.itemsize}")
    bits = values.view(signed).astype(np.int64)
    return np.where(bits < 0, np.iinfo(signed).min - bits, bits)


def at_place(places: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The numbers of a type that `place_of` puts there."""
    if dtype.kind != "f":
        return places.astype(dtype)
    signed = np.dtype(f"i{dtype.itemsize}")
    bits = np.where(places < 0, np.iinfo(signed).min - places, places)
    return np.ascontiguousarray(bits.astype(signed)).view(dtype)


def ends(dtype: np.dtype) -> tuple[int, int]:
    """The places of the smallest and the largest number that are tried."""
    if dtype.kind == "f":
        low, high = place_of(np.array([-LARGEST[dtype.itemsize], LARGEST[dtype.itemsize]], dtype)).tolist()
        return low, high
    if dtype.kind == "b":
        return 0, 1
    limits = np.iinfo(dtype)
    return max(limits.min, -(2**53)), min(limits.max, 2**53)


def last_below(above: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """For each element the last place from `low` to `high` (int64) that is not `above`; `low` if there is none.

    `above` takes places and says, bool, whether the function's value is above the one sought; it must be monotone.
    """
    while np.any(low < high):
        middle = (low >> 1) + (high >> 1) + ((low | high) & 1)  # the mean rounded up, without an overflow
        beyond = above(middle)
        low, high = np.where(beyond, low, np.maximum(low, middle)), np.where(beyond, np.maximum(middle - 1, low), high)
    return low
