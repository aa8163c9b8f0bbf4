"""Lines on stderr, as TensorFlow writes its own."""

from __future__ import annotations

import sys
import threading
from datetime import datetime

_LOCK = threading.Lock()


def info(message: str) -> None:
    _write("I", message)


def warning(message: str) -> None:
    _write("W", message)


def error(message: str) -> None:
    _write("E", message)


def _write(level: str, message: str) -> None:
    now = datetime.now().astimezone().replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    with _LOCK:
        sys.stderr.write(f"{now}: {level} mlconvert/double] {message}\n")
        sys.stderr.flush()
