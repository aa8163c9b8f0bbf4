"""The environment of a report, as its renderings list it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlconvert.report.marks import code, optional, plain, table


def versions_of(environment: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """What took part besides Python, by name: Java where models were run in a JVM, and the packages."""
    java = [("java", environment["java"])] if "java" in environment else []
    return [*java, *environment["packages"].items()]


def markdown_table(environment: Mapping[str, Any]) -> str:
    """The versions of what took part in a run or a benchmark."""
    rows = [["python", plain(environment["python"])], ["platform", code(environment["platform"])]]
    rows += [[plain(name), optional(version, plain)] for name, version in versions_of(environment)]
    return table(["", "version"], rows)
