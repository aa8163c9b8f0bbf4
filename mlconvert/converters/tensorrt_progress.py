"""How far a build is, from the phases that TensorRT tells of.

A phase has steps, and within a step may lie phases with steps of their own. They come from several threads; a name is
one phase's at a time (NVIDIA's description of IProgressMonitor). Nothing here talks to TensorRT.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass
class _Phase:
    name: str
    steps: int
    done: int = 0
    most: float = 0.0  # the largest share that was told: a phase within that ends must not take it back
    within: dict[str, _Phase] = field(default_factory=dict)

    def share(self) -> float:
        inner = max((phase.share() for phase in self.within.values()), default=0.0)
        self.most = max(self.most, min(1.0, (self.done + inner) / max(1, self.steps)))
        return self.most

    def innermost(self) -> str:
        return list(self.within.values())[-1].innermost() if self.within else self.name


class Phases:
    """The phases that are under way."""

    def __init__(self) -> None:
        self._whole = _Phase("", 1)  # of which the outermost phases are within
        self._open: dict[str, tuple[_Phase, _Phase]] = {}  # name -> it, and what it is within
        self._lock = threading.Lock()

    def start(self, name: str, parent: str | None, steps: int) -> None:
        with self._lock:
            outer = self._open[parent][0] if parent in self._open else self._whole
            phase = _Phase(name, steps)
            outer.within[name] = phase
            self._open[name] = phase, outer

    def complete(self, name: str, step: int) -> None:
        with self._lock:
            if name in self._open:
                phase = self._open[name][0]
                phase.done = max(phase.done, step + 1)

    def finish(self, name: str) -> None:
        with self._lock:
            if name in self._open:
                phase, outer = self._open.pop(name)
                if outer.within.get(name) is phase:
                    del outer.within[name]

    def how_far(self) -> tuple[float | None, str]:
        """The share of the outermost phase that began last, and its name with that of the innermost within it."""
        with self._lock:
            if not self._whole.within:
                return None, ""
            outermost = list(self._whole.within.values())[-1]
            inner = outermost.innermost()
            note = outermost.name if inner == outermost.name else f"{outermost.name}: {inner}"
            return outermost.share(), note
