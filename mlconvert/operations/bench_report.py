"""The report of `mlconvert bench`, schema `mlconvert.bench/1`: figures and ratios of what a contest measured."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.benchmarking import statistics as stats
from mlconvert.benchmarking.contest import Entry, Result, Settings
from mlconvert.benchmarking.contestant import Measure
from mlconvert.errors import MlconvertError
from mlconvert.execution.cached_jobs import Made
from mlconvert.hardware import fingerprint
from mlconvert.parity.tolerance import Tolerances
from mlconvert.registry import registry
from mlconvert.report.contents import environment, shown, source_of

SCHEMA = "mlconvert.bench/1"
MEASURES: tuple[Measure, ...] = ("one_row", "batch")


@dataclass(frozen=True)
class Asked:
    """What is to be benched, and how. `threads` is how many each contestant computes with, each on a CPU of its own."""

    source: str
    artifacts: tuple[str, ...]
    samples: Path | None = None
    threads: int = 1
    starts: int = 3
    rounds: int = 5
    batch: int = 10_000
    rtol: float | None = None
    atol: float | None = None
    weights: Path | None = None
    trust: bool = False


@dataclass(frozen=True)
class Proven:
    """A model that may be benched: what its processes are given, and how it was proven (None: it is the source)."""

    artifact: Artifact
    sha256: str
    answers: Made
    tolerances: Tolerances
    parity: Mapping[str, Any] | None


def report_of(
    asked: Asked,
    proven: Sequence[Proven],
    entries: Sequence[tuple[Entry, Proven]],
    results: Mapping[str, Result],
    left_out: Mapping[str, str],
    settings: Settings,
    made: Made,
    seconds: float,
) -> dict[str, Any]:
    baselines = [entry.name for entry, owner in entries if owner.parity is None and entry.name in results]
    source = proven[0]
    return {
        "schema": SCHEMA,
        "ok": True,
        "exit_code": 0,
        "source": {**source_of(source.artifact, source.sha256), "bytes": _bytes(source.artifact)},
        "artifacts": [
            {
                "path": shown(one.artifact.location),
                "format": one.artifact.format,
                "sha256": one.sha256,
                "bytes": _bytes(one.artifact),
                "parity": one.parity,
            }
            for one in proven[1:]
        ],
        "settings": {
            "threads": settings.threads,
            "cpus": list(settings.cpus),
            "starts": settings.starts,
            "rounds": settings.rounds,
            "batch_rows": settings.batch,
            "samples": made.result["rows"],
            "samples_file": shown(asked.samples) if asked.samples else None,
            "samples_sha256": made.sha256,
            "clock_nanoseconds": _clock(),
        },
        "contestants": [
            _contestant(entry.name, owner, results, baselines) for entry, owner in entries if entry.name in results
        ],
        "left_out": [{"name": name, "reason": why} for name, why in left_out.items()],
        "baselines": baselines,
        "method": METHOD,
        "environment": environment(registry().runner(one.artifact.format) for one in proven),
        "fingerprint": fingerprint.as_json(fingerprint.take()),
        "seconds": seconds,
    }


METHOD = (
    "Contestants take turns in an order drawn anew for each round, one at a time, each in a process of its own on the "
    "same CPUs, warmed up before; all of them are started anew for each start. p50, p90 and p99 are over all calls. "
    "Intervals are 95 % confidence intervals of a bootstrap over starts and rounds (widened for few starts), ratios "
    "are of medians over paired rounds: baseline / contestant, so 2 means twice as fast. Where such an interval holds "
    "1, no difference was seen beyond the noise. A cold start is the time from the start of a process (not pinned) to "
    "its first answer; memory is the peak of that process through its one-row calls."
)


def failed(asked: Asked, error: MlconvertError) -> dict[str, Any]:
    """The report of a bench that ended before there was anything to compare."""
    return {
        "schema": SCHEMA,
        "ok": False,
        "exit_code": error.exit_code,
        "source": {"path": shown(asked.source), "format": None, "sha256": None, "bytes": None},
        "artifacts": [],
        "contestants": [],
        "left_out": [],
        "baselines": [],
        "environment": environment(()),
        "fingerprint": None,
        "error": error.as_json(),
        "seconds": 0.0,
    }


def _contestant(name: str, owner: Proven, results: Mapping[str, Result], baselines: Sequence[str]) -> dict[str, Any]:
    result = results[name]
    return {
        "name": name,
        "path": shown(owner.artifact.location),
        "format": owner.artifact.format,
        "call": result.call,
        "role": "source" if owner.parity is None else "artifact",
        "one_row": _one_row(result),
        "batch": _in_batches(result),
        "cold_start_seconds": _median(result.cold_seconds),
        "peak_rss_bytes": max(result.peaks, default=None),
        "bytes": _bytes(owner.artifact),
        "ratios": [
            ratio(measure, baseline, results[baseline], result)
            for baseline in baselines
            for measure in MEASURES
            if baseline != name and results[baseline].rounds[measure] and result.rounds[measure]
        ],
    }


def ratio(measure: Measure, baseline: str, of: Result, result: Result) -> dict[str, Any]:
    """How many times as fast as the baseline, with what can be said of that."""
    # Batches may differ in length: what is compared is the time of a row.
    scale = (of.in_batch, result.in_batch) if measure == "batch" else (1, 1)
    rounds = [
        [[time / rows for time in turns] for turns in one.rounds[measure]]
        for one, rows in zip((of, result), scale, strict=True)
    ]
    interval = stats.ratio_interval(*rounds)
    return {
        "measure": measure,
        "baseline": baseline,
        "ratio": interval.value,
        **_ends(interval),
        "verdict": stats.verdict(interval),
    }


def _one_row(result: Result) -> dict[str, Any]:
    calls = [time / 1e3 for time in result.calls["one_row"]]
    interval = stats.median_interval(result.rounds["one_row"])
    p50 = stats.percentile(calls, 50)
    return {
        "unit": "microseconds",
        "p50": p50,
        **_ends(interval, 1e-3),
        "p90": stats.percentile(calls, 90),
        "p99": stats.percentile(calls, 99),
        "calls": len(calls),
        "rounds": [[time / 1e3 for time in turns] for turns in result.rounds["one_row"]],
    }


def _in_batches(result: Result) -> dict[str, Any] | None:
    if not result.rounds["batch"]:
        return None
    interval, rows = stats.median_interval(result.rounds["batch"]), result.in_batch
    ends = _ends(interval, 1e-9)
    return {
        "rows": rows,
        "rows_per_second": rows / (interval.value / 1e9),
        "low": rows / ends["high"] if ends["high"] else None,
        "high": rows / ends["low"] if ends["low"] else None,
        "seconds": interval.value / 1e9,
        "calls": len(result.calls["batch"]),
        "rounds": [[time / 1e9 for time in turns] for turns in result.rounds["batch"]],
    }


def _ends(interval: stats.Interval, scale: float = 1.0) -> dict[str, float | None]:
    """JSON has no infinity: an end that is not known is null."""
    ends = {"low": interval.low * scale, "high": interval.high * scale}
    return {name: None if abs(value) == float("inf") else value for name, value in ends.items()}


def _median(values: Sequence[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None


def _bytes(artifact: Artifact) -> int | None:
    return sum(path.stat().st_size for path in artifact.files) if artifact.files else None


def _clock() -> int:
    """What reading the clock twice takes, at least, in nanoseconds: it is within every time."""
    clock = time.perf_counter_ns
    return min(-clock() + clock() for _ in range(1000))
