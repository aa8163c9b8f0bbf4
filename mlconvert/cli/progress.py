"""Progress on stderr: a live line per running step on a terminal, plain lines elsewhere."""

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


def _name(target: str, step: str, width: int) -> str:
    return f"{target:<{width}} {step:<22}" if width else f"{step:<22}"


def _line(event: Event, width: int) -> str:
    name = _name(event.target, event.step, width)
    if event.kind == "start":
        return f"  {name} …"
    if event.kind == "failed":
        return f"✗ {name} {event.note.partition(chr(10))[0]}"
    if event.cached:
        return f"✓ {name} cached"
    memory = numbers.mebibytes(event.peak_rss_bytes) if event.peak_rss_bytes else ""
    return f"✓ {name} {numbers.seconds(event.seconds):>9} {memory:>10} {event.note}".rstrip()


@contextlib.contextmanager
def progress(targets: list[str]) -> Iterator[Observer]:
    """An observer that shows what a run does, each step with its time and peak memory."""
    width = max(len(name) for name in targets) if len(targets) > 1 else 0  # a single one needs no naming
    if not sys.stderr.isatty():

        def plain(event: Event) -> None:
            sys.stderr.write(_line(event, width) + "\n")
            sys.stderr.flush()

        yield plain
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
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        from rich.text import Text

        with self._lock:
            if event.kind == "start":
                self._started[event.target, event.step] = time.monotonic()
                return
            self._started.pop((event.target, event.step), None)
        style = "red" if event.kind == "failed" else "dim" if event.cached else ""
        if self.live is not None:
            self.live.console.print(Text(_line(event, self.width), style), overflow="ellipsis", no_wrap=True)

    def __rich__(self) -> Table:
        from rich.spinner import Spinner
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        with self._lock:
            running = list(self._started.items())
        for (target, step), started in running:
            text = Text(f"{_name(target, step, self.width)} {numbers.seconds(time.monotonic() - started):>9}")
            table.add_row(Spinner("dots"), text)
        return table
