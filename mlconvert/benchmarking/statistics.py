"""What can be said of measured times: percentiles, intervals, and which of two is the faster, if that can be told.

The times come from several processes (starts) of several turns each. Two runs of one process resemble each other more
than two processes do (where code and data happen to lie in memory differs), so an interval has to be drawn over both
levels: T. Kalibera and R. Jones, Rigorous benchmarking in reasonable time, ISMM 2013. It is the bootstrap's percentile
interval (B. Efron and R. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), widened for few starts as
T. Hesterberg has it (What teachers should know about the bootstrap, The American Statistician 69, 2015, section 4.3:
the expanded percentile interval). Contestants take turns within a round, so a ratio is drawn over the same rounds of
both: what slowed the machine down slowed both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

Verdict = Literal["faster", "slower", "no difference beyond the noise"]
Rounds = Sequence[Sequence[float]]
"""Of each start, the median of each of its turns."""

DRAWS = 2000
SEED = 20261123
LEVEL = 0.95
LEAST_STARTS = 3  # with two, one contest in five of a thing with itself would see a difference
ENOUGH_FOR = {50: 1, 90: 10, 99: 100}  # percentile -> calls below which it would be no more than the largest

# Student's t, 0.975, by degrees of freedom; beyond them the first terms of its expansion are good to 0.001.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def percentile(times: Sequence[float], rank: int) -> float | None:
    """The percentile (linear between neighbours); None of so few times that it would only be their largest."""
    if len(times) < ENOUGH_FOR[rank]:
        return None
    return float(np.percentile(np.asarray(times, dtype=np.float64), rank))


def median_interval(rounds: Rounds) -> Interval:
    """The median of the turns' medians, [starts][turns], with its interval: endless for fewer than LEAST_STARTS."""
    values = _table(rounds)
    drawn = np.median(_drawn(values, *_draws(values.shape)), axis=1)
    return Interval(float(np.median(values)), *_ends(drawn, len(values)))


def ratio_interval(baseline: Rounds, other: Rounds) -> Interval:
    """How many times as long the baseline takes as the other: the ratio of their medians, drawn over paired rounds.

    Both are [starts][turns] of one contest: equal numbers of each. Raises ValueError for others.
    """
    first, second = _table(baseline), _table(other)
    if first.shape != second.shape:
        raise ValueError(f"rounds of {first.shape} and {second.shape} cannot be paired")
    draws = _draws(first.shape)
    ratios = np.median(_drawn(first, *draws), axis=1) / np.median(_drawn(second, *draws), axis=1)
    return Interval(float(np.median(first) / np.median(second)), *_ends(ratios, len(first)))


def verdict(ratio: Interval) -> Verdict:
    """Of a ratio baseline : other, what the other is. An interval that holds 1 says nothing either way."""
    if ratio.low > 1:
        return "faster"
    return "slower" if ratio.high < 1 else "no difference beyond the noise"


def _table(rounds: Rounds) -> np.ndarray:
    values = np.asarray(rounds, dtype=np.float64)
    if values.ndim != 2 or not values.size:
        raise ValueError("a contest has at least one start of one turn, and as many turns in each")
    return values


def _draws(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    starts, turns = shape
    random = np.random.default_rng(SEED)
    return (
        random.integers(0, starts, size=(DRAWS, starts)),
        random.integers(0, turns, size=(DRAWS, starts, turns)),
    )


def _drawn(values: np.ndarray, starts: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """[DRAWS, starts * turns]: starts drawn with replacement, and turns within each."""
    drawn: np.ndarray = values[starts[:, :, None], turns].reshape(len(starts), -1)
    return drawn


def _ends(drawn: np.ndarray, starts: int) -> tuple[float, float]:
    if starts < LEAST_STARTS:
        return -math.inf, math.inf
    freedom = starts - 1
    tail = NormalDist().cdf(-math.sqrt(starts / freedom) * _student(freedom))
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def _student(freedom: int) -> float:
    """Student's t of the level (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5)."""
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
