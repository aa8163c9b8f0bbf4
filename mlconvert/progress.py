"""How far a job has come: told in its process, read by whoever waits for it.

A converter that knows it calls `report`; elsewhere than in a job that does nothing. The word goes through a file that
is replaced as a whole, at most `PER_SECOND` times a second, so that reporting costs nothing that counts, and a reader
never finds half of one.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

FILENAME = "progress.json"  # in the job's folder
PER_SECOND = 4
NOTE = 80  # letters of a note that are kept


@dataclass(frozen=True)
class Progress:
    """`fraction` (0 to 1, None: not known) is of what `note` names; it may begin anew with another note."""

    fraction: float | None = None
    note: str = ""


Watcher = Callable[[Progress], None]


def unwatched(progress: Progress) -> None:
    """The watcher of a caller that does not want to know."""


_file: Path | None = None
_lock = threading.Lock()
_due = 0.0


def write_to(file: Path | None) -> None:
    """Where this process's reports go from now on; None: nowhere."""
    global _file, _due
    with _lock:
        _file, _due = file, 0.0


def report(fraction: float | None = None, note: str = "") -> None:
    """Say how far this job has come. Never raises, may be called from any thread and as often as one likes."""
    global _due  # noqa: PLW0603 - a process has one job
    with _lock:
        now = time.monotonic()
        if _file is None or now < _due:
            return
        _due = now + 1 / PER_SECOND
        known = fraction is not None and math.isfinite(fraction)
        told = Progress(min(1.0, max(0.0, float(fraction or 0.0))) if known else None, _line(note))
        staged = _file.with_name(f"{_file.name}.part")
        with contextlib.suppress(OSError):  # a full disk: the job's result is to tell of it
            staged.write_text(json.dumps(asdict(told)), "utf-8")
            os.replace(staged, _file)  # noqa: PTH105


def read(file: Path) -> Progress | None:
    """The last report in a file; None where there is none, or it is not one."""
    try:
        told = json.loads(file.read_text("utf-8"))
        fraction, note = told["fraction"], told["note"]
        return Progress(None if fraction is None else min(1.0, max(0.0, float(fraction))), _line(str(note)))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _line(note: str) -> str:
    """One line of printable letters: a note may hold a name out of somebody's model."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in note).split())
    return text if len(text) <= NOTE else f"{text[: NOTE - 1]}…"


class Reader:
    """Follows a file of reports: `look` tells a watcher of each that is new, at most `PER_SECOND` times a second."""

    def __init__(self, file: Path, watch: Watcher) -> None:
        self._file, self._watch = file, watch
        self._due = 0.0
        self._last: Progress | None = None

    def look(self) -> None:
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + 1 / PER_SECOND
        told = read(self._file)
        if told is not None and told != self._last:
            self._last = told
            self._watch(told)
