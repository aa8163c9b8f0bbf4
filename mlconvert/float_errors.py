"""The differences between two arrays of floats, measured in one pass over chunks that stay in the processor's cache.

Memory-mapped arrays of any size are read once, and their pages are handed back as the pass moves on: neither the memory
that is held nor the memory that the system counts for the process grows with their length.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from mlconvert.error_histogram import ErrorHistogram
from mlconvert.tolerance import Tolerance

CHUNK = 1 << 16  # elements: with the working arrays below about 1.5 MB, the second-level cache of one core
GROUP = 1 << 21  # elements that one thread takes at a time
PARALLEL = 1 << 22  # from this many elements on two threads (numpy lets the others run while it works)

# From the narrowest mantissa to the widest: units in the last place are counted in the narrower of the two.
_WIDTHS = ("bfloat16", "float16", "float32", "float64")


@dataclass(frozen=True)
class FloatErrors:
    """Figures over the pairs of elements; see OutputParity for what they mean. Positions count in C order."""

    elements: int
    one_sided: int  # NaN or infinity on one side only, or infinities of different signs
    first_one_sided: int | None
    compared: int  # pairs with two finite values
    mismatched: int  # one_sided included
    max_abs: float | None
    worst: int | None
    mean_abs: float | None
    p99_abs: float | None
    max_rel: float | None
    max_ulp: int | None


def measure(reference: np.ndarray, candidate: np.ndarray, tolerance: Tolerance, *, chunk: int = CHUNK) -> FloatErrors:
    """Compare two float arrays of one shape with at least one element; the dtypes may differ in width.

    Differences are taken in float32 (in float64 when one of the two is), `max_abs` of the worst element and every
    decision near the tolerance in float64. Equal infinities and two NaNs are equal. `max_ulp` is counted in the
    narrower dtype of the two, from -0.0 to 0.0 it is 0. `p99_abs` has ErrorHistogram's resolution of 0.4 %.
    """
    # Memory-mapped arrays are contiguous, so nothing of size is copied here.
    a, b = np.ascontiguousarray(reference).reshape(-1), np.ascontiguousarray(candidate).reshape(-1)
    work = np.dtype(np.float64 if "float64" in (a.dtype.name, b.dtype.name) else np.float32)
    narrow = min((a.dtype, b.dtype), key=lambda dtype: _WIDTHS.index(dtype.name))
    histogram = ErrorHistogram(a.size, work)
    pages = [pages for pages in (_released(a), _released(b)) if pages]

    def group(start: int) -> _Sums:
        stop = min(start + GROUP, a.size)
        sums = _Sums(tolerance, work, narrow, histogram, min(chunk, a.size))
        for at in range(start, stop, chunk):
            end = min(at + chunk, stop)
            sums.add(at, a[at:end], b[at:end])
        for release in pages:
            release(start, stop)
        return sums

    starts = range(0, a.size, GROUP)
    threads = min(2, os.cpu_count() or 1)
    if a.size < PARALLEL or threads == 1:
        return _merged([group(start) for start in starts], a, b, histogram)
    with ThreadPoolExecutor(threads) as pool:
        return _merged(list(pool.map(group, starts)), a, b, histogram)


class _Sums:
    """The running figures of one group of chunks, and the arrays that its chunks are worked on in."""

    def __init__(
        self, tolerance: Tolerance, work: np.dtype, narrow: np.dtype, histogram: ErrorHistogram, size: int
    ) -> None:
        self.tolerance, self.work, self.narrow, self.histogram = tolerance, work, narrow, histogram
        self.one_sided = 0
        self.first_one_sided: int | None = None
        self.compared = 0
        self.mismatched = 0
        self.total = 0.0
        self.max_rel = -1.0
        self.max_ulp = 0
        self.largest = -1.0  # of the differences as they are rounded to `work`
        self.worst: int | None = None
        self._a, self._b = np.empty(size, work), np.empty(size, work)
        self._error, self._scratch, self._size = np.empty(size, work), np.empty(size, work), np.empty(size, work)
        self._flags = np.empty(size, bool)
        self._ulps = np.empty(size, f"i{narrow.itemsize}")

    def add(self, start: int, a: np.ndarray, b: np.ndarray) -> None:
        with np.errstate(all="ignore"):
            self._add(start, self._widened(a, self._a), self._widened(b, self._b))

    def _widened(self, chunk: np.ndarray, buffer: np.ndarray) -> np.ndarray:
        if chunk.dtype == self.work:
            return chunk
        buffer[: chunk.size] = chunk
        return buffer[: chunk.size]

    def _add(self, start: int, a: np.ndarray, b: np.ndarray) -> None:
        error = self._error[: a.size]
        largest = _distance(a, b, error)
        self.compared += a.size
        if not np.isfinite(largest):  # one look at the largest tells whether any of the inputs was not finite
            a, b = self._without_non_finite(start, a, b)
            largest = _distance(a, b, error)
            if not np.isfinite(largest):  # finite numbers whose difference overflows: an answer far out
                a, b = a.astype(np.float64), b.astype(np.float64)
                error = np.empty(a.size)
                largest = _distance(a, b, error)
        if largest > self.largest:
            self.largest, self.worst = largest, start + int(error.argmax())
        if largest == 0:
            if self.max_rel < 0 and a.any():
                self.max_rel = 0.0
            return
        self.total += float(error.sum(dtype=np.float64))
        size = np.abs(a, out=self._size[: a.size] if a.dtype == self.work else None)
        scratch = self._scratch[: a.size] if a.dtype == self.work else np.empty(a.size)
        self._count_mismatches(a, b, error, size, scratch)
        self._take_relative(error, size, scratch)
        self._take_ulps(a, b)
        if error.dtype != self.work:
            error = np.minimum(error, np.finfo(self.work).max).astype(self.work)
        self.histogram.add(error, self._flags[: a.size])

    def _without_non_finite(self, start: int, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both with 0 in the places where one is not finite, so that these pairs weigh nothing; and count them."""
        out = ~(np.isfinite(a) & np.isfinite(b))
        differ = out & (a != b) & ~(np.isnan(a) & np.isnan(b))
        self.compared -= int(np.count_nonzero(out))
        count = int(np.count_nonzero(differ))
        if count and self.first_one_sided is None:
            self.first_one_sided = start + int(differ.argmax())
        self.one_sided += count
        self.mismatched += count
        return np.where(out, self.work.type(0), a), np.where(out, self.work.type(0), b)

    def _count_mismatches(
        self, a: np.ndarray, b: np.ndarray, error: np.ndarray, size: np.ndarray, bound: np.ndarray
    ) -> None:
        """A bound lowered by more than the rounding finds all that may be out; those few are decided in float64."""
        lowered = 1 - 16 * float(np.finfo(error.dtype).eps)
        np.multiply(size, self.tolerance.rtol * lowered, out=bound)
        bound += self.tolerance.atol * lowered
        suspect = np.greater_equal(error, bound, out=self._flags[: a.size])
        if suspect.any():
            a64, b64 = a[suspect].astype(np.float64), b[suspect].astype(np.float64)
            exact = self.tolerance.atol + self.tolerance.rtol * np.abs(a64)
            self.mismatched += int(np.count_nonzero(np.abs(a64 - b64) > exact))

    def _take_relative(self, error: np.ndarray, size: np.ndarray, relative: np.ndarray) -> None:
        largest = np.divide(error, size, out=relative).max()
        if not np.isfinite(largest):
            size[size == 0] = np.inf  # without a reference there is no relative error
            if np.isinf(size).all():
                return
            largest = np.divide(error, size, out=relative).max()
            if np.isinf(largest):  # a denormal reference
                far = np.isinf(relative)
                largest = (error[far].astype(np.float64) / size[far].astype(np.float64)).max()
        self.max_rel = max(self.max_rel, float(largest))

    def _take_ulps(self, a: np.ndarray, b: np.ndarray) -> None:
        """The bits of two floats of one sign, as integers, are as far apart as there are floats between them."""
        ulps = self._ulps[: a.size]
        x = a.astype(self.narrow, copy=False).view(ulps.dtype)
        y = b.astype(self.narrow, copy=False).view(ulps.dtype)
        opposite = None
        if np.bitwise_xor(x, y, out=ulps).min() < 0:
            opposite = np.flatnonzero(ulps < 0)
            magnitude = np.iinfo(ulps.dtype).max
            apart = (x[opposite] & magnitude).astype(np.uint64) + (y[opposite] & magnitude).astype(np.uint64)
            self.max_ulp = max(self.max_ulp, int(apart.max()))
        np.subtract(x, y, out=ulps)
        if opposite is not None:
            ulps[opposite] = 0
        self.max_ulp = max(self.max_ulp, int(ulps.max()), -int(ulps.min()))


