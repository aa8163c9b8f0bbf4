"""A benchmark as Markdown: its tables, then how they came to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlconvert.report import numbers
from mlconvert.report.bench import figures
from mlconvert.report.environments import markdown_table
from mlconvert.report.marks import code, fenced, plain, table


def render(report: Mapping[str, Any]) -> str:
    """The whole document, with a line feed at its end."""
    return "\n\n".join(_blocks(report)) + "\n"


def _blocks(report: Mapping[str, Any]) -> Iterator[str]:
    source = report["source"]
    if not report["ok"]:
        yield f"# mlconvert bench: failed (exit code {report['exit_code']})"
        yield f"Source: {code(source['path'])}"
        error = report["error"]
        where = f" in {plain(error['where'])}" if error["where"] else ""
        yield f"**{error['error']}**{where}:"
        yield fenced("\n".join(part for part in (error["message"], error["hint"]) if part), "text")
        return
    yield f"# mlconvert bench: {code(source['path'])}"
    yield f"{plain(source['format'])}; {figures.how(report)}, on {_machine(report)}."
    yield from _one_row(report)
    yield from _batches(report)
    yield "## To the first answer of a new process, its memory, the model's size"
    heads = ["contestant", "call", "cold start", "peak memory", "size"]
    rows = [
        [
            code(one["name"]),
            code(one["call"]),
            figures.seconds(one["cold_start_seconds"]),
            numbers.mebibytes(one["peak_rss_bytes"]),
            numbers.size(one["bytes"]),
        ]
        for one in report["contestants"]
    ]
    yield table(heads, rows, right=(2, 3, 4))
    if report["left_out"]:
        yield "\n".join(f"- left out: {code(row['name'])}: {plain(row['reason'])}" for row in report["left_out"])
    yield from _proofs(report)
    yield "## How it was measured"
    yield plain(report["method"])
    yield markdown_table(report["environment"])


def _one_row(report: Mapping[str, Any]) -> Iterator[str]:
    yield "## One row, microseconds"
    heads = ["contestant", "p50", "95 %", "p90", "p99", *(f"vs {code(name)}" for name in report["baselines"])]
    rows = []
    for one in report["contestants"]:
        row = one["one_row"]
        rows.append([
            code(one["name"]),
            figures.three(row["p50"]),
            _interval(row),
            figures.three(row["p90"]),
            figures.three(row["p99"]),
            *(figures.ratio(one, "one_row", name) for name in report["baselines"]),
        ])  # fmt: skip
    yield table(heads, rows, right=range(1, len(heads)))
    yield _legend(report, "one_row")


def _batches(report: Mapping[str, Any]) -> Iterator[str]:
    measured = [one for one in report["contestants"] if one["batch"]]
    if not measured:
        return
    baselines = [name for name in report["baselines"] if any(one["name"] == name for one in measured)]
    yield "## Batches, rows a second"
    heads = ["contestant", "rows a call", "rows/s", "95 %", *(f"vs {code(name)}" for name in baselines)]
    rows = [
        [
            code(one["name"]),
            numbers.count(one["batch"]["rows"]),
            figures.three(one["batch"]["rows_per_second"]),
            _interval(one["batch"]),
            *(figures.ratio(one, "batch", name) for name in baselines),
        ]
        for one in measured
    ]
    yield table(heads, rows, right=range(1, len(heads)))
    yield _legend(report, "batch")


def _legend(report: Mapping[str, Any], measure: str) -> str:
    told = "`vs`: times as fast as that baseline, by the medians of paired rounds."
    if figures.is_noisy(report, measure):
        told += f" `{figures.NOISE}`: {figures.noise(report)}."
    return told


def _interval(part: Mapping[str, Any]) -> str:
    return f"{figures.three(part['low'])} to {figures.three(part['high'])}"


def _proofs(report: Mapping[str, Any]) -> Iterator[str]:
    yield "## Answers"
    rows = [
        [code(one["path"]), code(one["sha256"][:12]), numbers.samples(one["parity"]), _worst(one["parity"])]
        for one in report["artifacts"]
    ]
    yield table(["artifact", "sha256", "compared on", "largest error"], rows, right=(3,))


def _worst(parity: Mapping[str, Any]) -> str:
    errors = [output["max_abs"] for output in parity["outputs"] if isinstance(output["max_abs"], float)]
    return numbers.figure(max(errors, default=0.0))


def _machine(report: Mapping[str, Any]) -> str:
    host = (report["fingerprint"] or {}).get("host") or {}
    return plain(host.get("cpu_model") or report["environment"]["platform"])
