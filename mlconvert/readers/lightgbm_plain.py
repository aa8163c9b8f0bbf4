"""LightGBM's text with two rules of its own spelled out, for converters that read it and do not know them.

LightGBM takes every number within 1e-35 of 0 for 0, and NaN for 0 in a node whose missing type is None. Thresholds at
which that matters are moved past those numbers, and such nodes say where NaN goes: the same answers, by plain
comparisons. (`NumericalDecision` in LightGBM's tree.h, `kZeroThreshold` in its meta.h, 4.7.0.)
"""

from __future__ import annotations

import math
import struct

ZERO = struct.unpack("<f", struct.pack("<f", 1e-35))[0]  # kZeroThreshold is a float
BELOW = math.nextafter(-ZERO, -math.inf)
CATEGORICAL, DEFAULT_LEFT, NAN = 1, 2, 2 << 2  # of decision_type
KIND = 3 << 2
ZERO_KIND = 1 << 2


def plain_text(text: str) -> str:
    """The text of a model that was checked before; nodes whose zeros are missing stay as they are."""
    lines: list[str] = []
    thresholds: list[float] = []
    for line in text.split("\n"):
        name, _, values = line.partition("=")
        if name == "tree_sizes":  # the trees change their sizes, and the line is not needed
            continue
        if name == "threshold":
            thresholds = [float(word) for word in values.split()]
        if name == "decision_type":
            nodes = [_plain(int(kind), value) for kind, value in zip(values.split(), thresholds, strict=True)]
            at = next(number for number in range(len(lines) - 1, -1, -1) if lines[number].startswith("threshold="))
            lines[at] = "threshold=" + " ".join(repr(value) for _, value in nodes)
            lines.append("decision_type=" + " ".join(str(kind) for kind, _ in nodes))
        else:
            lines.append(line)
    return "\n".join(lines)


def _plain(kind: int, threshold: float) -> tuple[int, float]:
    zero_left = threshold >= 0
    missing, left = kind & KIND, bool(kind & DEFAULT_LEFT)
    if kind & CATEGORICAL or (missing == ZERO_KIND and left != zero_left):
        return kind, threshold
    if -ZERO <= threshold < 0:
        threshold = BELOW
    elif 0 <= threshold < ZERO:
        threshold = ZERO
    goes_left = left if missing in (ZERO_KIND, NAN) else zero_left
    return NAN | (DEFAULT_LEFT if goes_left else 0), threshold
