"""A target's part of the page: what became of it, its route, its comparison, its steps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from mlconvert.report import numbers, verdicts
from mlconvert.report.html.elements import Child, element
from mlconvert.report.html.outputs import comparison
from mlconvert.report.html.page import told_error
from mlconvert.report.html.parts import Bar, badge, bars, code, facts, folded, shares, table
from mlconvert.report.html.route import pictures


def summary(report: Mapping[str, Any]) -> ET.Element:
    """A line for each target."""
    rows: list[list[Child]] = [
        [
            element("a", target["name"], href=f"#{_anchor(index)}"),
            badge(verdicts.of_target(target)),
            verdicts.route(report, target),
            numbers.size(target["bytes"]),
            numbers.figure(verdicts.largest_error(verdicts.last_parity(target))),
            verdicts.published(target) or numbers.NONE,
        ]
        for index, target in enumerate(report["targets"], 1)
    ]
    heads = ["target", "verdict", "route", "size", "largest error", "published"]
    return table("What was made", heads, rows, right=(3, 4))


def sizes(report: Mapping[str, Any]) -> ET.Element | None:
    """The source's and the targets' files beside each other; None unless there are two of them to compare."""
    rows = [("the source", report["source"].get("bytes"))]
    rows += [(target["name"], target["bytes"]) for target in report["targets"] if target["ok"]]
    known = [(name, count) for name, count in rows if count]
    if len(known) < 2:
        return None
    base = known[0][1] if known[0][0] == "the source" else None
    drawn = []
    for (name, count), share in zip(known, shares([count for _, count in known]), strict=True):
        ratio = f", {count / base:.2g} x the source" if base and name != "the source" else ""
        drawn.append(Bar(name, share, f"{numbers.size(count)}{ratio}"))
    return bars("Size of the files", ("model", "size"), drawn)


def section(report: Mapping[str, Any], target: Mapping[str, Any], index: int) -> ET.Element:
    title = element("h2", code(target["name"]))
    head = element("header", title, badge(verdicts.of_target(target)))
    return element("section", head, *_content(report, target), id=_anchor(index))


def _anchor(index: int) -> str:
    return f"target-{index}"


def _content(report: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[ET.Element]:
    if report["source"]["format"]:  # else the run ended before it was recognised
        yield pictures(report, target)
    error = verdicts.error_beyond_outputs(target)
    if error:
        yield told_error(error)
    made = list(_facts(target))
    if made:
        yield facts(made)
    steps = target["steps"]
    for index, step in enumerate(steps, 1):
        if step["parity"] is not None:
            yield from _parity(step, last=index == len(steps))
    if steps and not verdicts.is_comparison(target):
        yield element("h3", "Steps")
        yield _steps(steps)
        if len(steps) > 1:
            times = shares([step["seconds"] for step in steps])
            yield bars("Time of the steps", ("step", "time"), [
                Bar(verdicts.step_name(step["converter"]), share, numbers.seconds(step["seconds"]))
                for step, share in zip(steps, times, strict=True)
            ])  # fmt: skip


def _facts(target: Mapping[str, Any]) -> Iterator[tuple[str, Child]]:
    if target["sha256"]:
        yield "file", code(target["path"])
        yield "size", numbers.size(target["bytes"])
        yield "sha256", code(target["sha256"])
    if target.get("published"):
        yield "published", [verdicts.published(target), ", in ", code(target["published"]["repository"])]
        for warning in target["published"].get("warnings", ()):
            yield "warning", warning
    if target.get("not_published"):
        yield "not published", target["not_published"]


def _parity(step: Mapping[str, Any], *, last: bool) -> Iterator[ET.Element]:
    parity, verdict = step["parity"], verdicts.of_parity(step["parity"])
    name = verdicts.step_name(step["converter"])
    title = "Parity" if name == "verify" else f"Parity after {name}"
    if last or verdict == "failed":
        yield element("h3", f"{title}: {verdict}")
        yield from comparison(parity)
    else:  # the result's own comparison is what counts; those on the way are there for who asks
        yield folded([element("h3", title), badge(verdict)], *comparison(parity))


def _steps(steps: Sequence[Mapping[str, Any]]) -> ET.Element:
    rows = []
    for step in steps:
        options = [
            [element("br") if index else None, code(f"{name}={_value(value)}")]
            for index, (name, value) in enumerate(step["options"].items())
        ]
        rows.append([
            code(step["converter"]),
            options or numbers.NONE,
            numbers.seconds(step["seconds"]),
            numbers.mebibytes(step["peak_rss_bytes"]),
            "yes" if step["cached"] else "no",
            badge(verdicts.of_parity(step["parity"])),
        ])  # fmt: skip
    heads = ["step", "options", "time", "peak memory", "cached", "parity"]
    return table("Each ran in a process of its own; the time of a cached one is that of its making", heads, rows,
                 right=(2, 3))  # fmt: skip


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
