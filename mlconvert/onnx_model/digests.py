"""Files that are hashed while they are written, so that nobody has to read gigabytes again for it."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

ASIDE = 1 << 20  # bytes; less than that is hashed where it is written

_Identity = tuple[int, int, int, int]
_known: dict[_Identity, str] = {}


class HashedFile:
    """A new file; `known_sha256` knows its SHA-256 once it is complete. Large chunks are hashed beside the writing."""

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb", buffering=0)
        self._sha256 = hashlib.sha256()
        self._pool = ThreadPoolExecutor(1)
        self.written = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown()
        with self._stream:
            if kind is None:
                _known[_identity(os.fstat(self._stream.fileno()))] = self._sha256.hexdigest()

    def write(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        aside = self._pool.submit(self._sha256.update, view) if len(view) >= ASIDE else None
        at = 0
        while at < len(view):  # the system may take less than all
            at += self._stream.write(view[at:]) or 0
        if aside is None:
            self._sha256.update(view)
        else:
            aside.result()
        self.written += len(view)


def known_sha256(path: Path) -> str | None:
    """The SHA-256 of a file that this process wrote as a `HashedFile`, wherever it was renamed to, if unchanged."""
    return _known.get(_identity(path.stat()))


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
