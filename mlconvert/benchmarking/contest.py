"""The contest: all contestants take turns, round by round, in fresh processes for each start.

One measures at a time, on CPUs of its own; the order within a round is drawn anew each time, so that nobody profits
from what went before. One-row calls come first and the memory they took is noted before any batch.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from mlconvert.benchmarking.contestant import Contestant, Measure
from mlconvert.errors import NotVerified

SEED = 20261123


@dataclass(frozen=True)
class Settings:
    """How a contest goes. Turns are of as many calls as fit into `turn_seconds`, MOST_CALLS at most."""

    threads: int
    cpus: tuple[int, ...]
    starts: int
    rounds: int  # of each start
    batch: int  # rows
    turn_seconds: float
    warm_seconds: float


MOST_CALLS = 2000
FEWEST_CALLS = 3
# Of calls that take this long, a turn is a single one.
LONG_SECONDS = 0.2


@dataclass(frozen=True)
class Entry:
    """Who takes part: its name, and what its process is asked for (see `mlconvert.benchmarking.child`)."""

    name: str
    request: Mapping[str, Any]


@dataclass
class Result:
    """What was measured of one entry. Times are nanoseconds: of all calls, and [starts][rounds] medians of turns."""

    call: str = ""
    in_batch: int = 0
    cold_seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    calls: dict[Measure, list[int]] = field(default_factory=lambda: {"one_row": [], "batch": []})
    rounds: dict[Measure, list[list[float]]] = field(default_factory=lambda: {"one_row": [], "batch": []})


def hold(
    entries: Sequence[Entry], settings: Settings, scratch: Path, told: Callable[[str], None]
) -> tuple[dict[str, Result], dict[str, NotVerified]]:
    """Let the entries take their turns; the result of each by its name, and why others cannot be called in their way.

    `told` hears what comes next. Raises what a contestant raised, named after it. No process is left behind.
    """
    results = {entry.name: Result() for entry in entries}
    left_out: dict[str, NotVerified] = {}
    shuffle = random.Random(SEED)  # noqa: S311 - an order of turns, no secret
    for start in range(settings.starts):
        running: list[Contestant] = []
        with contextlib.ExitStack() as stack:
            # One after the other: the first answer of each comes on an idle machine.
            for index, entry in enumerate(shuffle.sample(list(entries), len(entries))):
                if entry.name in left_out:
                    continue
                told(f"start {start + 1} of {settings.starts}: {entry.name}")
                try:
                    one = Contestant(entry.name, entry.request, scratch / f"{start}-{index}")
                except NotVerified as error:
                    left_out[entry.name] = error
                    continue
                stack.callback(one.kill)
                running.append(one)
                if start == 0:
                    one.check()
                result = results[entry.name]
                result.call, result.in_batch = one.call, one.in_batch
                if one.cold_seconds is not None:
                    result.cold_seconds.append(one.cold_seconds)
            told(f"start {start + 1} of {settings.starts}: one row")
            _measure("one_row", running, results, settings, shuffle)
            for one in running:
                if (peak := one.peak_rss_bytes()) is not None:
                    results[one.name].peaks.append(peak)
            told(f"start {start + 1} of {settings.starts}: batches")
            _measure("batch", [one for one in running if one.batches], results, settings, shuffle)
            for one in running:
                one.end()
    return {name: result for name, result in results.items() if name not in left_out}, left_out


def _measure(
    measure: Measure,
    running: Sequence[Contestant],
    results: Mapping[str, Result],
    settings: Settings,
    shuffle: random.Random,
) -> None:
    calls = {}
    for one in running:
        nanoseconds = one.warm(measure, settings.warm_seconds)
        calls[one.name] = calls_of(nanoseconds, settings.turn_seconds)
    rounds: dict[str, list[float]] = {one.name: [] for one in running}
    for _ in range(settings.rounds):
        for one in shuffle.sample(list(running), len(running)):
            times = one.turn(measure, calls[one.name])
            results[one.name].calls[measure] += times
            rounds[one.name].append(median(times))
    for name, medians in rounds.items():
        results[name].rounds[measure].append(medians)


def calls_of(nanoseconds: float, turn_seconds: float) -> int:
    """How many calls of that length make a turn: one of those that are long, else a few at least."""
    if nanoseconds > LONG_SECONDS * 1e9:
        return 1
    return max(FEWEST_CALLS, min(MOST_CALLS, round(turn_seconds * 1e9 / max(nanoseconds, 1.0))))
