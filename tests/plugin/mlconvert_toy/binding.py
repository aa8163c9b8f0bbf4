"""A step whose result is, by its row, bound to the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path

from mlconvert.artifact import Artifact


def stamp(source: Artifact, target: Path, *, mark: int = 0, delay: float = 0.0, crash_once: str = "") -> Artifact:
    """The model with a mark. `crash_once`: a file; while it is not there, the process that waits for us is ended."""
    time.sleep(delay)
    if crash_once and not Path(crash_once).exists():
        Path(crash_once).touch()
        os.kill(os.getppid(), 9)
        time.sleep(60)
    target.write_text(f"{source.path.read_text()}{mark}\n")
    return Artifact("toy", str(target), (target,))
