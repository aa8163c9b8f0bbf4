"""What a look at a model repository brings to light: one finding for each thing that a server would trip over.

An error keeps a model (or the server) from loading, or makes it answer wrongly. A warning loads, and is not meant.
`unchecked` is what was asked for and could not be looked at: never silence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

SCHEMA = "mlconvert.findings/1"

Level = Literal["error", "warning", "unchecked"]
LEVELS: tuple[Level, ...] = ("error", "unchecked", "warning")  # what ends a command worst comes first


@dataclass(frozen=True)
class Finding:
    """`code` is stable, in kebab case; `model` None: the repository as a whole; `file` is relative to the repository.

    `field` is where in the file, as a configuration spells it (`input 'x' dims`); `fix` is a command that can be
    pasted, or the exact edit.
    """

    level: Level
    code: str
    model: str | None
    file: str
    field: str | None
    message: str
    fix: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once: the repository's own first, then model by model, the worst first."""
    place = {level: number for number, level in enumerate(LEVELS)}
    return tuple(
        sorted(
            dict.fromkeys(findings),
            key=lambda one: (one.model is not None, one.model or "", place[one.level], one.file, one.field or ""),
        )
    )


WRONG_ANSWER = "wrong-answer"  # an error of a model that loads, and answers otherwise than its source


def exit_code(findings: Iterable[Finding]) -> int:
    """8: an error; 5: no other errors than wrong answers; 6: something asked for was not checked; else 0."""
    found = list(findings)
    errors = {one.code for one in found if one.level == "error"}
    if errors:
        return 5 if errors == {WRONG_ANSWER} else 8
    return 6 if any(one.level == "unchecked" for one in found) else 0
