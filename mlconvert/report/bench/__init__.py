"""Benchmarks as files: JSON, Markdown, an SVG of bars, and HTML.

A report is a mapping with the keys that `schema.json` beside this module publishes (`mlconvert.bench/1`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlconvert.errors import UsageError
from mlconvert.report import to_json, write_report, write_text

SCHEMA = Path(__file__).with_name("schema.json")
SUFFIXES = (".json", ".md", ".svg", ".html")


def check_path(path: Path) -> None:
    """Raise UsageError unless a benchmark can be written there: to be called before it, not after it."""
    suffix, known = path.suffix.lower(), ", ".join(SUFFIXES)
    if suffix == ".png":
        what = "a picture is written as SVG, which browsers show and GitHub too"
        raise UsageError(what, where=str(path), hint=f"--report {path.with_suffix('.svg')}")
    if suffix not in SUFFIXES:
        what = f"a benchmark is not written as '{path.suffix}'" if suffix else "a report's file needs a suffix"
        raise UsageError(what, where=str(path), hint=f"choose {known}")
    if path.is_dir():
        raise UsageError("a folder is where the report should go", where=str(path), hint="name another file")


def write(report: Mapping[str, Any], path: Path) -> None:
    """Write the benchmark in the format of the path's suffix; the file appears whole or not at all.

    Raises UsageError for another suffix and for a place that cannot be written, OutOfResources for a full disk.
    """
    check_path(path)
    suffix = path.suffix.lower()
    if suffix == ".html":
        write_report(report, path)
        return
    write_text(_text(report, suffix), path)


def _text(report: Mapping[str, Any], suffix: str) -> str:
    if suffix == ".md":
        from mlconvert.report.bench import markdown

        return markdown.render(report)
    if suffix == ".svg":
        from mlconvert.report.bench import svg

        return svg.render(report)
    return to_json(report)
