"""The 99th percentile of a stream of errors, in one pass and little memory."""

from __future__ import annotations

import numpy as np

BITS = 8  # of the mantissa that a bin keeps: its edges are at most 1/256 (0.4 %) apart


class ErrorHistogram:
    """Counts non-negative errors by their upper bits: the exponent and the first BITS bits of the mantissa.

    `p99()` is the lower edge of the bin that holds the true value (the smallest error that at least 99 % of the
    elements do not exceed): at most 0.4 % too low. Errors below 1e-40 (float32) or 1e-310 (float64) count as 0, those
    beyond the dtype's largest number as that.

    Since the number of elements is known from the start, so is the rank from the top, and once that many errors were
    seen above a bin, what falls below it cannot matter: it is skipped with one comparison. Of errors in random order
    about 1 in 18 is counted. The result does not depend on the order.
    """

    def __init__(self, elements: int, dtype: np.dtype) -> None:
        """For `elements` errors (an upper bound will do) of float32 or float64."""
        self.dtype = np.dtype(dtype)
        self.integer = np.dtype(f"i{self.dtype.itemsize}")
        self.shift = np.finfo(self.dtype).nmant - BITS
        self.counts = np.zeros(1 << (8 * self.dtype.itemsize - 1 - self.shift), dtype=np.int64)
        self.rank = _rank(elements)
        # Invariant: at least `rank` elements (of all that will come) are in this bin or above it, and every one above
        # it that came is counted. Bin 0 holds 0, so it is true at the start.
        self.floor = 0
        self.above = 0

    def add(self, errors: np.ndarray, flags: np.ndarray) -> None:
        """Add finite errors >= 0; `flags` is a boolean buffer of the same length to work in."""
        if not np.greater(errors, self._top_of(self.floor), out=flags).any():
            return
        bins = np.compress(flags, errors).view(self.integer) >> self.shift  # a third of the time of errors[flags]
        lowest = int(bins.min())
        counted = np.bincount(bins - lowest)
        self.counts[lowest : lowest + counted.size] += counted
        self.above += int(counted.sum())
        if self.above >= self.rank:
            self._raise_floor()

    def p99(self, elements: int) -> float:
        """Of `elements` errors, no more than were announced; the others are as if they were 0."""
        rank = _rank(elements)
        at = self.floor
        if self.above >= rank:
            from_top = np.cumsum(self.counts[self.floor + 1 :][::-1])
            at = self.counts.size - 1 - int(np.searchsorted(from_top, rank))
        return float(np.array(at << self.shift, dtype=self.integer).view(self.dtype))

    def _raise_floor(self) -> None:
        floor, above = self.floor, self.above
        while above >= self.rank:
            ahead = self.counts[floor + 1 : floor + 4097] > 0
            if not ahead.any():  # a jump over empty bins: errors may lie many powers of two apart
                floor += ahead.size
                continue
            floor += 1 + int(ahead.argmax())
            above -= int(self.counts[floor])
        self.floor, self.above = floor, above

    def _top_of(self, index: int) -> np.generic:
        """The largest value in a bin."""
        bits = np.array([((index + 1) << self.shift) - 1], dtype=self.integer)
        top: np.generic = bits.view(self.dtype)[0]
        return top


def _rank(elements: int) -> int:
    """The place from the top, counted from 1, of the error that 99 % of the elements do not exceed."""
    return elements - -(-99 * elements // 100) + 1
