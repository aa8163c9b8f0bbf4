"""The findings of `lint` as files: JSON, and JUnit XML with a suite for each model and a case for each finding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from mlconvert.errors import UsageError
from mlconvert.report import check_report_path, junit, to_json, write_text

SUFFIXES = (".json", ".xml")


def check_path(path: Path) -> None:
    """Raise UsageError unless findings can be written there."""
    check_report_path(path)
    if path.suffix.lower() not in SUFFIXES:
        what = f"findings are not written as {path.suffix}"
        raise UsageError(what, where=str(path), hint=f"choose {' or '.join(SUFFIXES)}")


def write(report: Mapping[str, Any], path: Path) -> None:
    """Write the findings in the format of the path's suffix.

    Raises UsageError for another suffix and for a place that cannot be written, OutOfResources for a full disk.
    """
    check_path(path)
    write_text(render(report) if path.suffix.lower() == ".xml" else to_json(report), path)


def render(report: Mapping[str, Any]) -> str:
    """The XML document: errors are failures, what could not be checked is an error, warnings are passes with a text."""
    names = [model["name"] for model in report["models"]]
    suites = [(name, list(_cases(report, name))) for name in (None, *names)]
    every = [case for _, cases in suites for case in cases]
    root = ET.Element("testsuites", {"name": "mlconvert lint", **junit.totals(every, 0.0)})
    for name, cases in suites:
        if cases:
            suite = ET.SubElement(root, "testsuite", {"name": name or report["repository"], **junit.totals(cases, 0.0)})
            for case in cases:
                junit.add_case(suite, f"mlconvert.lint.{name or 'repository'}", case)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _cases(report: Mapping[str, Any], name: str | None) -> Iterator[junit.Case]:
    kinds: dict[str, junit.Kind | None] = {"error": "failure", "unchecked": "error", "warning": None}
    found = [one for one in report["findings"] if one["model"] == name]
    for one in found:
        told = " ".join(part for part in (one["file"], one["field"]) if part)
        text = f"{told}\nfix: {one['fix']}"
        yield junit.Case(
            f"{one['code']} {told}", kind=kinds[one["level"]], type=one["code"], message=one["message"], text=text
        )
    if not found and name is not None:
        yield junit.Case("nothing found")
