"""Every error a user can meet, and the exit code it ends with.

    MlconvertError        1   a bug in mlconvert (raised bare only for "this cannot happen")
    ├─ UsageError         2   an unknown format, option or file; a recipe that does not validate
    ├─ MissingPackage     3   a package or program is not installed
    ├─ ConversionFailed   4   a model could not be read or converted
    ├─ ParityFailed       5   the converted model does not answer as the original does
    ├─ NotVerified        6   verification was asked for and could not be done
    ├─ HardwareMismatch   7   the artifact does not run on this hardware
    ├─ RepositoryInvalid  8   a repository or its configuration is invalid
    └─ OutOfResources     9   out of time, memory or disk

Errors are raised where they are found and rendered once, at the command line's edge. An error has up to
three parts: what happened (the message), `where` (a file, a step, a line) and `hint` (what mends it, a
command that can be pasted where there is one).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class MlconvertError(Exception):
    """The base of all errors; itself a bug in mlconvert."""

    exit_code = 1

    def __init__(self, message: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.report: dict[str, Any] | None = None  # of the run that failed, where there was one

    def as_json(self) -> dict[str, str | None]:
        return {"error": type(self).__name__, "message": self.message, "where": self.where, "hint": self.hint}


class UsageError(MlconvertError):
    exit_code = 2


class MissingPackage(MlconvertError):
    exit_code = 3


class ConversionFailed(MlconvertError):
    exit_code = 4


class ParityFailed(MlconvertError):
    exit_code = 5


class NotVerified(MlconvertError):
    exit_code = 6


class HardwareMismatch(MlconvertError):
    exit_code = 7


class RepositoryInvalid(MlconvertError):
    exit_code = 8


class OutOfResources(MlconvertError):
    exit_code = 9


BY_NAME: dict[str, type[MlconvertError]] = {
    cls.__name__: cls
    for cls in (
        MlconvertError,
        UsageError,
        MissingPackage,
        ConversionFailed,
        ParityFailed,
        NotVerified,
        HardwareMismatch,
        RepositoryInvalid,
        OutOfResources,
    )
}


def from_json(data: dict[str, str | None]) -> MlconvertError:
    """The error that `MlconvertError.as_json` described, as a worker process reports it to its parent."""
    cls = BY_NAME.get(data.get("error") or "", MlconvertError)
    return cls(data.get("message") or "", where=data.get("where"), hint=data.get("hint"))


def suggest(word: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest of the known words, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean '{near[0]}'?" if near else ""
