"""The few rows that are furthest off, found in the same pass that measures the errors."""

from __future__ import annotations

import numpy as np

ROWS = 5  # that are kept

WITHIN, BEYOND, ONE_SIDED = 0, 1, 2  # what is beyond the tolerance comes first, NaN or infinity on one side before it


class WorstRows:
    """Of each row the place that is furthest off, of all rows the ROWS that are: by kind, then by their error.

    Once ROWS rows are held, a chunk of errors none of which is larger costs one comparison.
    """

    def __init__(self, width: int) -> None:
        """For rows of `width` elements, at least one."""
        self.width = width
        self.held: dict[int, tuple[int, float, int]] = {}  # row -> (kind, error, -position)
        self.floor = (WITHIN, 0.0)  # what a row must surpass

    def add(self, start: int, errors: np.ndarray, largest: float) -> None:
        """Errors of consecutive elements, all of them >= 0 and `largest` their maximum, the first at `start`."""
        if (WITHIN, largest) <= self.floor:
            return
        ends = np.arange(start // self.width + 1, (start + errors.size - 1) // self.width + 1) * self.width - start
        begins = np.concatenate([np.zeros(1, dtype=ends.dtype), ends])
        maxima = np.maximum.reduceat(errors, begins)
        for index in _largest(maxima):
            begin = int(begins[index])
            stop = int(begins[index + 1]) if index + 1 < begins.size else errors.size
            self._take(WITHIN, float(maxima[index]), start + begin + int(errors[begin:stop].argmax()))

    def add_some(self, kind: int, positions: np.ndarray, errors: np.ndarray) -> None:
        """Errors of single elements, at positions that ascend, of one kind."""
        if not positions.size or (kind, float(errors.max())) <= self.floor:
            return
        rows = positions // self.width
        begins = np.concatenate([[0], np.flatnonzero(np.diff(rows)) + 1])
        maxima = np.maximum.reduceat(errors, begins)
        for index in _largest(maxima):
            begin = int(begins[index])
            stop = int(begins[index + 1]) if index + 1 < begins.size else errors.size
            at = begin + int(errors[begin:stop].argmax())
            self._take(kind, float(maxima[index]), int(positions[at]))

    def positions(self) -> tuple[int, ...]:
        """The worst first; of rows alike the earlier one."""
        return tuple(-position for _, _, position in sorted(self.held.values(), reverse=True))

    def _take(self, kind: int, error: float, position: int) -> None:
        row, found = position // self.width, (kind, error, -position)
        if error > 0 and found > self.held.get(row, (-1, 0.0, 0)):
            self.held[row] = found
            if len(self.held) > ROWS:
                del self.held[min(self.held, key=self.held.__getitem__)]
            if len(self.held) == ROWS:
                self.floor = min(self.held.values())[:2]


def _largest(maxima: np.ndarray) -> np.ndarray:
    """The indices of the ROWS largest; of equal ones the first."""
    if maxima.size > 64 * ROWS:  # most are out of the question: a partition is cheaper than to sort them
        bar = np.partition(maxima, maxima.size - ROWS)[maxima.size - ROWS]
        above = np.flatnonzero(maxima > bar)
        chosen = np.concatenate([above, np.flatnonzero(maxima == bar)[: ROWS - above.size]])
    else:
        chosen = np.argsort(-maxima, kind="stable")[:ROWS]
    return chosen
