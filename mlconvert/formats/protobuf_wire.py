"""Protobuf's wire format, walked by hand: what an ONNX file is and where its weights lie, without importing onnx.

A message is a row of (field number, wire type, value); a nested message is bytes with a length, so everything that is
not asked about is stepped over and a file of gigabytes costs as much as its number of nodes. Field numbers are those of
onnx.proto, which may not change.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, overload

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

# ModelProto: field number -> wire type.
_MODEL_FIELDS = {
    1: VARINT,  # ir_version
    2: LENGTH,  # producer_name
    3: LENGTH,  # producer_version
    4: LENGTH,  # domain
    5: VARINT,  # model_version
    6: LENGTH,  # doc_string
    7: LENGTH,  # graph
    8: LENGTH,  # opset_import
    14: LENGTH,  # metadata_props
    20: LENGTH,  # training_info
    25: LENGTH,  # functions
    26: LENGTH,  # configuration
}
_IR_VERSION, _GRAPH, _OPSET_IMPORT, _TRAINING_INFO, _FUNCTIONS = 1, 7, 8, 20, 25
_MAX_IR_VERSION = 1000  # far above today's 13; other protobuf files have a size or an identifier here


class WireError(ValueError):
    """The bytes are not a message: `truncated` says that a value would end after the end of its message."""

    def __init__(self, reason: str, *, field: int | None = None, truncated: bool = False) -> None:
        super().__init__(reason)
        self.field = field
        self.truncated = truncated


class Data(Protocol):
    """What a message is read from: bytes, a mapped file, or anything that is indexed like them."""

    @overload
    def __getitem__(self, at: int, /) -> int: ...

    @overload
    def __getitem__(self, at: slice, /) -> bytes: ...


class Span(NamedTuple):
    """Where the bytes of a field lie; for a varint `start` is its value. `begin` is where its key lies."""

    field: int
    wire_type: int
    start: int
    end: int
    begin: int


def varint(value: int) -> bytes:
    """A whole number >= 0 as the wire has it: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _read_varint(data: Data, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WireError("a number of more than ten bytes")
    raise WireError("the file ends inside a number", truncated=True)


def fields(data: Data, start: int, end: int) -> Iterator[Span]:
    """The fields of the message in data[start:end]. Raises WireError where the bytes are not one."""
    at = start
    while at < end:
        begin = at
        key, at = _read_varint(data, at, end)
        number, wire_type = key >> 3, key & 7
        if wire_type == VARINT:
            value, at = _read_varint(data, at, end)
            yield Span(number, wire_type, value, value, begin)
            continue
        if wire_type == LENGTH:
            size, at = _read_varint(data, at, end)
        elif wire_type in (FIXED32, FIXED64):
            size = 4 if wire_type == FIXED32 else 8
        else:
            raise WireError(f"unknown wire type {wire_type}", field=number)
        if at + size > end:
            raise WireError(f"field {number} ends {at + size - end} bytes after the end", field=number, truncated=True)
        yield Span(number, wire_type, at, at + size, begin)
        at += size


class Outline(NamedTuple):
    """What the top level of a file says: whether it is an ONNX model and, if so, what is wrong with it."""

    onnx: bool
    damage: str | None = None


def onnx_outline(path: Path, *, named_onnx: bool) -> Outline:
    """Tell whether the file is an ONNX model, and whether it is whole, from its top-level fields.

    `named_onnx` says that the file's name ends with .onnx: then a model that is cut off before its graph is
    called damaged, where another file with the same first bytes would be called unknown.
    """
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        seen: set[int] = set()
        try:
            for span in fields(data, 0, len(data)):
                expected = _MODEL_FIELDS.get(span.field)
                unknown_later_field = expected is None and span.field > max(_MODEL_FIELDS) and _GRAPH in seen
                if not unknown_later_field and (expected != span.wire_type or _not_a_version(span)):
                    return Outline(onnx=False)
                seen.add(span.field)
        except WireError as error:
            begun = error.field == _GRAPH or _GRAPH in seen or (named_onnx and _IR_VERSION in seen)
            return Outline(onnx=begun and _IR_VERSION in seen, damage=f"truncated or damaged: {error}")
    if _IR_VERSION not in seen or (_GRAPH not in seen and not named_onnx):
        return Outline(onnx=False)
    for number, name in ((_GRAPH, "graph"), (_OPSET_IMPORT, "opset")):
        if number not in seen:
            return Outline(onnx=True, damage=f"truncated or damaged: it holds no {name}")
    return Outline(onnx=True)


def _not_a_version(span: Span) -> bool:
    return span.field == _IR_VERSION and not 1 <= span.start <= _MAX_IR_VERSION


# --- where an ONNX model's external data lie ---


def external_locations(path: Path) -> tuple[str, ...]:
    """The files that hold the model's weights, sorted, by the names in its tensors; () when it holds them itself.

    Raises WireError when the file is damaged.
    """
    found: set[str] = set()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for span in fields(data, 0, len(data)):
            if span.field == _GRAPH:
                _graph(data, span, found)
            elif span.field == _TRAINING_INFO:
                for graph in _messages(data, span, (1, 2)):  # initialization, algorithm
                    _graph(data, graph, found)
            elif span.field == _FUNCTIONS:
                for node in _messages(data, span, (7,)):
                    _node(data, node, found)
    return tuple(sorted(found))


def _messages(data: mmap.mmap, message: Span, numbers: tuple[int, ...]) -> Iterator[Span]:
    for span in fields(data, message.start, message.end):
        if span.field in numbers and span.wire_type == LENGTH:
            yield span


def _graph(data: mmap.mmap, graph: Span, found: set[str]) -> None:
    for span in _messages(data, graph, (1, 5, 15)):
        if span.field == 1:
            _node(data, span, found)
        elif span.field == 5:
            _tensor(data, span, found)
        else:
            _sparse_tensor(data, span, found)


def _node(data: mmap.mmap, node: Span, found: set[str]) -> None:
    # An external tensor spells out the key `location`; hardly any node holds one, and this search is quick.
    if data.find(b"location", node.start, node.end) < 0:
        return
    for attribute in _messages(data, node, (5,)):
        for span in _messages(data, attribute, (5, 6, 10, 11, 22, 23)):
            if span.field in (6, 11):  # g, graphs
                _graph(data, span, found)
            elif span.field in (5, 10):  # t, tensors
                _tensor(data, span, found)
            else:
                _sparse_tensor(data, span, found)


def _sparse_tensor(data: mmap.mmap, sparse: Span, found: set[str]) -> None:
    for tensor in _messages(data, sparse, (1, 2)):  # values, indices
        _tensor(data, tensor, found)


def _tensor(data: mmap.mmap, tensor: Span, found: set[str]) -> None:
    external, location = False, None
    for span in fields(data, tensor.start, tensor.end):
        if span.field == 14 and span.wire_type == VARINT:  # data_location: EXTERNAL is 1
            external = span.start == 1
        elif span.field == 13 and span.wire_type == LENGTH:  # external_data: one key and its value
            entry = {item.field: data[item.start : item.end] for item in _messages(data, span, (1, 2))}
            if entry.get(1) == b"location":
                location = entry.get(2, b"").decode("utf-8", "surrogateescape")
    if external and location is not None:
        found.add(location)
