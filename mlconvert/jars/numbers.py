"""Numbers as Java reads them."""

from __future__ import annotations

import math


def number(value: float) -> str:
    """An expression of Java's for a double: the very number."""
    if math.isnan(value):
        return "Double.NaN"
    if math.isinf(value):
        return "(1 / 0.0)" if value > 0 else "(-1 / 0.0)"
    return repr(float(value))
