"""The figures of a benchmark as people read them: three digits, and a mark where a difference is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mlconvert.report import numbers

NOISE = "~"  # before a ratio: no difference was seen beyond the noise


def three(value: float | None) -> str:
    """Three digits that count: `437`, `19.4`, `0.87`, `9,070`."""
    if value is None:
        return numbers.NONE
    if value == 0:
        return "0"
    rounded = float(f"{value:.2e}")
    decimals = 2 - math.floor(math.log10(abs(rounded)))
    return f"{rounded:,.{max(0, min(decimals, 6))}f}"


def spread(part: Mapping[str, Any], value: float | None) -> str:
    """Half of an interval's width, of the value: `4 %`; the wider half, where they differ."""
    if not value or part["low"] is None or part["high"] is None:
        return "?"
    half = max(value - part["low"], part["high"] - value, 0.0) / value * 100
    return f"{half:.0f} %" if half >= 1 else "1 %"


def ratio(contestant: Mapping[str, Any], measure: str, baseline: str) -> str:
    """`45.1 x`; `~1.1 x` where that may be noise; `1 x` of the baseline itself, a dash where there is none."""
    if contestant["name"] == baseline:
        return "1 x"
    row = next((r for r in contestant["ratios"] if r["measure"] == measure and r["baseline"] == baseline), None)
    if row is None:
        return numbers.NONE
    mark = "" if row["verdict"] in ("faster", "slower") else NOISE
    return f"{mark}{three(row['ratio'])} x"


def seconds(value: float | None) -> str:
    """A cold start: `74 ms`, `7.51 s`."""
    if value is None:
        return numbers.NONE
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.3g} s"


def is_noisy(report: Mapping[str, Any], measure: str) -> bool:
    """Whether a ratio of that measure is marked."""
    ratios = [row for one in report["contestants"] for row in one["ratios"] if row["measure"] == measure]
    return any(row["verdict"] not in ("faster", "slower") for row in ratios)


def noise(report: Mapping[str, Any]) -> str:
    """What the mark says, and why all are marked where nothing can be told."""
    if report["settings"]["starts"] < 3:
        return "nothing is known of the noise: that takes three starts at least"
    return "no difference beyond the noise (95 % confidence)"


def how(report: Mapping[str, Any]) -> str:
    """`1 thread, 3 starts of 5 rounds, 1,000 samples`."""
    settings = report["settings"]
    words = [
        _counted(settings["threads"], "thread"),
        f"{_counted(settings['starts'], 'start')} of {_counted(settings['rounds'], 'round')}",
        _counted(settings["samples"], "sample"),
    ]
    return ", ".join(words)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
