"""Numbers as people read them, the same in every report.

None is a dash; a figure that is text (`inf`, which JSON has no number for) stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NONE = "-"


def seconds(value: float | None) -> str:
    """`31 ms`, `1.2 s`, `2 min 05 s`, `1 h 02 min`."""
    if value is None:
        return NONE
    if round(value * 1000) < 1000:
        return f"{value * 1000:.0f} ms"
    if round(value, 1) < 60:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(value / 60)
    return f"{minutes // 60} h {minutes % 60:02} min"


def size(value: float | None) -> str:
    """Bytes in powers of 1024: `512 B`, `9.8 KiB`, `312 MiB`."""
    if value is None:
        return NONE
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    amount, unit = float(value), 0
    while round(amount) >= 1024 and unit + 1 < len(units):
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {units[unit]}" if unit == 0 or round(amount, 1) >= 10 else f"{amount:.1f} {units[unit]}"


def mebibytes(value: float | None) -> str:
    """Memory, always in MiB, so that figures of a column compare at a glance. 0 means that nothing was measured."""
    return NONE if not value else f"{value / (1 << 20):,.0f} MiB"


def figure(value: float | str | None) -> str:
    """An error of two digits: `1.2e-07`, `0.0031`, `0`."""
    if value is None or isinstance(value, str):
        return value or NONE
    return f"{value:.2g}"


def tolerance(value: float) -> str:
    """As it was set: `1e-05`, `0.001`."""
    return f"{value:g}"


def count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def ulps(value: int | None) -> str:
    """Units in the last place; beyond a million only their order of magnitude says anything."""
    return figure(float(value)) if value is not None and value >= 1_000_000 else count(value)


def shape(value: list[int] | tuple[int, ...] | None) -> str:
    return NONE if value is None else f"[{', '.join(str(axis) for axis in value)}]"


def samples(parity: Mapping[str, Any]) -> str:
    """`4,352 samples, 4,096 on boundaries`: how many rows were compared, and how many of them were made at the
    thresholds of trees (or of another source's categories).
    """
    edges = parity.get("boundary_samples", 0)
    return f"{count(parity['samples'])} samples" + (f", {count(edges)} on boundaries" if edges else "")
