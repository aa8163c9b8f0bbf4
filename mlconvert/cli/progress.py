"""Progress on stderr: a live line per running step on a terminal, plain lines elsewhere.

Steps that tell how far they have come (mlconvert.progress) are shown with it.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlconvert.report import numbers

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from mlconvert.execution.cached_jobs import Event, Observer


PLAIN_SECONDS = 10.0  # between two lines about how far a step has come, where they stay


def _name(target: str, step: str, width: int) -> str:
    return f"{target:<{width}} {step:<22}" if width else f"{step:<22}"


def _line(event: Event, width: int) -> str:
    name = _name(event.target, event.step, width)
    if event.kind == "start":
        return f"  {name} …"
    if event.kind == "progress":
        return f"  {name} {_how_far(event)}"
    if event.kind == "failed":
        return f"✗ {name} {event.note.partition(chr(10))[0]}"
    if event.cached:
        return f"✓ {name} cached"
    memory = numbers.mebibytes(event.peak_rss_bytes) if event.peak_rss_bytes else ""
    return f"✓ {name} {numbers.seconds(event.seconds):>9} {memory:>10} {event.note}".rstrip()


def _how_far(event: Event) -> str:
    """`37 % Tactic Profiling`."""
    share = "" if event.fraction is None else f"{event.fraction:4.0%}".replace("%", " %")
    return f"{share} {event.note}".rstrip()


class _Plain:
    """Lines that stay: of how far a step has come, few."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._due: dict[tuple[str, str], float] = {}

    def tell(self, event: Event) -> None:
        step, now = (event.target, event.step), time.monotonic()
        if event.kind == "progress" and now < self._due.get(step, 0.0):
            return
        self._due[step] = now + PLAIN_SECONDS
        sys.stderr.write(_line(event, self.width) + "\n")
        sys.stderr.flush()


@contextlib.contextmanager
def progress(targets: list[str]) -> Iterator[Observer]:
    """An observer that shows what a run does, each step with its time and peak memory."""
    width = max(len(name) for name in targets) if len(targets) > 1 else 0  # a single one needs no naming
    if not sys.stderr.isatty():
        yield _Plain(width).tell
        return
    from rich.console import Console
    from rich.live import Live

    shown = _Running(width)
    with Live(shown, console=Console(stderr=True, highlight=False), refresh_per_second=8, transient=True) as live:
        shown.live = live
        yield shown.tell


class _Running:
    """The steps under way, as a table that is drawn anew as their time passes."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.live: Live | None = None
        self._started: dict[tuple[str, str], float] = {}
        self._told: dict[tuple[str, str], str] = {}  # how far
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        from rich.text import Text

        with self._lock:
            if event.kind == "start":
                self._started[event.target, event.step] = time.monotonic()
                return
            if event.kind == "progress":
                self._told[event.target, event.step] = _how_far(event)
                return
            self._started.pop((event.target, event.step), None)
            self._told.pop((event.target, event.step), None)
        style = "red" if event.kind == "failed" else "dim" if event.cached else ""
        if self.live is not None:
            self.live.console.print(Text(_line(event, self.width), style), overflow="ellipsis", no_wrap=True)

    def __rich__(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        with self._lock:
            running = [(*step, started, self._told.get(step, "")) for step, started in self._started.items()]
        for target, step, started, how_far in running:
            took = numbers.seconds(time.monotonic() - started)
            text = f"{_name(target, step, self.width)} {took:>9} {how_far}".rstrip()
            table.add_row(Spinner("dots"), Text(text, overflow="ellipsis", no_wrap=True))
        return table
