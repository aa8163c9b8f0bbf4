"""The header of a TensorRT plan, read without TensorRT and without a GPU.

NVIDIA does not document it. The offsets were seen on real plans of TensorRT 8.6 and 10.15 and are those that 11.1's
`trtexec` has (little endian):

     0  `ftrt` (`ptrt` before 8.6, of which nothing else is known)
     4  u32 version of the serialization
     8  u32 number of entries
    16  u64 size of the whole plan
    24  TensorRT's major, minor, patch and build number, a byte each
    28  tag of the platform
    32  entries of 24 bytes: four letters (`NGNE` engine, `THGW` weights), u32, u64 offset, u64 size

What GPU a plan is for is not to be read from it: that is in the record of what built it.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats.tensorrt import LEAST, MAGIC, OLD_MAGIC

ENTRY = struct.Struct("<4sIQQ")
MOST_ENTRIES = 4096  # a real plan has one or two; more is not worth reading
LONGEST_TEXT = 16 << 20  # of what Ultralytics writes before a plan


@dataclass(frozen=True)
class PlanEntry:
    """A part of a plan: its four letters, where it begins and how long it is."""

    tag: str
    offset: int
    size: int


@dataclass(frozen=True)
class PlanHeader:
    """What a plan says of itself. `begins` is where it starts in the file; `wrapped` is the JSON text before it.

    Of a plan that is older than TensorRT 8.6 (`magic` is `ptrt`) all but the magic is None.
    """

    magic: str
    file_bytes: int
    begins: int = 0
    wrapped: dict[str, Any] | None = None
    serialization: int | None = None
    plan_bytes: int | None = None
    tensorrt: tuple[int, int, int, int] | None = None
    platform: int | None = None
    entries: tuple[PlanEntry, ...] = ()

    @property
    def is_old(self) -> bool:
        return self.magic == OLD_MAGIC.decode()

    @property
    def version(self) -> str | None:
        """TensorRT's version as its Python package spells it."""
        return ".".join(map(str, self.tensorrt)) if self.tensorrt else None


def refitting(plan: str = "PLAN") -> str:
    """The command that puts weights into a plan that was built without them."""
    return f"mlconvert convert MODEL.onnx --to tensorrt --set tensorrt.weights_into={plan} --trust"


def read_plan(path: Path) -> PlanHeader:
    """The header of the plan in a file, whatever a server would say of it.

    Raises ConversionFailed for a file that is no plan, and for one that is cut off, has bytes behind its end or
    contradicts itself; UsageError where the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            return _read(stream, path, size)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", where=str(path)) from error


def _read(stream: BinaryIO, path: Path, size: int) -> PlanHeader:
    begins, wrapped = _before(stream, size)
    stream.seek(begins)
    head = stream.read(LEAST)
    length = size - begins
    if head[:4] not in (MAGIC, OLD_MAGIC):
        raise _failed(path, "this is no TensorRT plan: it does not begin as one")
    if len(head) < LEAST:
        raise _failed(path, f"the TensorRT plan is truncated: {length} bytes, and its header alone has {LEAST}")
    if head.startswith(OLD_MAGIC):
        return PlanHeader(OLD_MAGIC.decode(), size, begins, wrapped)
    serialization, count = struct.unpack_from("<II", head, 4)
    (promised,) = struct.unpack_from("<Q", head, 16)
    if promised > length:
        raise _failed(path, f"the TensorRT plan is truncated: {length} bytes of {promised}")
    if promised < length:
        raise _failed(path, f"the file has {length - promised} bytes behind the end of the TensorRT plan")
    if count > MOST_ENTRIES or LEAST + count * ENTRY.size > length:
        raise _failed(path, f"the TensorRT plan is damaged: {count} entries do not fit into {length} bytes")
    entries = tuple(_entry(row, path, length) for row in ENTRY.iter_unpack(stream.read(count * ENTRY.size)))
    major, minor, patch, build = head[24:28]
    return PlanHeader(
        magic=MAGIC.decode(),
        file_bytes=size,
        begins=begins,
        wrapped=wrapped,
        serialization=serialization,
        plan_bytes=promised,
        tensorrt=(major, minor, patch, build),
        platform=head[28],
        entries=entries,
    )


def _entry(row: tuple[bytes, int, int, int], path: Path, length: int) -> PlanEntry:
    tag, _, offset, size = row
    if offset + size > length:
        raise _failed(path, f"the TensorRT plan is damaged: a part ends at {offset + size}, behind its {length} bytes")
    return PlanEntry(tag.decode("latin-1"), offset, size)


def _before(stream: BinaryIO, size: int) -> tuple[int, dict[str, Any] | None]:
    """How long the JSON text is that Ultralytics writes before a plan, with its u32 length; and what it says."""
    head = stream.read(5)
    length = int.from_bytes(head[:4], "little")
    if head[:4] in (MAGIC, OLD_MAGIC) or head[4:5] != b"{" or not 0 < length <= min(LONGEST_TEXT, size - 4):
        return 0, None
    stream.seek(4)
    try:
        told = json.loads(stream.read(length))
    except (ValueError, RecursionError):
        return 0, None
    return (4 + length, told) if isinstance(told, dict) else (0, None)


def _failed(path: Path, what: str) -> ConversionFailed:
    return ConversionFailed(what, where=str(path), hint="copy the file again, or build the engine again")
