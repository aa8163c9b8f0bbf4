"""What is in a pickle, read from its opcodes: the class of the outermost object, and every name it would import.

Nothing is loaded and nothing that the pickle names is imported. This tells formats apart and tells a user what a file
would do. It is no sandbox: a pickle is loaded only when the user trusts it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlconvert.formats.pickle_dangers import is_dangerous
from mlconvert.formats.pickle_machine import CHUNK, Machine, Source, Stream

# How compressed files begin; lz4 is known, but the standard library cannot read it.
COMPRESSIONS: tuple[tuple[str, bytes], ...] = (
    ("gzip", b"\x1f\x8b"),
    ("bz2", b"BZh"),
    ("xz", b"\xfd7zXZ\x00"),
    ("lzma", b"\x5d\x00\x00"),
    ("lz4", b"\x04\x22\x4d\x18"),
    ("zlib", b"\x78\x01"),
    ("zlib", b"\x78\x5e"),
    ("zlib", b"\x78\x9c"),
    ("zlib", b"\x78\xda"),
)

# An object's class, or a list or dictionary put into the memo: how a pickle of protocol 0 or 1 begins.
_OLD_PROTOCOLS = re.compile(rb"(?:\(?c|\(i)[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\([dl]p\d+\n|[\]}]q\x00")


@dataclass(frozen=True)
class PickleSummary:
    """What a pickle holds. `outermost` and `globals` are dotted names, `globals` in the order they are met.

    `complete` is false when the end was not reached: the file is truncated, damaged, or holds what the machine cannot
    follow; then `globals` and `dangerous` say what was met before that.
    """

    outermost: str | None
    globals: tuple[str, ...]
    dangerous: tuple[str, ...]
    complete: bool
    protocol: int
    compression: str | None = None


def compression_of(head: bytes) -> str | None:
    """The compression whose magic number the first bytes are, or None."""
    return next((name for name, magic in COMPRESSIONS if head.startswith(magic)), None)


def starts_like_pickle(head: bytes) -> bool:
    """True for the first bytes of a pickle: protocol 2 and later by their mark, 0 and 1 by how objects begin there."""
    if len(head) >= 2 and head[0] == 0x80:
        return 2 <= head[1] <= 5
    return _OLD_PROTOCOLS.match(head) is not None


def read_pickle(path: Path) -> PickleSummary:
    """All that the pickle or joblib file at `path` names, compressed or not; raises OSError only."""
    with path.open("rb") as raw:
        head = raw.read(8)
        raw.seek(0)
        compression = compression_of(head)
        return summarise(_decompressed(raw, compression), compression=compression)


def outermost_class(path: Path) -> str | None:
    """The dotted name of the outermost object's class, without reading further than needed; None when there is none."""
    with path.open("rb") as raw:
        head = raw.read(8)
        raw.seek(0)
        return summarise(_decompressed(raw, compression_of(head)), outermost_only=True).outermost


def summarise(
    stream: Source, *, compression: str | None = None, outermost_only: bool = False, pickles: int = 1
) -> PickleSummary:
    """The summary of the pickle that starts at the stream's position.

    `outermost_only` stops as soon as the outermost object's class is known (`complete` is then false). `pickles` reads
    that many pickles, one after another as torch's old files hold them, and gives the last one's class.
    """
    machine = Machine(Stream(stream))
    complete, outermost = False, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of escapes that are none, in damaged text
            for _ in range(pickles):
                complete = machine.run(outermost_only=outermost_only)
                outermost = machine.outermost()
                if not complete:
                    break
                machine.restart()
    # What opcodes read from damaged bytes can raise; the decompressors add their own.
    except (ValueError, IndexError, KeyError, TypeError, EOFError, OSError, OverflowError, zlib.error, lzma.LZMAError):
        complete, outermost = False, machine.outermost()
    names = tuple(machine.globals)
    return PickleSummary(
        outermost=outermost,
        globals=names,
        dangerous=tuple(name for name in names if is_dangerous(name)),
        complete=complete,
        protocol=machine.protocol,
        compression=compression,
    )


# --- reading ---


class _ZlibFile:
    """A zlib stream to read from; the standard library has files for the other compressions only."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._inflater = zlib.decompressobj()
        self._ready = b""

    def _more(self) -> bool:
        if self._inflater.eof:
            return False
        data = self._inflater.unconsumed_tail or self._raw.read(CHUNK)
        if not data:
            return False
        self._ready += self._inflater.decompress(data, CHUNK)
        return True

    def read(self, size: int, /) -> bytes:
        while len(self._ready) < size and self._more():
            pass
        part, self._ready = self._ready[:size], self._ready[size:]
        return part

    def readline(self, size: int = -1, /) -> bytes:  # noqa: ARG002 - part of the contract, pickletools gives none
        while b"\n" not in self._ready and self._more():
            pass
        return self.read(self._ready.find(b"\n") + 1 or len(self._ready))


def _decompressed(raw: IO[bytes], compression: str | None) -> Source:
    if compression == "gzip":
        return gzip.open(raw)
    if compression == "bz2":
        return bz2.open(raw)
    if compression in ("xz", "lzma"):
        return lzma.open(raw)
    if compression == "zlib":
        return _ZlibFile(raw)
    return raw
