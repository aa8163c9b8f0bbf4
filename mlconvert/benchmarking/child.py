"""A contestant's process: `python -m mlconvert.benchmarking.child request.json`.

It loads one model in one way, tells when it gave its first answer, and then does what each line on stdin asks for,
with a line of JSON on stdout for each: turns of calls, the answers that those calls give, the memory it took. What
libraries print goes to stderr. It ends with its stdin.
"""

from __future__ import annotations

import gc
import json
import math
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed, MlconvertError

PARTS = 4  # of warming up: the last is held against those before
SETTLED = 0.97
LONGEST_WARMING = 10
CHECKED = 32  # rows, of which the very calls that are timed are compared with the source's answers


def main(argv: list[str]) -> int:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # stdout is ours: what a library prints there would be taken for an answer
    request = json.loads(Path(argv[0]).read_bytes())
    sys.path[:0] = [folder for folder in request.get("sys_path", []) if folder not in sys.path]  # of a factory's module
    try:
        serve(request, sys.stdin.readline, lambda told: print(json.dumps(told), file=channel, flush=True))
    except BrokenPipeError:  # the parent is gone
        return 1
    except Exception as error:  # noqa: BLE001 - told to the parent, which decides
        traceback.print_exc()
        first = (str(error).strip().splitlines() or [""])[0]
        ours = error if isinstance(error, MlconvertError) else ConversionFailed(f"{type(error).__name__}: {first}")
        print(json.dumps(ours.as_json()), file=channel, flush=True)
        return ours.exit_code
    return 0


def serve(request: Mapping[str, Any], ask: Callable[[], str], tell: Callable[[Mapping[str, Any]], None]) -> None:
    """Open the contestant of the request, then answer each line of `ask` until there are no more."""
    from mlconvert.artifact import Artifact
    from mlconvert.benchmarking.inputs import inputs_of
    from mlconvert.benchmarking.turns import Model, python_turns
    from mlconvert.benchmarking.ways import ways_of
    from mlconvert.serving.locations import SERVED
    from mlconvert.tensors import read_tensors

    artifact = Artifact.from_json(request["artifact"])
    inputs = inputs_of(artifact, read_tensors(Path(request["samples"])), request["rows"])
    way = next(way for way in ways_of(artifact.format) if way.name == request["way"])
    opened = way.open(artifact, request["threads"])
    if isinstance(opened, Model):
        process = None if artifact.format in SERVED else os.getpid()
        turns = python_turns(opened, inputs, request["batch"], process=process)
        turns.one_row(1)
        cold = (time.monotonic_ns() - request["started_ns"]) / 1e9 if process else None
    else:
        turns = opened(inputs, request["batch"])
        cold = turns.cold_seconds
    for pid in {os.getpid(), turns.process or os.getpid()}:
        _pin(pid, request["cpus"])
    tell({"call": turns.call, "cold_seconds": cold, "batches": turns.batch is not None, "in_batch": turns.in_batch})
    gc.collect()
    gc.freeze()  # what was made up to here is not looked through again while times are taken
    try:
        while line := ask():
            command, *words = line.split()
            if command == "check":
                tell(_check(turns.answers(CHECKED), request))
            elif command == "memory":
                tell({"peak_rss_bytes": _peak(turns.process) if turns.process else None})
            elif command == "warm":
                one_row = words[0] == "one_row"
                turn, least = (turns.one_row, turns.calls_to_warm) if one_row else (turns.batch, 0)
                tell({"nanoseconds": _warm(turn, float(words[1]), least)})
            else:
                timed = turns.one_row if command == "one_row" else turns.batch
                assert timed is not None
                tell({"nanoseconds": timed(int(words[0]))})
    finally:
        turns.close()


def _warm(turn: Callable[[int], list[int]] | None, seconds: float, least: int = 0) -> float:
    """Call it until it gets no faster; the median of what the last calls took, in nanoseconds.

    That is for `seconds` and `least` calls at least, and LONGEST_WARMING times `seconds` at most: a JVM compiles what
    it runs, for seconds on a single CPU.
    """
    assert turn is not None
    begun, calls, best, done = time.monotonic(), 1, math.inf, 0
    while True:
        part, times = time.monotonic(), list[int]()
        while not times or time.monotonic() - part < seconds / PARTS:
            times = turn(calls)
            done += calls
            calls = 2 * calls if sum(times) < 1e9 * seconds / (4 * PARTS) else calls
        now, last = time.monotonic() - begun, statistics.median(times)
        settled = now >= seconds and done >= least and last > SETTLED * best
        if settled or now > LONGEST_WARMING * seconds:
            return last
        best = min(best, last)


def _check(answers: list[Mapping[str, Any]], request: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the calls that are timed answer as the source does, output by output of those that they give."""
    from dataclasses import replace

    import numpy as np

    from mlconvert.parity.compare import compare
    from mlconvert.parity.tolerance import Tolerances
    from mlconvert.tensors import read_tensors

    reference = read_tensors(Path(request["reference"]))
    renamed = request["artifact"]["renamed"]
    tolerances = replace(Tolerances.from_json(request["tolerances"]), outputs={})
    for told in answers:
        pairs = {name: there for name in reference if (there := renamed.get(name, name)) in told}
        if not pairs:
            return {"differs": "it gives none of the source's outputs"}
        rows = {name: len(told[there]) for name, there in pairs.items() if np.ndim(told[there])}
        right = {name: np.array(reference[name][: rows.get(name, 1)]) for name in pairs}
        given = {there: told[there] for there in pairs.values()}
        parity = compare(right, given, tolerances, renamed=renamed)
        if not parity.ok:
            return {"differs": "; ".join(parity.failures)}
    return {"differs": None}


def _pin(pid: int, cpus: list[int]) -> None:
    """Keep all threads of a process on these CPUs; those that they start later are born there."""
    if not hasattr(os, "sched_setaffinity"):
        return
    tasks = Path(f"/proc/{pid}/task")
    for task in tasks.iterdir() if tasks.is_dir() else ():
        try:
            os.sched_setaffinity(int(task.name), cpus)
        except ProcessLookupError:  # a thread that ended meanwhile
            continue


def _peak(pid: int) -> int | None:
    """The peak of a process and of those that it started, as far as they run still; None where there is no /proc."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        children = " ".join(one.read_text() for one in Path(f"/proc/{pid}/task").glob("*/children")).split()
    except OSError:
        return None
    own = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
    return None if own is None else own + sum(_peak(int(child)) or 0 for child in children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
