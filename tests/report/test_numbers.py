from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.report import numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0 ms"),
        (0.0312, "31 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (3725, "1 h 02 min"),
    ],
)
def test_seconds(value, text):
    assert numbers.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (10_000, "9.8 KiB"),
        (48_213, "47 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (812_646_912, "775 MiB"),
        (3 * 2**40, "3.0 TiB"),
        (5000 * 2**40, "5000 TiB"),
    ],
)
def test_size(value, text):
    assert numbers.size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (1.2e-07, "1.2e-07"), (0.00312, "0.0031"), ("inf", "inf"), ("nan", "nan")],
)
def test_figure(value, text):
    assert numbers.figure(value) == text


def test_others():
    assert numbers.mebibytes(327_155_712) == "312 MiB"
    assert numbers.mebibytes(0) == "-"
    assert numbers.tolerance(1e-5) == "1e-05"
    assert numbers.count(1_000_000) == "1,000,000"
    assert numbers.count(0) == "0"
    assert numbers.ulps(4_611_686_018_427_387_904) == "4.6e+18"
    assert numbers.shape([]) == "[]"


@given(st.floats(0, 1e9))
def test_seconds_are_short_and_never_overflow_their_unit(value):
    text = numbers.seconds(value)
    assert "60 s" not in text.split("min")[-1]
    assert not text.startswith("1000 ms")


@given(st.integers(0, 2**62))
def test_size_keeps_its_order(value):
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    amount, unit = numbers.size(value).split()
    assert float(amount) * 1024 ** units.index(unit) == pytest.approx(value, rel=0.06)
