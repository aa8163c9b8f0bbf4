"""What a comparison found, as reports and records keep it. Imports no numpy: the parent process reads these."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Spread:
    """How the errors of an output are spread: `counts[i]` are at least 10^(lowest + i) and below ten times that.

    `zeros` are exactly 0. `elements` were counted: all of the finite pairs, or of very many an even choice.
    """

    elements: int
    zeros: int
    lowest: int | None = None
    counts: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "elements": self.elements,
            "zeros": self.zeros,
            "lowest": self.lowest,
            "counts": list(self.counts),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Spread:
        return Spread(data["elements"], data["zeros"], data["lowest"], tuple(data["counts"]))


@dataclass(frozen=True)
class WorstRow:
    """A row that is far off: the place in it that is furthest off, and what the two models answer there."""

    index: tuple[int, ...]
    reference: float | int | str
    candidate: float | int | str
    abs: float | None = None  # None where the difference has no meaning

    def as_json(self) -> dict[str, Any]:
        return {item.name: _strict(getattr(self, item.name)) for item in fields(self)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> WorstRow:
        error = data["abs"]
        return WorstRow(
            tuple(data["index"]), data["reference"], data["candidate"], None if error is None else float(error)
        )


@dataclass(frozen=True)
class OutputParity:
    """One output. `reason` is a sentence that names the output: why it failed, or a remark (another width); or None.

    `dtype` is the artifact's, `reference -> artifact` where the two differ in width. Figures that have no meaning for
    the output are None: the errors for labels, everything when the two could not be compared. The errors
    (`max_abs`, `mean_abs`, `p99_abs`, `max_rel`, `max_ulp`) are taken over the pairs in which both are finite;
    `max_rel` over those whose reference is not 0. `nan_mismatches` counts NaN or infinity on one side only (or
    infinities of different signs); they are among the `mismatched`. `worst_index` is the first of these, else the
    place of `max_abs`, for labels the first that differs. `worst` are the few rows that are furthest off, those beyond
    the tolerance first (for labels: the first that differ); `spread` says how the errors lie below the largest.
    """

    name: str
    ok: bool
    reason: str | None = None
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    max_abs: float | None = None
    mean_abs: float | None = None
    p99_abs: float | None = None
    max_rel: float | None = None
    max_ulp: int | None = None
    mismatched: int | None = None
    elements: int | None = None
    label_flips: int | None = None
    nan_mismatches: int | None = None
    worst_index: tuple[int, ...] | None = None
    worst: tuple[WorstRow, ...] = ()
    spread: Spread | None = None

    def as_json(self) -> dict[str, Any]:
        """With the report's keys, strict JSON: an infinite figure (an overflow) is the string `inf`."""
        figures = {item.name: _strict(getattr(self, item.name)) for item in fields(self)}
        figures["worst"] = [row.as_json() for row in self.worst]
        figures["spread"] = None if self.spread is None else self.spread.as_json()
        return figures

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> OutputParity:
        values = {item.name: data.get(item.name) for item in fields(OutputParity)}
        for name in ("max_abs", "mean_abs", "p99_abs", "max_rel"):
            values[name] = None if values[name] is None else float(values[name])  # type: ignore[arg-type]
        for name in ("shape", "worst_index"):
            values[name] = None if values[name] is None else tuple(values[name])  # type: ignore[arg-type]
        values["worst"] = tuple(WorstRow.from_json(row) for row in data.get("worst") or ())  # older reports have none
        values["spread"] = Spread.from_json(data["spread"]) if data.get("spread") else None
        return OutputParity(**values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Parity:
    """One comparison. `rtol` and `atol` are the defaults; an output with one of its own says so when it fails."""

    ok: bool
    samples: int
    rtol: float
    atol: float
    outputs: tuple[OutputParity, ...]
    samples_sha256: str | None = None

    @property
    def failures(self) -> tuple[str, ...]:
        """The reasons of the outputs that failed."""
        return tuple(output.reason or f"output '{output.name}' failed" for output in self.outputs if not output.ok)

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "samples": self.samples,
            "samples_sha256": self.samples_sha256,
            "rtol": self.rtol,
            "atol": self.atol,
            "outputs": [output.as_json() for output in self.outputs],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Parity:
        return Parity(
            ok=data["ok"],
            samples=data["samples"],
            rtol=data["rtol"],
            atol=data["atol"],
            outputs=tuple(OutputParity.from_json(output) for output in data["outputs"]),
            samples_sha256=data.get("samples_sha256"),
        )


def _strict(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
