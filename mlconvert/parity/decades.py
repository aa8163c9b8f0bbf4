"""How errors are spread: how many of them lie in each power of ten."""

from __future__ import annotations

import numpy as np

from mlconvert.parity.result import Spread

CHUNKS = 16  # that are counted: evenly spread over the whole, so that counting costs little however many there are

_LOWEST, _HIGHEST = -324, 308  # of float64


class ErrorDecades:
    """Counts the errors of every `every`-th chunk by the decade that they lie in, and those that are 0."""

    def __init__(self, chunks: int) -> None:
        """For that many chunks of errors."""
        self.every = -(-chunks // CHUNKS)
        self.elements = 0
        self.counts = np.zeros(_HIGHEST - _LOWEST + 1, dtype=np.int64)

    def add(self, errors: np.ndarray | None, elements: int) -> None:
        """Errors >= 0 of a chunk (None: all are 0), `elements` of which are of finite pairs; the others are 0 here."""
        self.elements += elements
        if errors is None:
            return
        with np.errstate(divide="ignore"):
            decades = np.floor(np.log10(errors[errors > 0].astype(np.float64)))
        places = np.clip(decades, _LOWEST, _HIGHEST).astype(np.int64) - _LOWEST
        self.counts += np.bincount(places, minlength=self.counts.size)

    def spread(self) -> Spread:
        found = np.flatnonzero(self.counts)
        zeros = self.elements - int(self.counts.sum())
        if not found.size:
            return Spread(self.elements, zeros)
        first, last = int(found[0]), int(found[-1])
        counts = tuple(int(count) for count in self.counts[first : last + 1])
        return Spread(self.elements, zeros, first + _LOWEST, counts)
