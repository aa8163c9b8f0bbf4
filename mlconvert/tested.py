"""The version ranges that mlconvert is tested with: those of its own metadata, so that they are written once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata

from mlconvert.packages import Package, version


@dataclass(frozen=True)
class State:
    installed: str | None
    wanted: str
    fits: bool


@cache
def _ranges() -> dict[str, str]:
    """Distribution -> version specifier, from the requirements of the installed mlconvert."""
    ranges = {}
    lines: Sequence[str]
    try:
        lines = metadata.requires("mlconvert") or ()
    except metadata.PackageNotFoundError:  # run from its sources
        lines = ()
    for line in lines:
        found = re.match(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*([^;]*)", line)
        if found and found[1].lower() != "mlconvert":
            ranges[found[1].lower()] = found[2].strip()
    return ranges


def state_of(package: Package) -> State:
    """The installed version of a package beside the range that is tested."""
    from packaging.specifiers import SpecifierSet

    wanted = next((_ranges()[name] for name in package.distributions if name in _ranges()), "")
    number = version(package)
    return State(number, wanted, number is not None and SpecifierSet(wanted).contains(number, prereleases=True))
