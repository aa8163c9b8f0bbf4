"""Plain thresholds answer as LightGBM's own rule does."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from mlconvert.readers.lightgbm_plain import BELOW, ZERO, plain_text

NEAR = [0.0, -0.0, ZERO, -ZERO, BELOW, math.nextafter(ZERO, 0), math.nextafter(ZERO, 1), 5e-324, -5e-324, 1.0, -1.0]
NUMBERS = st.sampled_from(NEAR) | st.floats(allow_nan=False, allow_infinity=False)


def goes_left(value: float, kind: int, threshold: float) -> bool:
    """NumericalDecision of LightGBM 4.7.0, after its rows and thresholds were read (src/io/tree.cpp, tree.h)."""
    missing = (kind >> 2) & 3
    if math.isnan(value) and missing != 2:
        value = 0.0
    if (missing == 1 and abs(value) <= ZERO) or (missing == 2 and math.isnan(value)):
        return bool(kind & 2)
    if abs(value) <= ZERO:
        value = 0.0
    return value <= threshold


@given(st.lists(st.tuples(st.sampled_from([0, 2, 4, 6, 8, 10]), NUMBERS), min_size=1), NUMBERS | st.just(math.nan))
def test_every_node_keeps_its_way(nodes, value):
    kinds, thresholds = zip(*nodes, strict=True)
    words = {"threshold": " ".join(map(repr, thresholds)), "decision_type": " ".join(map(str, kinds))}
    text = "tree_sizes=1 2\nTree=0\nthreshold={threshold}\nleft_child=-1\ndecision_type={decision_type}\nend of trees\n"
    text = text.format(**words)
    lines = dict(line.partition("=")[::2] for line in plain_text(text).split("\n"))
    assert "tree_sizes" not in lines
    assert list(lines) == ["Tree", "threshold", "left_child", "decision_type", "end of trees", ""]
    made = zip(lines["decision_type"].split(), lines["threshold"].split(), strict=True)
    for (kind, threshold), (word, number) in zip(nodes, made, strict=True):
        if int(word) & 12 == 8:  # by plain comparison, and NaN the default way
            left = bool(int(word) & 2) if math.isnan(value) else value <= float(number)
            assert left == goes_left(value, kind, threshold)
        else:
            assert (int(word), float(number)) == (kind, threshold)  # zeros are missing: left as it was


def test_categories_are_left_alone():
    text = "threshold=3 0.0\ndecision_type=1 2\n"
    assert plain_text(text) == f"threshold=3.0 {ZERO!r}\ndecision_type=1 10\n"