def _distance(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> float:
    """|a - b| into `out`; its largest element, NaN when there is one."""
    np.subtract(a, b, out=out)
    np.abs(out, out=out)
    return float(out.max())


def _merged(groups: list[_Sums], a: np.ndarray, b: np.ndarray, histogram: ErrorHistogram) -> FloatErrors:
    compared = sum(group.compared for group in groups)
    firsts = [group.first_one_sided for group in groups if group.first_one_sided is not None]
    worst = max(groups, key=lambda group: group.largest).worst  # the first of equals
    one_sided = sum(group.one_sided for group in groups)
    relative = max(group.max_rel for group in groups)
    exact = None
    if compared and worst is not None:
        with np.errstate(all="ignore"):
            exact = float(abs(a[worst].astype(np.float64) - b[worst].astype(np.float64)))
            # The worst place may be one where neither is finite, when all the other errors are 0.
            exact = 0.0 if np.isnan(exact) or not (np.isfinite(a[worst]) and np.isfinite(b[worst])) else exact
    return FloatErrors(
        elements=a.size,
        one_sided=one_sided,
        first_one_sided=min(firsts, default=None),
        compared=compared,
        mismatched=sum(group.mismatched for group in groups),
        max_abs=exact,
        worst=worst if compared else None,
        mean_abs=sum(group.total for group in groups) / compared if compared else None,
        p99_abs=histogram.p99(compared) if compared else None,
        max_rel=relative if relative >= 0 else None,
        max_ulp=max(group.max_ulp for group in groups) if compared else None,
    )


def _released(array: np.ndarray) -> Callable[[int, int], None] | None:
    """What hands the pages of a part of a read-only memory-mapped array back; None for an array in memory.

    The pages stay in the system's cache of files. Without this every page that was read counts as this process's.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if not isinstance(base, mmap.mmap) or not hasattr(base, "madvise"):
        return None
    whole = np.frombuffer(base, np.uint8)
    if whole.flags.writeable:  # the pages could hold what is in no file
        return None
    offset = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    mapping = base

    def release(start: int, stop: int) -> None:
        first = (offset + start * array.itemsize) // mmap.PAGESIZE * mmap.PAGESIZE
        end = offset + stop * array.itemsize
        mapping.madvise(mmap.MADV_DONTNEED, first, min(end, whole.size) - first)

    return release
