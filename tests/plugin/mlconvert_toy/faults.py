"""Steps that go wrong, each in its own way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from mlconvert import progress
from mlconvert.artifact import Artifact


def copy(source: Artifact, target: Path, *, delay: float = 0.0) -> Artifact:
    """The one that works."""
    time.sleep(delay)
    target.write_bytes(source.path.read_bytes())
    return Artifact("toy", str(target), (target,))


def crash(source: Artifact, target: Path) -> Artifact:
    sys.stderr.write("about to abort\n")
    os.abort()


def hang(source: Artifact, target: Path | None = None, *, pid_file: str = "") -> Artifact:
    """Writes its own process id, then waits."""
    if target is not None:
        target.write_text("half of a model")
    if pid_file:
        _write_pid(pid_file, os.getpid())
    time.sleep(60)
    raise AssertionError("nobody ended this process")


def hoard(source: Artifact, target: Path, *, mebibytes: int = 256) -> Artifact:
    held = bytearray(mebibytes << 20)
    held[:: 1 << 12] = b"x" * len(held[:: 1 << 12])
    time.sleep(60)
    raise AssertionError("nobody ended this process")


def chatter(source: Artifact, target: Path) -> Artifact:
    print("said on stdout")
    sys.stderr.write("said on stderr\n")
    subprocess.run([sys.executable, "-c", "print('said by a child')"], check=True)
    return copy(source, target)


def litter(source: Artifact, target: Path, *, pid_file: str, fail: bool = False) -> Artifact:
    """Starts a process and does not wait for it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    _write_pid(pid_file, child.pid)
    child.returncode = 0  # nothing to warn of
    if fail:
        os.abort()
    return copy(source, target)


def killed(source: Artifact, target: Path) -> Artifact:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("cannot be")


def disk_full(source: Artifact, target: Path) -> Artifact:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


def raises(source: Artifact, target: Path, *, message: str = "weights are negative", times: int = 1) -> Artifact:
    raise ValueError(f"{message * times}\nand a second line")


def leaves(source: Artifact, target: Path, *, status: int = 3) -> Artifact:
    """Ends the process without a word."""
    os._exit(status)


def tells(source: Artifact, target: Path, *, delay: float = 0.6) -> Artifact:
    """Says how far it has come; not in vain if nobody ends it."""
    progress.report(0.25, "half of the first half \x1b[31m\n")
    time.sleep(delay)
    progress.report(0.75, "the second half")
    time.sleep(delay)
    return copy(source, target)


def _write_pid(file: str, pid: int) -> None:
    part = Path(f"{file}.part")
    part.write_text(str(pid))
    part.rename(file)
