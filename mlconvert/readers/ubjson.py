"""Universal Binary JSON, as XGBoost writes it: what JSON says, with arrays of numbers as they lie in memory.

The format: https://ubjson.org. Of its optional parts, XGBoost writes the counts of arrays and their common type
(`src/common/json.cc`, `UBJWriter`), never those of objects, so objects with a count are refused.
"""

from __future__ import annotations

import struct
from typing import Any

DEPTH = 64  # XGBoost's models are nested 6 deep; a file of nothing but '[' must not end Python

_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_FORMATS = {b"i": ">b", b"U": ">B", b"I": ">h", b"l": ">i", b"L": ">q", b"d": ">f", b"D": ">d"}
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}


def read_ubjson(data: bytes) -> Any:
    """The value that `data` holds: dictionaries, lists, strings, numbers, and numpy arrays where an array has a type.

    Raises ValueError for anything that is cut off, nested too deep or not UBJSON.
    """
    value, end = _value(data, _marker(data, 0), 1, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes follow the end of the UBJSON value")
    return value


def _value(data: bytes, marker: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value behind a marker, and where the next one begins."""
    if marker in _FORMATS:
        return _number(data, marker, at)
    if marker in _CONSTANTS:
        return _CONSTANTS[marker], at
    if marker in (b"S", b"C"):
        size, at = _size(data, at) if marker == b"S" else (1, at)
        return _text(data, at, size), at + size
    if depth >= DEPTH:
        raise ValueError(f"the UBJSON is nested more than {DEPTH} deep")
    if marker == b"{":
        return _object(data, at, depth + 1)
    if marker == b"[":
        return _array(data, at, depth + 1)
    raise ValueError(f"{marker!r} at byte {at - 1} is no marker of UBJSON")


def _object(data: bytes, at: int, depth: int) -> tuple[dict[str, Any], int]:
    members: dict[str, Any] = {}
    while _marker(data, at) != b"}":
        size, at = _size(data, at)
        name, at = _text(data, at, size), at + size
        members[name], at = _value(data, _marker(data, at), at + 1, depth)
    return members, at + 1


def _array(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    kind = b""
    if _marker(data, at) == b"$":
        kind, at = _marker(data, at + 1), at + 2
    if _marker(data, at) == b"#":
        count, at = _size(data, at + 1)
        if kind:
            return _numbers(data, kind, count, at)
        if count > len(data) - at:  # each takes a byte at least
            raise ValueError(f"the UBJSON is cut off in an array of {count} values")
        items = []
        for _ in range(count):
            item, at = _value(data, _marker(data, at), at + 1, depth)
            items.append(item)
        return items, at
    if kind:
        raise ValueError("a UBJSON array has a type and no count")
    items = []
    while _marker(data, at) != b"]":
        item, at = _value(data, _marker(data, at), at + 1, depth)
        items.append(item)
    return items, at + 1


def _numbers(data: bytes, kind: bytes, count: int, at: int) -> tuple[Any, int]:
    import numpy as np

    if kind not in _NUMBERS:
        raise ValueError(f"a UBJSON array has the type {kind!r}, which is no number's")
    dtype = np.dtype(_NUMBERS[kind])
    end = at + count * dtype.itemsize
    if end > len(data):
        raise ValueError(f"the UBJSON is cut off in an array of {count} numbers")
    return np.frombuffer(data, dtype, count, at).astype(dtype.newbyteorder("=")), end


def _number(data: bytes, marker: bytes, at: int) -> tuple[Any, int]:
    layout = struct.Struct(_FORMATS[marker])
    try:
        (value,) = layout.unpack_from(data, at)
    except struct.error as error:
        raise ValueError("the UBJSON is cut off in a number") from error
    return value, at + layout.size


def _size(data: bytes, at: int) -> tuple[int, int]:
    marker = _marker(data, at)
    if marker not in _FORMATS or marker in b"dD":
        raise ValueError(f"{marker!r} at byte {at} is no marker of a size in UBJSON")
    size, at = _number(data, marker, at + 1)
    if size < 0:
        raise ValueError(f"a UBJSON value of {size} bytes or items")
    return size, at


def _text(data: bytes, at: int, size: int) -> str:
    if at + size > len(data):
        raise ValueError("the UBJSON is cut off in a string")
    return data[at : at + size].decode("utf-8")


def _marker(data: bytes, at: int) -> bytes:
    if at >= len(data):
        raise ValueError("the UBJSON is cut off")
    return data[at : at + 1]
