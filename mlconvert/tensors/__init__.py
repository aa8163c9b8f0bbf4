"""A folder of tensors: what steps exchange, and what parity compares without holding it in memory.

Each tensor is a .npy file that grows batch by batch; `tensors.json` names them and is written last, so that a folder
without it is one that was not finished. bfloat16, which .npy does not know, is stored as its bits in uint16.
Nothing is ever pickled.
"""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from mlconvert.errors import ConversionFailed, MlconvertError, OutOfResources
from mlconvert.tensors.dtypes import described, dtype_name, numpy_dtype

INDEX = "tensors.json"
SCHEMA = "mlconvert.tensors/1"
HEADER = 1024  # bytes kept free for the .npy header, which is known only at the end: enough for 64 axes
PIECE = 1 << 22  # elements hashed or rewritten at a time


class TensorWriter:
    """Writes tensors batch by batch, each along its first axis.

    >>> with TensorWriter(folder) as writer:
    ...     for batch in batches:
    ...         writer.append(outputs_of(batch))

    Memory does not grow with the number of batches. When the `with` block fails the folder is left without its index.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is made where it does not exist; MlconvertError when it holds tensors already."""
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / INDEX).exists():
            raise MlconvertError("a folder of tensors is written once", where=str(folder))
        self.folder = folder
        self._tensors: dict[str, _GrowingTensor] | None = None

    def append(self, batch: Mapping[str, np.ndarray]) -> None:
        """Add rows (axis 0) to every tensor. The first batch settles names, dtypes and trailing axes.

        Raises ConversionFailed, naming the tensor, when a later batch has other tensors, another dtype or another
        trailing shape, or when a dtype is not one that models exchange; OutOfResources when the disk is full.
        """
        if self._tensors is None:
            self._tensors = {}
            for number, (name, array) in enumerate(batch.items()):
                self._tensors[name] = _GrowingTensor(name, self.folder / f"{number}.npy", array)
        for name in [*self._tensors, *batch]:
            if name not in batch or name not in self._tensors:
                state = "appeared in" if name in batch else "is missing from"
                raise ConversionFailed(f"tensor '{name}' {state} a later batch")
        for name, tensor in self._tensors.items():
            with _disk(tensor.path):
                tensor.append(batch[name])

    def close(self) -> None:
        """Write the headers and then the index."""
        tensors = self._tensors or {}
        for tensor in tensors.values():
            with _disk(tensor.path):
                tensor.finish()
        entries = [tensor.entry() for tensor in tensors.values()]
        data = {"schema": SCHEMA, "sha256": _combined(entries), "tensors": entries}
        with _disk(self.folder / INDEX):
            (self.folder / INDEX).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            for tensor in (self._tensors or {}).values():
                tensor.stream.close()


