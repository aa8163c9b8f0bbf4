"""Does the converted model answer as the original does? Outputs are paired by name and compared, whole and to the end.

Nothing passes by accident: a missing or extra output, another shape or kind of dtype, NaN or infinity on one side, no
samples, no outputs, no elements are failures, each with a sentence that names the output.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from mlconvert.errors import UsageError, suggest
from mlconvert.parity.float_errors import FloatErrors, measure
from mlconvert.parity.result import OutputParity, Parity, WorstRow
from mlconvert.parity.tolerance import Tolerance, Tolerances
from mlconvert.parity.worst_rows import ROWS
from mlconvert.tensors.dtypes import described, dtype_name, kind_of

__all__ = ["OutputParity", "Parity", "compare"]

LABELS = 1 << 18  # elements of labels compared at a time
SMALL = 1 << 20  # elements up to which a failed output is searched for swapped axes


def compare(
    reference: Mapping[str, np.ndarray],
    candidate: Mapping[str, np.ndarray],
    tolerances: Tolerances,
    *,
    renamed: Mapping[str, str] | None = None,
    samples_sha256: str | None = None,
) -> Parity:
    """Compare the outputs of the source model with the converted one's, row axis first, names -> arrays.

    `renamed` maps the source's names to the artifact's, where they differ. Neither the order of the outputs nor the
    width of a dtype matters. Floats must satisfy `|a - b| <= atol + rtol * |reference|`, all else must be equal.
    Arrays may be memory-mapped and larger than memory. A failure is a result (`ok` is False), not an exception:
    UsageError is raised only for a tolerance given for an output that neither model has.
    """
    renamed = renamed or {}
    pairs = {name: renamed.get(name, name) for name in reference}
    _check_names(tolerances, [*pairs, *pairs.values(), *candidate])
    extras = [name for name in candidate if name not in pairs.values()]
    outputs = []
    for name, there in pairs.items():
        if there not in candidate:
            outputs.append(OutputParity(name, ok=False, reason=_missing(name, there, reference, candidate, extras)))
            continue
        outputs.append(_output(name, reference[name], candidate[there], tolerances.of(name, there)))
    for name in extras:
        known = ", ".join(reference) or "none"
        reason = f"the converted model has an output '{name}' that the source does not have (its outputs: {known})"
        outputs.append(OutputParity(name, ok=False, reason=reason))
    if not outputs:
        # Not an output of anyone, but every report shows this row, so that the failure has a place to be read.
        outputs.append(OutputParity("", ok=False, reason="neither model gave any output: nothing was compared"))
    return Parity(
        ok=all(output.ok for output in outputs),
        samples=max((len(array) if array.ndim else 1 for array in reference.values()), default=0),
        rtol=float(tolerances.default.rtol),
        atol=float(tolerances.default.atol),
        outputs=tuple(outputs),
        samples_sha256=samples_sha256,
    )


def _check_names(tolerances: Tolerances, known: list[str]) -> None:
    for name in tolerances.outputs:
        if name not in known:
            listed = ", ".join(dict.fromkeys(known)) or "none"
            what = f"a tolerance is set for the output '{name}', which no model has.{suggest(name, known)}"
            raise UsageError(what, hint=f"the outputs: {listed}")


def _missing(
    name: str, there: str, reference: Mapping[str, np.ndarray], candidate: Mapping[str, np.ndarray], extras: list[str]
) -> str:
    called = f"'{name}'" if name == there else f"'{name}' (as '{there}')"
    text = f"the output {called} is missing from the converted model, which has: {', '.join(candidate) or 'none'}"
    ours = reference[name]
    for extra in extras:
        other = candidate[extra]
        if other.shape == ours.shape and kind_of(other.dtype) == kind_of(ours.dtype):
            return f"{text}. Was it renamed? '{extra}' has its shape and kind"
    return text


def _output(name: str, a: np.ndarray, b: np.ndarray, tolerance: Tolerance) -> OutputParity:
    described_dtype = _both(dtype_name(a.dtype) or str(a.dtype), dtype_name(b.dtype) or str(b.dtype))
    refusal = _refusal(name, a, b)
    if refusal is not None:
        return OutputParity(name, ok=False, reason=refusal, dtype=described_dtype, shape=b.shape)
    result = _floats(name, a, b, tolerance) if kind_of(a.dtype) == "float" else _labels(name, a, b)
    remark = None
    if dtype_name(a.dtype) != dtype_name(b.dtype):
        remark = f"output '{name}' is {dtype_name(b.dtype)} where the source has {dtype_name(a.dtype)}: another width"
    return replace(result, reason=result.reason or remark, dtype=described_dtype, shape=b.shape)


def _both(reference: str, candidate: str) -> str:
    return candidate if reference == candidate else f"{reference} -> {candidate}"


def _refusal(name: str, a: np.ndarray, b: np.ndarray) -> str | None:
    """Why two arrays cannot be compared element by element, or None."""
    for array in (a, b):
        if dtype_name(array.dtype) is None:
            return f"output '{name}' has the dtype {array.dtype}, which cannot be compared"
    if kind_of(a.dtype) != kind_of(b.dtype):
        return f"output '{name}' is {described(b)} where the source has {described(a)}: another kind of dtype"
    if a.shape != b.shape:
        text = f"output '{name}' has the shape {list(b.shape)} where the source has {list(a.shape)}"
        if sorted(a.shape) == sorted(b.shape):
            return f"{text}: its axes look swapped"
        if a.ndim and a.shape[1:] == b.shape[1:]:
            return f"{text}: it does not answer every sample once (a frozen batch axis?)"
        return text
    if a.ndim and not len(a):
        return f"output '{name}' has no rows: zero samples were compared"
    if not a.size:
        return f"output '{name}' has the shape {list(a.shape)}: there are no elements to compare"
    return None


# --- floats ---


def _floats(name: str, a: np.ndarray, b: np.ndarray, tolerance: Tolerance) -> OutputParity:
    errors = measure(a, b, tolerance)
    worst = errors.worst if errors.first_one_sided is None else errors.first_one_sided
    index = None if worst is None else _index(worst, a.shape)
    return OutputParity(
        name,
        ok=errors.mismatched == 0,
        reason=_float_reason(name, a, b, tolerance, errors),
        max_abs=errors.max_abs,
        mean_abs=errors.mean_abs,
        p99_abs=errors.p99_abs,
        max_rel=errors.max_rel,
        max_ulp=errors.max_ulp,
        mismatched=errors.mismatched,
        elements=errors.elements,
        nan_mismatches=errors.one_sided,
        worst_index=index,
        worst=tuple(_worst_row(position, a, b) for position in errors.worst_rows),
        spread=errors.spread,
    )


def _worst_row(position: int, a: np.ndarray, b: np.ndarray) -> WorstRow:
    index = _index(position, a.shape)
    here, there = a[index].astype(np.float64), b[index].astype(np.float64)
    with np.errstate(all="ignore"):
        error = float(abs(here - there))
    return WorstRow(index, _shown(a[index]), _shown(b[index]), error if np.isfinite(error) else None)


def _shown(value: np.generic) -> float | str:
    """The shortest number that is read back as this one in its own width; what is not finite as text."""
    return float(str(value)) if np.isfinite(value) else str(value)


def _float_reason(name: str, a: np.ndarray, b: np.ndarray, tolerance: Tolerance, errors: FloatErrors) -> str | None:
    if errors.mismatched == 0:
        if errors.compared:
            return None
        return f"every value of output '{name}' is NaN or infinite, on both sides alike: this proves little"
    parts = []
    if errors.one_sided:
        assert errors.first_one_sided is not None
        what = _values(errors.one_sided, errors.elements, name)
        at = _pair(errors.first_one_sided, a, b)
        parts.append(f"{what} NaN or infinite on one side only, the first {at}")
    beyond = errors.mismatched - errors.one_sided
    if beyond:
        assert errors.worst is not None
        what = _values(beyond, errors.elements, name)
        parts.append(f"{what} further off than {tolerance}, the worst {_pair(errors.worst, a, b)}")
        swapped = _swapped_axes(a, b, tolerance)
        if swapped:
            parts.append(f"its axes look swapped: it agrees when they are put in the order {list(swapped)}")
    return "; ".join(parts)


def _values(count: int, elements: int, name: str) -> str:
    verb = "is" if count == 1 else "are"
    return f"{count} of {elements} values of output '{name}' {verb}"


def _pair(position: int, a: np.ndarray, b: np.ndarray) -> str:
    index = _index(position, a.shape)
    return f"at {list(index)}: {a[index]} in the source, {b[index]} here"


def _swapped_axes(a: np.ndarray, b: np.ndarray, tolerance: Tolerance) -> tuple[int, ...] | None:
    """The order of axes in which b does agree with a, of those that leave the shape alike; for small arrays."""
    if a.size > SMALL or not 2 <= a.ndim <= 4:
        return None
    for order in itertools.permutations(range(a.ndim)):
        if order == tuple(range(a.ndim)) or tuple(b.shape[axis] for axis in order) != a.shape:
            continue
        if measure(a, b.transpose(order), tolerance).mismatched == 0:
            return order
    return None


# --- labels ---


@dataclass
class _Flips:
    count: int = 0
    first: int | None = None
    rows: dict[int, int] = field(default_factory=dict)  # of the first rows that differ: where they do
    low: int | None = None
    high: int | None = None


def _labels(name: str, a: np.ndarray, b: np.ndarray) -> OutputParity:
    flips = _Flips()
    numeric, width = kind_of(a.dtype) == "integer", max(a.size // len(a), 1) if a.ndim else 1
    for start, x, y in _chunks(a, b):
        differ = np.not_equal(x, y)
        count = int(np.count_nonzero(differ))
        if not count:
            continue
        flips.count += count
        if flips.first is None:
            flips.first = start + int(differ.argmax())
        if len(flips.rows) < ROWS:
            places = start + np.flatnonzero(differ)
            rows, firsts = np.unique(places // width, return_index=True)
            for row, first in zip(rows[:ROWS].tolist(), firsts.tolist(), strict=False):
                if len(flips.rows) < ROWS:
                    flips.rows.setdefault(row, int(places[first]))
        if numeric:
            by = y[differ].astype(np.int64) - x[differ].astype(np.int64)  # wraps for huge uint64: only a hint
            low, high = int(by.min()), int(by.max())
            flips.low = low if flips.low is None else min(low, flips.low)
            flips.high = high if flips.high is None else max(high, flips.high)
    return OutputParity(
        name,
        ok=flips.count == 0,
        reason=_label_reason(name, a, b, flips) if flips.count else None,
        mismatched=flips.count,
        elements=a.size,
        label_flips=flips.count,
        nan_mismatches=0,
        worst_index=None if flips.first is None else _index(flips.first, a.shape),
        worst=tuple(_label_row(position, a, b) for position in flips.rows.values()),
    )


def _label_row(position: int, a: np.ndarray, b: np.ndarray) -> WorstRow:
    index = _index(position, a.shape)
    ours, theirs = (value if isinstance(value, int) else str(value) for value in (a[index].item(), b[index].item()))
    return WorstRow(index, ours, theirs)


def _label_reason(name: str, a: np.ndarray, b: np.ndarray, flips: _Flips) -> str:
    assert flips.first is not None
    verb = "differs" if flips.count == 1 else "differ"
    text = f"{flips.count} of {a.size} labels of output '{name}' {verb}, the first {_pair(flips.first, a, b)}"
    if flips.low is not None and flips.low == flips.high and abs(flips.low) == 1 and flips.count > 1:
        text += f"; every one of them is off by {flips.low:+d} (do the labels start at another number?)"
    return text


def _chunks(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    flat_a, flat_b = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)
    for start in range(0, flat_a.size, LABELS):
        yield start, flat_a[start : start + LABELS], flat_b[start : start + LABELS]


def _index(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(axis) for axis in np.unravel_index(position, shape))
