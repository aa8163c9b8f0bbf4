"""The environment of a report, as its renderings list it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def versions_of(environment: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """What took part besides Python, by name: Java where models were run in a JVM, and the packages."""
    java = [("java", environment["java"])] if "java" in environment else []
    return [*java, *environment["packages"].items()]
