"""The page of a bench (`mlconvert.bench/1`): how fast, from which start and how large, with the ratios said of what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from mlconvert.report import numbers, verdicts
from mlconvert.report.html.elements import Child, element
from mlconvert.report.html.outputs import comparison
from mlconvert.report.html.page import footer, page, part, surroundings, told_error
from mlconvert.report.html.parts import Bar, badge, bars, code, facts, folded, shares, table

SCHEMA = "mlconvert.bench/1"


def render(report: Mapping[str, Any]) -> str:
    """The whole document, with a line feed at its end. Raises nothing for a bench that failed: the page says why."""
    verdict = "verified" if report["ok"] else "failed"
    told = "measured" if report["ok"] else f"failed (exit code {report['exit_code']})"
    contestants = report["contestants"]
    return page(
        f"{report['source']['path']}: {told} - mlconvert bench",
        element(
            "header", element("h1", "mlconvert bench ", badge(verdict, told)), facts(_facts(report)), class_="head"
        ),
        told_error(report["error"]) if report.get("error") else None,
        part("One row", _one_row(contestants)) if any(row["one_row"] for row in contestants) else None,
        part("Rows in batches", _batches(contestants)) if any(row["batch"] for row in contestants) else None,
        part("What is faster than what", _ratios(report)) if any(row["ratios"] for row in contestants) else None,
        part("Start, memory and size", _table(contestants)) if contestants else None,
        part("Left out", facts((row["name"], row["reason"]) for row in report["left_out"]))
        if report.get("left_out")
        else None,
        part("The same answers", list(_parities(report))) if report["artifacts"] else None,
        part("How it was measured", element("p", report["method"])) if report.get("method") else None,
        surroundings(report),
        footer(report),
    )


def _facts(report: Mapping[str, Any]) -> Iterator[tuple[str, Child]]:
    source = report["source"]
    yield "source", [code(source["path"]), f" ({source['format'] or 'not recognised'})"]
    settings = report.get("settings")
    if settings:
        yield "threads", str(settings["threads"])
        yield "rounds", f"{settings['rounds']} in each of {settings['starts']} starts"
        yield "samples", numbers.count(settings["samples"])
    yield "time", numbers.seconds(report["seconds"])


def _one_row(contestants: Sequence[Mapping[str, Any]]) -> ET.Element:
    measured = [row for row in contestants if row["one_row"]]
    longest = max(row["one_row"]["high"] or row["one_row"]["p50"] for row in measured)
    drawn = [
        Bar(
            row["name"],
            row["one_row"]["p50"] / longest,
            f"{microseconds(row['one_row']['p50'])}, p99 {microseconds(row['one_row']['p99'])}",
            low=_share(row["one_row"]["low"], longest),
            high=_share(row["one_row"]["high"], longest),
        )
        for row in measured
    ]
    return bars("Time of one call with one row: the median, its 95 % interval (shorter is faster)", ("model", "time"),
                drawn)  # fmt: skip


def _batches(contestants: Sequence[Mapping[str, Any]]) -> ET.Element:
    measured = [row for row in contestants if row["batch"]]
    most = max(row["batch"]["high"] or row["batch"]["rows_per_second"] for row in measured)
    drawn = [
        Bar(
            row["name"],
            row["batch"]["rows_per_second"] / most,
            f"{row['batch']['rows_per_second']:,.0f} rows/s",
            low=_share(row["batch"]["low"], most),
            high=_share(row["batch"]["high"], most),
        )
        for row in measured
    ]
    rows = numbers.count(measured[0]["batch"]["rows"])
    return bars(f"Throughput with {rows} rows a call, its 95 % interval (longer is faster)", ("model", "rows a second"),
                drawn)  # fmt: skip


def _ratios(report: Mapping[str, Any]) -> Iterator[ET.Element]:
    """A table for each baseline, so that no figure stands without what it is a ratio of."""
    for baseline in report["baselines"]:
        rows: list[list[Child]] = []
        for contestant in report["contestants"]:
            found = {row["measure"]: row for row in contestant["ratios"] if row["baseline"] == baseline}
            if found:
                rows.append([contestant["name"], _ratio(found.get("one_row")), _ratio(found.get("batch"))])
        if rows:
            yield table(f"Against {baseline}: 2 x is twice as fast", ["model", "one row", "batch"], rows)


def _ratio(row: Mapping[str, Any] | None) -> Child:
    if row is None:
        return numbers.NONE
    kind = {"faster": "good", "slower": "bad"}.get(row["verdict"], "open")
    figure = element("strong", f"{_times(row['ratio'])} x")
    known = row["low"] is not None  # of fewer than three starts no interval is
    interval = f" ({_times(row['low'])} to {_times(row['high'])}) " if known else " (interval not known) "
    return element("span", figure, interval, element("span", row["verdict"], class_=f"word {kind}"))


def _share(value: float | None, most: float) -> float | None:
    return None if value is None else value / most


def _times(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.2g}" if value >= 10 else f"{value:.2f}"


def _table(contestants: Sequence[Mapping[str, Any]]) -> Iterator[ET.Element]:
    heads = ["model", "call", "p50", "p90", "p99", "cold start", "peak memory"]
    yield table("Each contestant in a process of its own", heads, [
        [
            row["name"],
            code(row["call"]),
            *(microseconds(row["one_row"][key] if row["one_row"] else None) for key in ("p50", "p90", "p99")),
            numbers.seconds(row["cold_start_seconds"]),
            numbers.mebibytes(row["peak_rss_bytes"]),
        ]
        for row in contestants
    ], right=range(2, 7))  # fmt: skip
    files = {row["path"]: row["bytes"] for row in contestants if row["bytes"]}
    if len(files) > 1:
        drawn = [
            Bar(path, share, numbers.size(count))
            for (path, count), share in zip(files.items(), shares(list(files.values())), strict=True)
        ]
        yield bars("Size of the files", ("model", "size"), drawn)


def _parities(report: Mapping[str, Any]) -> Iterator[ET.Element]:
    for artifact in report["artifacts"]:
        verdict = verdicts.of_parity(artifact["parity"])
        head = [element("h3", code(artifact["path"])), badge(verdict)]
        if artifact["parity"] is None:
            yield element("p", head)
            continue
        yield folded(head, *comparison(artifact["parity"]), opened=verdict == "failed")


def microseconds(value: float | None) -> str:
    """`8.9 µs`, `437 µs`, `9.1 ms`, `1.2 s`."""
    if value is None:
        return numbers.NONE
    for unit, factor in (("µs", 1.0), ("ms", 1e3)):
        if value / factor < 999.5:
            return f"{value / factor:.3g} {unit}" if value / factor < 100 else f"{value / factor:.0f} {unit}"
    return f"{value / 1e6:.3g} s"
