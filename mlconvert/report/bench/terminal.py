"""A benchmark on the terminal, 80 columns wide where names are short."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from mlconvert.report import numbers
from mlconvert.report.bench import figures
from mlconvert.report.layout import put_columns, put_line, put_paragraph

if TYPE_CHECKING:
    from rich.console import Console


def render(report: Mapping[str, Any], console: Console) -> None:
    """Print the tables of a benchmark that was made: one row, batches, and what each costs beside time."""
    source = report["source"]
    line = Text.assemble(("benched", "bold green"), f"  {source['path']} ({source['format']})")
    line.append(f"  {numbers.seconds(report['seconds'])}", "dim")
    put_line(console, line)
    put_line(console, Text(f"  {figures.how(report)}", "dim"))
    for artifact in report["artifacts"]:
        compared = f"answers as the source does on {numbers.samples(artifact['parity'])}"
        put_line(console, Text.assemble(f"  {artifact['path']}  ", (compared, "green")))
    _one_row(report, console)
    if any(one["batch"] for one in report["contestants"]):
        _batches(report, console)
    _costs(report, console)
    for row in report["left_out"]:
        put_paragraph(console, Text(f"left out: {row['name']}: {row['reason']}", "yellow"))


def _one_row(report: Mapping[str, Any], console: Console) -> None:
    put_line(console, Text())
    put_line(console, Text("one row, microseconds", "bold"))
    marks = _marks(report, "one_row")
    rows = [_heads("contestant", "p50", "±", "p90", "p99", *marks)]
    for one in report["contestants"]:
        row = one["one_row"]
        rows.append([
            Text(one["name"]),
            Text(figures.three(row["p50"]), "bold"),
            Text(figures.spread(row, row["p50"]), "dim"),
            Text(figures.three(row["p90"])),
            Text(figures.three(row["p99"])),
            *(_ratio(one, "one_row", baseline) for baseline in marks.values()),
        ])  # fmt: skip
    put_columns(console, rows, words=())
    _legend(report, "one_row", marks, console)


def _batches(report: Mapping[str, Any], console: Console) -> None:
    put_line(console, Text())
    rows_of = {one["batch"]["rows"] for one in report["contestants"] if one["batch"]}
    title = f"batches of {' or '.join(numbers.count(rows) for rows in sorted(rows_of))} rows, rows a second"
    put_line(console, Text(title, "bold"))
    marks = _marks(report, "batch")
    rows = [_heads("contestant", "rows/s", "±", *marks)]
    for one in report["contestants"]:
        batch = one["batch"]
        rows.append([
            Text(one["name"]),
            Text(figures.three(batch and batch["rows_per_second"]), "bold"),
            Text(figures.spread(batch, batch["rows_per_second"]) if batch else "", "dim"),
            *(_ratio(one, "batch", baseline) for baseline in marks.values()),
        ])  # fmt: skip
    put_columns(console, rows, words=())
    _legend(report, "batch", marks, console)


def _costs(report: Mapping[str, Any], console: Console) -> None:
    put_line(console, Text())
    put_line(console, Text("to the first answer of a new process, its memory, the model's size", "bold"))
    rows = [_heads("contestant", "cold start", "peak memory", "size")]
    rows += [
        [
            Text(one["name"]),
            Text(figures.seconds(one["cold_start_seconds"])),
            Text(numbers.mebibytes(one["peak_rss_bytes"])),
            Text(numbers.size(one["bytes"])),
        ]
        for one in report["contestants"]
    ]
    put_columns(console, rows, words=())


def _marks(report: Mapping[str, Any], measure: str) -> dict[str, str]:
    """`vs [1]` -> the baseline, of those that were measured so."""
    measured = [one["name"] for one in report["contestants"] if one[measure] is not None]
    known = [name for name in report["baselines"] if name in measured]
    return {f"vs [{number}]": name for number, name in enumerate(known, 1)}


def _legend(report: Mapping[str, Any], measure: str, marks: Mapping[str, str], console: Console) -> None:
    for mark, name in marks.items():
        put_line(console, Text(f"    {mark}: times as fast as {name}", "dim"))
    if figures.is_noisy(report, measure):
        put_line(console, Text(f"    {figures.NOISE}: {figures.noise(report)}", "dim"))


def _ratio(one: Mapping[str, Any], measure: str, baseline: str) -> Text:
    text = figures.ratio(one, measure, baseline)
    return Text(text, "dim" if text.startswith(figures.NOISE) or one["name"] == baseline else "")


def _heads(*words: str) -> list[Text]:
    return [Text(word, "dim") for word in words]
