"""A report as one HTML file, for people: to be opened anywhere, mailed, kept as an artifact of CI.

It loads nothing and runs no script; it is laid out for a phone and for a wide screen, in light and in dark, and says
in words whatever it shows in colours or pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

from mlconvert.report import numbers, verdicts
from mlconvert.report.html import bench
from mlconvert.report.html.elements import Child, element
from mlconvert.report.html.page import footer, page, part, surroundings
from mlconvert.report.html.parts import badge, code, facts
from mlconvert.report.html.targets import section, sizes, summary


def render(report: Mapping[str, Any]) -> str:
    """The whole document of a report or of a bench, with a line feed at its end."""
    if report["schema"] == bench.SCHEMA:
        return bench.render(report)
    targets = report["targets"]
    return page(
        f"{report['source']['path']}: {verdicts.headline(report)} - mlconvert",
        _head(report),
        summary(report) if len(targets) > 1 else None,
        [section(report, target, index) for index, target in enumerate(targets, 1)],
        _sizes(report),
        surroundings(report),
        footer(report),
    )


def _head(report: Mapping[str, Any]) -> ET.Element:
    source = report["source"]
    rows: list[tuple[str, Child]] = [("source", [code(source["path"]), f" ({source['format'] or 'not recognised'})"])]
    if source["sha256"]:
        rows.append(("sha256", code(source["sha256"])))
    rows.append(("time", numbers.seconds(report["seconds"])))
    title = element("h1", "mlconvert ", badge(verdicts.of_report(report), verdicts.headline(report)))
    return element("header", title, facts(rows), class_="head")


def _sizes(report: Mapping[str, Any]) -> ET.Element | None:
    drawn = sizes(report)
    return None if drawn is None else part("Size", drawn)
