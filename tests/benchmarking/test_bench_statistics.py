"""What is said of times: percentiles, intervals that hold what they promise, differences that are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.benchmarking.statistics import (
    LEAST_STARTS,
    Interval,
    _student,
    median_interval,
    percentile,
    ratio_interval,
    verdict,
)

times = st.floats(1.0, 1e9)
tables = st.integers(1, 5).flatmap(
    lambda turns: st.lists(st.lists(times, min_size=turns, max_size=turns), min_size=1, max_size=5)
)


@given(tables)
def test_an_interval_lies_within_what_was_measured_and_around_its_median(rounds):
    interval = median_interval(rounds)
    assert interval.value == np.median(rounds)
    flat = np.ravel(rounds)
    if len(rounds) < LEAST_STARTS:  # of few starts nothing is known
        assert (interval.low, interval.high) == (-math.inf, math.inf)
    else:
        assert flat.min() <= interval.low <= interval.high <= flat.max()


@given(tables, st.floats(0.01, 100))
def test_a_ratio_does_not_depend_on_the_unit_and_turns_over(rounds, factor):
    other = [[factor * time for time in turns] for turns in rounds]
    interval = ratio_interval(rounds, other)
    assert interval.value == pytest.approx(1 / factor)
    if len(rounds) >= LEAST_STARTS:  # drawn over the same rounds of both, so nothing of their spread is left
        assert (interval.low, interval.high) == (pytest.approx(1 / factor), pytest.approx(1 / factor))


def test_a_drift_that_slows_all_of_a_round_is_no_difference_and_hides_none():
    drift = np.linspace(1, 3, 15).reshape(3, 5)  # the machine gets three times as slow
    assert verdict(ratio_interval(100 * drift, 100 * drift)) == "no difference beyond the noise"
    assert verdict(ratio_interval(100 * drift, 90 * drift)) == "faster"
    assert verdict(ratio_interval(90 * drift, 100 * drift)) == "slower"


@pytest.mark.parametrize("starts", [3, 5])
def test_the_same_thing_twice_is_called_noise(starts):
    """Two that are alike, each start of which has its own luck: few of 300 contests may see a difference."""
    random = np.random.default_rng(1)
    seen = 0
    for _ in range(300):
        luck = np.exp(random.normal(scale=0.05, size=(2, starts, 1)))  # where memory happened to lie
        first, second = 100 * luck * np.exp(random.normal(scale=0.02, size=(2, starts, 5)))
        seen += verdict(ratio_interval(first, second)) != "no difference beyond the noise"
    assert seen <= 0.1 * 300


def test_a_difference_beyond_the_noise_is_seen():
    random = np.random.default_rng(2)
    seen = 0
    for _ in range(100):
        luck = np.exp(random.normal(scale=0.02, size=(2, 3, 1)))
        first, second = luck * np.exp(random.normal(scale=0.02, size=(2, 3, 5)))
        seen += verdict(ratio_interval(130 * first, 100 * second)) == "faster"
    assert seen >= 95


def test_contests_that_cannot_be_paired_are_refused():
    with pytest.raises(ValueError, match="paired"):
        ratio_interval([[1.0, 2.0]], [[1.0]])
    with pytest.raises(ValueError, match="at least one"):
        median_interval([])


def test_a_percentile_of_few_calls_is_none():
    assert percentile([3.0], 50) == 3.0
    assert percentile([1.0] * 9, 90) is None
    assert percentile([1.0] * 99, 99) is None
    assert percentile(list(range(101)), 99) == 99.0


@pytest.mark.parametrize(("freedom", "known"), [(1, 12.706), (10, 2.228), (11, 2.201), (20, 2.086), (120, 1.980)])
def test_students_t_is_that_of_the_tables(freedom, known):
    assert _student(freedom) == pytest.approx(known, abs=0.003)


def test_an_interval_that_holds_one_says_nothing():
    assert verdict(Interval(1.5, 0.99, 2.0)) == "no difference beyond the noise"
    assert verdict(Interval(1.5, 1.01, 2.0)) == "faster"
    assert verdict(Interval(0.5, 0.4, 0.99)) == "slower"
    assert verdict(Interval(2.0, -math.inf, math.inf)) == "no difference beyond the noise"