def write_tensors(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write whole tensors into a folder, each with at least one axis."""
    with TensorWriter(folder) as writer:
        if tensors:
            writer.append(tensors)


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """The tensors of a folder, memory-mapped and read-only, in the order they were written in.

    Raises ConversionFailed when the folder was not finished or a file is not what the index says.
    """
    tensors = {}
    for entry in _index(folder)["tensors"]:
        path = folder / entry["file"]
        try:
            stored = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ConversionFailed(f"tensor '{entry['name']}' cannot be read: {error}", where=str(path)) from error
        dtype = numpy_dtype(entry["dtype"])
        # A plain array over the mapping: numpy's memmap class makes every slice slow.
        array = stored.view(np.ndarray)
        if entry["dtype"] == "bfloat16" and array.dtype == np.uint16:
            array = array.view(dtype)
        if list(array.shape) != entry["shape"] or dtype_name(array.dtype) != entry["dtype"]:
            expected = f"{entry['dtype']}{entry['shape']}"
            what = f"tensor '{entry['name']}' is {described(array)} where the index says {expected}"
            raise ConversionFailed(what, where=str(path))
        tensors[entry["name"]] = array
    return tensors


def folder_sha256(folder: Path) -> str:
    """The digest that the writer put down; equal to `tensors_sha256` of the tensors that were written."""
    digest: str = _index(folder)["sha256"]
    return digest


def tensors_sha256(tensors: Mapping[str, np.ndarray]) -> str:
    """A digest of names, dtypes, shapes and values; the order of the tensors and the width of `<U…` do not count."""
    entries = []
    for name, array in tensors.items():
        dtype = _checked_dtype(name, array)
        width = _width([array]) if dtype == "string" else 0
        digest = hashlib.sha256()
        flat = array.reshape(-1)
        for start in range(0, flat.size, PIECE):
            digest.update(_bytes(_stored(flat[start : start + PIECE], width)))
        entries.append({"name": name, "dtype": dtype, "shape": list(array.shape), "sha256": digest.hexdigest()})
    return _combined(entries)


def releaser(array: np.ndarray) -> Callable[[int], None] | None:
    """What hands back the pages of a read-only memory-mapped array up to an element; None for an array in memory.

    The pages stay in the system's cache of files. Without this every page that was read counts as this process's.
    """
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    if not isinstance(base, mmap.mmap) or not hasattr(base, "madvise"):
        return None
    mapping, whole = base, np.frombuffer(base, np.uint8)
    if whole.flags.writeable:  # the pages could hold what is in no file
        return None
    offset = array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
    released = offset // mmap.PAGESIZE * mmap.PAGESIZE

    def release(stop: int) -> None:
        nonlocal released
        end = (offset + stop * array.itemsize) // mmap.PAGESIZE * mmap.PAGESIZE
        if end > released:
            mapping.madvise(mmap.MADV_DONTNEED, released, end - released)
            released = end

    return release


class _GrowingTensor:
    """One .npy file that rows are appended to; its header comes last."""

    def __init__(self, name: str, path: Path, first: np.ndarray) -> None:
        self.name, self.path, self.rows = name, path, 0
        self.dtype = _checked_dtype(name, first)
        if first.ndim == 0:
            raise ConversionFailed(f"tensor '{name}' is a single value, without an axis for the rows")
        self.trailing = first.shape[1:]
        self.digest = hashlib.sha256()
        # Strings are as wide as the longest of their batch, so that all of them must be rewritten in the end if the
        # widths differ: (number of elements, width) of each batch.
        self.pieces: list[tuple[int, int]] = []
        self.stream: BinaryIO = path.open("w+b")
        self.stream.write(bytes(HEADER))

    def append(self, array: np.ndarray) -> None:
        dtype = _checked_dtype(self.name, array)
        if dtype != self.dtype:
            raise ConversionFailed(f"tensor '{self.name}' was {self.dtype} and is {dtype} in a later batch")
        if array.ndim == 0 or array.shape[1:] != self.trailing:
            was = "".join(f", {length}" for length in self.trailing)
            raise ConversionFailed(
                f"tensor '{self.name}' had the shape [rows{was}] and is {described(array)} in a later batch"
            )
        width = _width([array]) if dtype == "string" else 0
        content = _bytes(_stored(array, width))
        self.stream.write(content)
        self.rows += array.shape[0]
        if dtype == "string":
            self.pieces.append((array.size, width))
        else:
            self.digest.update(content)

    def finish(self) -> None:
        dtype = np.dtype(np.uint16) if self.dtype == "bfloat16" else numpy_dtype(self.dtype)
        if self.dtype == "string":
            dtype = np.dtype(f"<U{max((width for _, width in self.pieces), default=1)}")
            self._rewrite_strings(dtype)
        self.stream.seek(0)
        self.stream.write(_header(dtype, (self.rows, *self.trailing)))
        self.stream.close()

    def _rewrite_strings(self, dtype: np.dtype) -> None:
        """Give every piece the same width, piece by piece into a second file, and digest them."""
        self.stream.seek(HEADER)
        wide = self.path.with_suffix(".wide")
        with wide.open("w+b") as target:
            target.write(bytes(HEADER))
            for size, width in self.pieces:
                piece = np.frombuffer(self.stream.read(size * width * 4), dtype=f"<U{width}")
                content = _bytes(piece.astype(dtype))
                target.write(content)
                self.digest.update(content)
        self.stream.close()
        wide.replace(self.path)
        self.stream = self.path.open("r+b")

    def entry(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "file": self.path.name,
            "dtype": self.dtype,
            "shape": [self.rows, *self.trailing],
            "sha256": self.digest.hexdigest(),
        }


def _checked_dtype(name: str, array: np.ndarray) -> str:
    dtype = dtype_name(array.dtype)
    if dtype is None:
        raise ConversionFailed(f"tensor '{name}' has the dtype {array.dtype}, which is none that models exchange")
    return dtype


def _width(arrays: Iterable[np.ndarray]) -> int:
    """The length of the longest string, at least 1: numpy has no strings of no width."""
    return max([1, *(int(np.strings.str_len(array).max()) for array in arrays if array.size)])


def _stored(array: np.ndarray, width: int) -> np.ndarray:
    """The array as its file holds it: little-endian, C order, bfloat16 as its bits, strings `width` wide."""
    if array.dtype.name == "bfloat16":
        return np.ascontiguousarray(array).view(np.uint16)
    dtype = np.dtype(f"<U{width}") if width else array.dtype.newbyteorder("<")
    return np.ascontiguousarray(array, dtype=dtype)


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """A .npy header, version 1.0, of exactly HEADER bytes."""
    text = f"{{'descr': {dtype.newbyteorder('<').str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    room = HEADER - 11  # magic, version, length, and the newline at the end
    assert len(text) <= room
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(room).encode("latin-1") + b"\n"


def _combined(entries: Iterable[Mapping[str, Any]]) -> str:
    keys = ("name", "dtype", "shape", "sha256")
    lines = sorted(json.dumps([entry[key] for key in keys]) for entry in entries)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _index(folder: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConversionFailed(f"no {INDEX}: these tensors were not finished", where=str(folder)) from error
    except (OSError, ValueError) as error:
        raise ConversionFailed(f"{INDEX} cannot be read: {error}", where=str(folder)) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ConversionFailed(f"{INDEX} is not a list of tensors ({SCHEMA})", where=str(folder))
    return data


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutOfResources("the disk is full", where=str(path), hint="free some space and run again") from error
