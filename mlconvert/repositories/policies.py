"""Version policies: which of the versions in a repository a server has in service. Servers have the same three."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from mlconvert.errors import UsageError


@dataclass(frozen=True)
class VersionPolicy:
    """`latest` serves the `count` highest numbers, `specific` those of `versions` that there are."""

    kind: Literal["latest", "all", "specific"]
    count: int = 1
    versions: tuple[int, ...] = ()

    def live(self, numbers: Iterable[int]) -> set[int]:
        ordered = sorted(set(numbers))
        if self.kind == "all":
            return set(ordered)
        if self.kind == "specific":
            return set(ordered) & set(self.versions)
        return set(ordered[-max(self.count, 1) :])

    def __str__(self) -> str:
        return f"specific {sorted(self.versions)}" if self.kind == "specific" else self.kind


LATEST = VersionPolicy("latest")


def parse_policy(text: str) -> VersionPolicy:
    """The policy that the option `version_policy` asks for. Raises UsageError."""
    word = text.strip().lower()
    if latest := re.fullmatch(r"latest(?:\s*:\s*([1-9][0-9]*))?", word):
        return VersionPolicy("latest", int(latest[1] or 1))
    if word == "all":
        return VersionPolicy("all")
    if re.fullmatch(r"[1-9][0-9]*(\s*,\s*[1-9][0-9]*)*", word):
        return VersionPolicy("specific", versions=tuple(sorted({int(number) for number in word.split(",")})))
    raise UsageError(f"version_policy={text!r}: expected latest, latest:N, all, or numbers of versions such as 3,5")
