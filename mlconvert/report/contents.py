"""The parts of a report (schema `mlconvert.report/1`) that several commands make alike."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mlconvert import packages
from mlconvert.artifact import Artifact
from mlconvert.converter import Converter, Runner
from mlconvert.errors import MlconvertError
from mlconvert.java import release_of
from mlconvert.version import __version__

SCHEMA = "mlconvert.report/1"


def report_of(
    source: Artifact,
    sha256: str,
    targets: Sequence[dict[str, Any]],
    rows: Iterable[Converter | Runner],
    seconds: float,
) -> dict[str, Any]:
    """A whole report. Each target's entry carries its `exit_code`, and may carry the `fingerprint` of the machine that
    its result is bound to: the report has those of the first that failed, and of the first that is bound.
    """
    codes = [entry.pop("exit_code") for entry in targets]
    machines = [entry.pop("fingerprint", None) for entry in targets]
    return {
        "schema": SCHEMA,
        "ok": not any(codes),
        "exit_code": next((code for code in codes if code), 0),
        "source": {**source_of(source, sha256), "bytes": _bytes(source)},
        "targets": list(targets),
        "environment": environment(rows),
        "fingerprint": next((machine for machine in machines if machine), None),
        "seconds": seconds,
    }


def failed_report(location: str, error: MlconvertError) -> dict[str, Any]:
    """The report of a run that ended before its first step, so that whoever waits for one finds it."""
    entry: dict[str, Any] = {
        "name": "plan",
        "path": None,
        "format": None,
        "sha256": None,
        "bytes": None,
        "ok": False,
        "exit_code": error.exit_code,
        "steps": [],
        "error": error.as_json(),
    }
    report = report_of(Artifact("", location, ()), "", [entry], (), 0.0)
    return {**report, "source": {"path": shown(location), "format": None, "sha256": None}}


def source_of(source: Artifact, sha256: str) -> dict[str, Any]:
    return {"path": shown(source.location), "format": source.format, "sha256": sha256}


def _bytes(source: Artifact) -> int | None:
    """Of all its files; None for a factory, and for a file that is gone by now."""
    try:
        return sum(path.stat().st_size for path in source.files) if source.files else None
    except OSError:
        return None


def shown(location: str | Path) -> str:
    """A path as a person would write it: relative when it lies below the current folder. Factories keep their name."""
    return str(location).removeprefix(f"{Path.cwd()}{os.sep}")


def environment(rows: Iterable[Converter | Runner]) -> dict[str, Any]:
    """The Python, the platform and the versions of what those that took part need: packages, and Java."""
    taken = list(rows)
    told = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"mlconvert": __version__, **packages.versions({need for row in taken for need in row.packages})},
    }
    java = max((row.java for row in taken), default=0)
    return {**told, "java": release_of(java)} if java else told
