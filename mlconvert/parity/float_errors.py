"""The differences between two arrays of floats, measured in one pass over chunks that stay in the processor's cache.

Memory-mapped arrays of any size are read once, and their pages are handed back as the pass moves on: neither the memory
that is held nor the memory that the system counts for the process grows with their length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mlconvert.parity.decades import ErrorDecades
from mlconvert.parity.histogram import ErrorHistogram
from mlconvert.parity.result import Spread
from mlconvert.parity.tolerance import Tolerance
from mlconvert.parity.worst_rows import BEYOND, ONE_SIDED, WorstRows
from mlconvert.tensors import releaser

CHUNK = 1 << 16  # elements: with the working arrays below about 1.5 MB, the second-level cache of one core
RELEASE = 1 << 20  # elements after which the pages of mapped files are handed back

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
    max_abs: float | None = None
    worst: int | None = None
    mean_abs: float | None = None
    p99_abs: float | None = None
    max_rel: float | None = None
    max_ulp: int | None = None
    worst_rows: tuple[int, ...] = ()  # of each the place that is furthest off
    spread: Spread | None = None


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
    releases = [release for release in (releaser(a), releaser(b)) if release]
    width = max(a.size // len(reference), 1) if reference.ndim else 1
    sums = _Sums(tolerance, work, narrow, a.size, min(chunk, a.size), WorstRows(width))
    for start in range(0, a.size, chunk):
        stop = min(start + chunk, a.size)
        sums.add(start, a[start:stop], b[start:stop])
        if stop // RELEASE > start // RELEASE:
            for release in releases:
                release(stop)
    return sums.result(a, b)


class _Sums:
    """The running figures, and the arrays that every chunk is worked on in."""

    def __init__(
        self, tolerance: Tolerance, work: np.dtype, narrow: np.dtype, elements: int, size: int, rows: WorstRows
    ) -> None:
        self.tolerance, self.work, self.narrow, self.rows = tolerance, work, narrow, rows
        self.histogram = ErrorHistogram(elements, work)
        self.decades = ErrorDecades(-(-elements // size))
        self.chunks = 0
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
        compared = self.compared
        with np.errstate(all="ignore"):
            errors = self._add(start, a, b, self._widened(a, self._a), self._widened(b, self._b))
        if self.chunks % self.decades.every == 0:
            self.decades.add(errors, self.compared - compared)
        self.chunks += 1

    def _widened(self, chunk: np.ndarray, buffer: np.ndarray) -> np.ndarray:
        if chunk.dtype == self.work:
            return chunk
        buffer[: chunk.size] = chunk
        return buffer[: chunk.size]

    def _add(self, start: int, raw_a: np.ndarray, raw_b: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray | None:
        """The chunk's errors, 0 where one of a pair is not finite; None where all are 0."""
        error = self._error[: a.size]
        largest = _distance(a, b, error)
        self.compared += a.size
        if not np.isfinite(largest):  # one look at the largest tells whether any of the inputs was not finite
            a, b = raw_a, raw_b = self._without_non_finite(start, a, b)
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
            return None
        self.rows.add(start, error, float(largest))
        self.total += float(error.sum(dtype=np.float64))
        size = np.abs(a, out=self._size[: a.size] if a.dtype == self.work else None)
        scratch = self._scratch[: a.size] if a.dtype == self.work else np.empty(a.size)
        self._count_mismatches(start, a, b, error, size, scratch)
        self._take_relative(error, size, scratch)
        self._take_ulps(raw_a, raw_b)
        if error.dtype != self.work:
            error = np.minimum(error, np.finfo(self.work).max).astype(self.work)
        self.histogram.add(error, self._flags[: a.size])
        return error

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
        places = np.flatnonzero(differ)
        self.rows.add_some(ONE_SIDED, start + places, np.ones(places.size))
        return np.where(out, self.work.type(0), a), np.where(out, self.work.type(0), b)

    def _count_mismatches(
        self, start: int, a: np.ndarray, b: np.ndarray, error: np.ndarray, size: np.ndarray, bound: np.ndarray
    ) -> None:
        """A bound lowered by more than the rounding finds all that may be out; those few are decided in float64."""
        lowered = 1 - 16 * float(np.finfo(error.dtype).eps)
        np.multiply(size, self.tolerance.rtol * lowered, out=bound)
        bound += self.tolerance.atol * lowered
        suspect = np.greater_equal(error, bound, out=self._flags[: a.size])
        if suspect.any():
            a64, b64 = (np.compress(suspect, side).astype(np.float64) for side in (a, b))
            exact = self.tolerance.atol + self.tolerance.rtol * np.abs(a64)
            apart = np.abs(a64 - b64)
            beyond = apart > exact
            self.mismatched += int(np.count_nonzero(beyond))
            self.rows.add_some(BEYOND, start + np.flatnonzero(suspect)[beyond], apart[beyond])

    def _take_relative(self, error: np.ndarray, size: np.ndarray, relative: np.ndarray) -> None:
        largest = np.divide(error, size, out=relative).max()
        if not np.isfinite(largest):
            # Where the reference is 0 there is no relative error.
            nothing = np.equal(size, 0, out=self._flags[: size.size])
            if nothing.all():
                return
            np.copyto(size, np.inf, where=nothing)
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
        if np.bitwise_xor(x, y, out=ulps).min() < 0:
            # Opposite signs somewhere: count from 0 downwards for the negative. A distance may need all the bits.
            x, y = _from_zero(x), _from_zero(y)
            apart = np.subtract(np.maximum(x, y), np.minimum(x, y)).view(f"u{ulps.itemsize}")
            self.max_ulp = max(self.max_ulp, int(apart.max()))
            return
        np.subtract(x, y, out=ulps)
        self.max_ulp = max(self.max_ulp, int(ulps.max()), -int(ulps.min()))

    def result(self, a: np.ndarray, b: np.ndarray) -> FloatErrors:
        """The figures of the whole arrays, flat, after all of their chunks."""
        figures = FloatErrors(a.size, self.one_sided, self.first_one_sided, self.compared, self.mismatched)
        figures = replace(figures, worst_rows=self.rows.positions())
        if not self.compared:
            return figures
        assert self.worst is not None
        largest = 0.0  # then `worst` may be a place where neither is finite
        if self.largest > 0:
            with np.errstate(over="ignore"):
                largest = float(abs(a[self.worst].astype(np.float64) - b[self.worst].astype(np.float64)))
        return replace(
            figures,
            max_abs=largest,
            worst=self.worst,
            mean_abs=self.total / self.compared,
            p99_abs=self.histogram.p99(self.compared),
            max_rel=self.max_rel if self.max_rel >= 0 else None,
            max_ulp=self.max_ulp,
            spread=self.decades.spread(),
        )


def _from_zero(bits: np.ndarray) -> np.ndarray:
    """The place of floats, given as bits, in the order of all floats, with 0.0 and -0.0 at 0."""
    sign = bits >> (8 * bits.itemsize - 1)  # -1 for the negative
    places: np.ndarray = sign & np.iinfo(bits.dtype).max
    places ^= bits
    places -= sign
    return places


def _distance(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> float:
    """|a - b| into `out`; its largest element, NaN when there is one."""
    np.subtract(a, b, out=out)
    np.abs(out, out=out)
    return float(out.max())
