"""Where a probability passes one half."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlconvert.forests.model import Float


def greatest_half(scale: float, arithmetic: Float = "float64") -> float:
    """The largest x with `1 / (1 + exp(-scale * x)) <= 0.5` where that is computed in `arithmetic`; scale > 0.

    It is above 0: the exponent of a very small number is rounded to 1. Found by bisection, with the C library's exp as
    in LightGBM and treelite: numpy's own is one step off here.
    """
    kind = np.dtype(arithmetic).type
    one, factor = kind(1), kind(scale)
    low, high = kind(0), one / factor
    while (middle := low + (high - low) / kind(2)) not in (low, high):
        above = one / (one + kind(math.exp(-float(factor * middle)))) > kind(0.5)
        low, high = (low, middle) if above else (middle, high)
    return float(low)
