"""Reports: what a run made and how it was proven, as JSON, Markdown, JUnit XML and HTML.

A report is a mapping with the keys that `schema.json` publishes (`mlconvert.report/1`). The modules here only read it.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlconvert.errors import MlconvertError, OutOfResources, UsageError

SCHEMA = Path(__file__).with_name("schema.json")
SUFFIXES = (".json", ".md", ".xml", ".html")


def check_report_path(path: Path) -> None:
    """Raise UsageError unless a report can go by that name: to be called before a run, not after it."""
    suffix = path.suffix.lower()
    known = ", ".join(SUFFIXES)
    if suffix not in SUFFIXES:
        what = f"'{path.suffix}' is not the suffix of a report" if suffix else "a report's file needs a suffix"
        raise UsageError(what, where=str(path), hint=f"choose {known}")
    if path.is_dir():
        raise UsageError("a folder is where the report should go", where=str(path), hint="name another file")


def to_json(report: Mapping[str, Any]) -> str:
    """The report as strict JSON: `inf` and `nan` are no numbers there, so they must be text or null by now."""
    try:
        return json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise MlconvertError(f"the report cannot be written as JSON: {error}") from error


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write the report in the format of the path's suffix; the file appears whole or not at all.

    Folders on the way are made. Raises UsageError for another suffix and for a place that cannot be written,
    OutOfResources when the disk is full.
    """
    check_report_path(path)
    write_text(_text(report, path.suffix.lower()), path)


def write_text(text: str, path: Path) -> None:
    """Write a report's text; the file appears whole or not at all, and raises as `write_report` does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free some disk space, or write the report elsewhere"
            raise OutOfResources("no space is left to write the report", where=str(path), hint=hint) from error
        reason = error.strerror or str(error)
        raise UsageError(
            f"the report cannot be written: {reason}", where=str(path), hint="name another file"
        ) from error


def _text(report: Mapping[str, Any], suffix: str) -> str:
    if suffix == ".md":
        from mlconvert.report import markdown

        return markdown.render(report)
    if suffix == ".xml":
        from mlconvert.report import junit

        return junit.render(report)
    if suffix == ".html":
        from mlconvert.report import html

        return html.render(report)
    return to_json(report)


def _replace(path: Path, data: bytes) -> None:
    # Not tempfile: its files are readable by their owner only, whatever the umask says.
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with staged.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
