"""Servers as processes of our own: on free ports of loopback, ended with us, and stopped with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

LOOPBACK = "127.0.0.1"
ATTEMPTS = 5  # at ports that another process took between our choice and the server's start
LINES = 12  # of a log that are shown

# Asks Linux to end the server when we end, however that happens, and becomes the server. SIGTERM: it then cleans up
# after itself. What it asks for would come when the *thread* that started it ends, so that thread must stay.
_LAUNCH = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def start(command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """The program, started; what it says goes into `log`. What it starts ends with it."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # what it starts is of its group, and a Ctrl-C at the terminal is ours alone
        )
    threading.Thread(target=_end_group_with, args=(process,), daemon=True).start()
    return process


def stop(process: subprocess.Popen[bytes], *, seconds: float) -> None:
    """End the server, within `seconds` by itself, and what it started."""
    try:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
    finally:  # a second Ctrl-C must not leave the server running
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # the server, if it would not end, and what it started
        process.wait()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now, all different."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in held:
            one.bind((LOOPBACK, 0))
        return [one.getsockname()[1] for one in held]


def tail(text: str) -> str:
    """The last lines of a log."""
    return "\n".join(text.strip().splitlines()[-LINES:])


def _end_group_with(process: subprocess.Popen[bytes]) -> None:
    """Wait for the server, and end what it started with it: its sockets are held, and clients would wait for ever."""
    process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
