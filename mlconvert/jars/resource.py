"""Arrays as the bytes of a resource: the classes in `java/` read them back.

An array is the width of its numbers in bytes, its length, and the numbers by their bytes: all first (most significant)
bytes, then all second ones. What the numbers have in common then stands together, and the jar's compression finds it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np


def integers(values: np.ndarray | Sequence[int]) -> bytes:
    """Integers of 0 to 2**32 - 1, in as few bytes each as the largest takes; Java has those above 2**31 as negative."""
    numbers = np.asarray(values, np.int64)
    highest = int(numbers.max(initial=0))
    assert int(numbers.min(initial=0)) >= 0
    assert highest < 1 << 32
    width = max(1, (highest.bit_length() + 7) // 8)
    return _planes(numbers.astype(">u4"), width)


def doubles(values: np.ndarray | Sequence[float]) -> bytes:
    """Doubles, in four bytes each where all are float32 numbers."""
    numbers = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32)
    if np.array_equal(narrow.astype(np.float64).view(np.int64), numbers.view(np.int64)):
        return _planes(narrow.astype(">f4"), 4)
    return _planes(numbers.astype(">f8"), 8)


def texts(values: Sequence[str]) -> bytes:
    encoded = [value.encode(errors="replace") for value in values]
    return struct.pack(">i", len(encoded)) + b"".join(struct.pack(">i", len(one)) + one for one in encoded)


def _planes(numbers: np.ndarray, width: int) -> bytes:
    each = numbers.view(np.uint8).reshape(len(numbers), numbers.itemsize)[:, numbers.itemsize - width :]
    return struct.pack(">ii", width, len(numbers)) + np.ascontiguousarray(each.T).tobytes()
