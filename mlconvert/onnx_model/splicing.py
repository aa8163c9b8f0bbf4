"""Serialised models and their large weights apart: left out where a file is read, put in where one is written.

Parsing or serialising a model with its weights takes the memory of several copies of them. What is parsed and
serialised here is an outline, in which the large initializers of the main graph hold no bytes. Nothing here knows
where the bytes are instead; `mlconvert.onnx_model.external` does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import BinaryIO, overload

from mlconvert.formats.protobuf_wire import LENGTH, VARINT, Data, Span, fields, varint

# Field numbers of onnx.proto, which may not change.
_GRAPH, _INITIALIZER = 7, 5
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14
_TYPED_DATA = frozenset((4, 5, 6, 7, 10, 11))

_WINDOW = 8 << 10  # bytes


class FileBytes:
    """A file that is indexed like bytes and hardly held in memory.

    A mapped one would be, page by page, as far as it is looked at: Linux maps up to 2 MB around each byte.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._descriptor = stream.fileno()
        self._start, self._window = 0, b""
        self.size = os.fstat(self._descriptor).st_size

    @overload
    def __getitem__(self, at: int) -> int: ...

    @overload
    def __getitem__(self, at: slice) -> bytes: ...

    def __getitem__(self, at: int | slice) -> int | bytes:
        if isinstance(at, slice):
            start, stop, _ = at.indices(self.size)
            return self._read(start, max(0, stop - start))
        if not self._start <= at < self._start + len(self._window):
            self._start, self._window = at, os.pread(self._descriptor, _WINDOW, at)
        return self._window[at - self._start]

    def _read(self, start: int, length: int) -> bytes:
        parts = []
        while length and (part := os.pread(self._descriptor, length, start)):
            parts.append(part)
            start, length = start + len(part), length - len(part)
        return b"".join(parts)


def left_out(data: Data, size: int, at_least: int, location: str) -> tuple[bytes, frozenset[int]]:
    """The outline of the model serialised in data[:size]: raw data `at_least` so large are external, at `location`.

    With it, the places in the graph of the initializers from which data were left out. Offsets are those in `data`,
    so that the bytes can be read from the file that it is. Raises WireError where the bytes are not a message.
    """
    outline = bytearray()
    places: set[int] = set()
    at = 0
    for span in fields(data, 0, size):
        if span.field == _GRAPH and span.wire_type == LENGTH:
            graph = _graph_left_out(data, span, at_least, location, places)
            outline += data[at : span.begin] + _message(_GRAPH, graph)
            at = span.end
    return bytes(outline + data[at:size]), frozenset(places)


def put_in(outline: bytes, lengths: Mapping[int, int]) -> list[bytes | int]:
    """The pieces of the serialised model with raw data of these lengths (by the initializer's place in the graph).

    Pieces are bytes, and the places of the initializers whose raw data goes there. What comes of it is byte for byte
    what protobuf would have written.
    """
    pieces: list[bytes | int] = []
    at = 0
    for span in fields(outline, 0, len(outline)):
        if span.field == _GRAPH:
            inner = _graph_put_in(outline, span, lengths)
            pieces += [outline[at : span.begin] + _head(_GRAPH, _size(inner, lengths)), *inner]
            at = span.end
    return [*pieces, outline[at:]]


def _graph_left_out(data: Data, graph: Span, at_least: int, location: str, places: set[int]) -> bytes:
    outline = bytearray()
    at, place = graph.start, -1
    for span in fields(data, graph.start, graph.end):
        if span.field != _INITIALIZER or span.wire_type != LENGTH:
            continue
        place += 1
        raw = _raw_data(data, span) if span.end - span.start >= at_least else None
        if raw is not None and raw.end - raw.start >= at_least:
            places.add(place)
            tensor = data[span.start : raw.begin] + data[raw.end : span.end] + _external(raw, location)
            outline += data[at : span.begin] + _message(_INITIALIZER, tensor)
            at = span.end
    return bytes(outline + data[at : graph.end])


def _raw_data(data: Data, tensor: Span) -> Span | None:
    """Where the raw data of a tensor lie; None where it has none, or others too."""
    raw: list[Span] = []
    for span in fields(data, tensor.start, tensor.end):
        if span.field in _TYPED_DATA or span.field in (_EXTERNAL_DATA, _DATA_LOCATION):
            return None  # to go on could mean to walk over each number of it
        if span.field == _RAW_DATA:
            raw.append(span)
    return raw[0] if len(raw) == 1 else None


def _external(raw: Span, location: str) -> bytes:
    entries = {"location": location, "offset": str(raw.start), "length": str(raw.end - raw.start)}
    external = b"".join(
        _message(_EXTERNAL_DATA, _message(1, key.encode()) + _message(2, value.encode()))
        for key, value in entries.items()
    )
    return external + varint(_DATA_LOCATION << 3 | VARINT) + varint(1)


def _graph_put_in(outline: bytes, graph: Span, lengths: Mapping[int, int]) -> list[bytes | int]:
    pieces: list[bytes | int] = []
    at, place = graph.start, -1
    for span in fields(outline, graph.start, graph.end):
        if span.field != _INITIALIZER:
            continue
        place += 1
        if place in lengths:
            before, after = _around_raw_data(outline, span, lengths[place])
            size = len(before) + lengths[place] + len(after)
            pieces += [outline[at : span.begin] + _head(_INITIALIZER, size) + before, place, after]
            at = span.end
    return [*pieces, outline[at : graph.end]]


def _around_raw_data(outline: bytes, tensor: Span, length: int) -> tuple[bytes, bytes]:
    """What stands before a tensor's raw data (with its key and length) and after it."""
    spans = list(fields(outline, tensor.start, tensor.end))
    ends = [*(span.begin for span in spans[1:]), tensor.end]
    own = [(span.field, outline[span.begin : end]) for span, end in zip(spans, ends, strict=True)]
    before = b"".join(data for field, data in own if field < _RAW_DATA)
    after = b"".join(data for field, data in own if field > _RAW_DATA and field not in (_EXTERNAL_DATA, _DATA_LOCATION))
    return before + _head(_RAW_DATA, length), after


def _size(pieces: list[bytes | int], lengths: Mapping[int, int]) -> int:
    return sum(lengths[piece] if isinstance(piece, int) else len(piece) for piece in pieces)


def _message(number: int, content: bytes) -> bytes:
    return _head(number, len(content)) + content


def _head(number: int, size: int) -> bytes:
    return varint(number << 3 | LENGTH) + varint(size)
