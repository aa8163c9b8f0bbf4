"""What a contestant can do: so many calls of one row, so many of a batch, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Feed = dict[str, np.ndarray]

CALLS_OF_A_JVM = 20_000  # HotSpot compiles for good what was called 5,000 times, and what these call, in steps
ROWS = 1000  # of which one-row calls take one after the other: more of them only take memory


@dataclass(frozen=True)
class Model:
    """A loaded model as Python calls it.

    `call` is that call as a reader would write it. `prepare` makes of some rows (input -> array, in the dtypes that
    the model takes) what `run` takes: `run` alone is timed. `read` makes outputs of what it gave.
    """

    call: str
    prepare: Callable[[Feed], Any]
    run: Callable[[Any], Any]
    read: Callable[[Any], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Inputs:
    """The samples as a model takes them: `cut(start, stop)` gives rows of them.

    `batches`: whether a call takes more than one row; `bare`: whether it takes one without an axis of rows.
    """

    rows: int
    cut: Callable[[int, int], Feed]
    batches: bool
    bare: bool


@dataclass(frozen=True)
class Turns:
    """A contestant that is ready.

    `one_row(calls)` and `batch(calls)` give the nanoseconds of each call; `batch` is None where a call takes one row.
    `answers(count)` gives what those calls answer to the first rows: name -> array, once for each kind of call.
    `process` is the one whose memory counts, None for another machine's. `cold_seconds` is the time from the start of
    its process to its first answer, where it is not this process. `in_batch` is the rows of a batch.
    `calls_to_warm`: how many one-row calls it takes until what they run is compiled.
    """

    call: str
    one_row: Callable[[int], list[int]]
    batch: Callable[[int], list[int]] | None
    in_batch: int
    answers: Callable[[int], list[Mapping[str, np.ndarray]]]
    process: int | None
    cold_seconds: float | None = None
    calls_to_warm: int = 0
    close: Callable[[], None] = field(default=lambda: None)


def python_turns(model: Model, inputs: Inputs, in_batch: int, *, process: int | None) -> Turns:
    """The turns of a model that Python calls. Rows are prepared when they are first needed, and never within a time."""
    prepared: list[Any] = []
    held: list[Any] = []

    def rows(count: int) -> list[Any]:
        prepared.extend(
            model.prepare(inputs.cut(at, at + 1)) for at in range(len(prepared), min(count, inputs.rows, ROWS))
        )
        return prepared

    def one_row(calls: int) -> list[int]:
        return _timed(model.run, rows(calls), calls)

    def batch(calls: int) -> list[int]:
        if not held:
            held.append(model.prepare(tiled(inputs, in_batch)))
        return _timed(model.run, held, calls)

    def answers(count: int) -> list[Mapping[str, np.ndarray]]:
        singles = [dict(model.read(model.run(row))) for row in rows(count)[:count]]
        joined = np.stack if inputs.bare else np.concatenate
        told: list[Mapping[str, np.ndarray]] = [{name: joined([one[name] for one in singles]) for name in singles[0]}]
        if inputs.batches:
            told.append(dict(model.read(model.run(model.prepare(inputs.cut(0, min(count, inputs.rows)))))))
        return told

    return Turns(model.call, one_row, batch if inputs.batches else None, in_batch, answers, process)


def tiled(inputs: Inputs, rows: int) -> Feed:
    """So many rows: those of the samples, over and over."""
    feed = inputs.cut(0, min(rows, inputs.rows))
    times = -(-rows // inputs.rows)
    if times == 1:
        return feed
    return {name: np.concatenate([array] * times)[:rows] for name, array in feed.items()}


def _timed(run: Callable[[Any], Any], prepared: list[Any], calls: int) -> list[int]:
    clock, rows = time.perf_counter_ns, len(prepared)
    times = [0] * calls
    for index in range(calls):
        row = prepared[index % rows]
        began = clock()
        run(row)
        times[index] = clock() - began
    return times
