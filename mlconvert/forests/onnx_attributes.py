"""Protobuf's wire format, written from numpy arrays: the parts of an ONNX file that hold trees.

Through onnx's own classes every integer of an attribute is a Python object, once in a list and once in the message:
half a minute and gigabytes for a large forest. Here an array becomes the bytes that a parser expects, without a loop
over its elements. Integers are packed (one length, then all numbers): onnx.proto does not ask for that, and every
protobuf parser takes both forms, as the language guide promises.

A message is a list of pieces, bytes or views of arrays, which are written one after the other and never joined.
Field numbers are those of onnx.proto, which may not change.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mlconvert.formats.protobuf_wire import LENGTH, VARINT, varint

Piece = bytes | memoryview
Pieces = list[Piece]

ELEMENT_TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float64": 11}  # TensorProto.DataType
_ATTRIBUTE_INT, _ATTRIBUTE_TENSOR, _ATTRIBUTE_FLOATS, _ATTRIBUTE_INTS, _ATTRIBUTE_STRINGS = 2, 4, 6, 7, 8

_BLOCK = 1 << 15  # integers that are packed at once


def size_of(pieces: Iterable[Piece]) -> int:
    """The bytes of a message."""
    return sum(len(piece) for piece in pieces)


def number(field: int, value: int) -> bytes:
    """A field that holds one number, which is not negative."""
    return varint(field << 3 | VARINT) + varint(value)


def message(field: int, content: Sequence[Piece]) -> Pieces:
    """A field that holds a message, a text or bytes."""
    return [varint(field << 3 | LENGTH) + varint(size_of(content)), *content]


def text(field: int, value: str) -> Pieces:
    """A field that holds a text."""
    return message(field, [value.encode()])


def packed(values: np.ndarray) -> Pieces:
    """Integers [n] that are not negative as varints: seven bits a byte, low first, the top bit set in all but the last.

    All numbers are laid out in as many bytes as the largest needs; then the bytes that a number does not need are
    left out. That is done block by block, for the sake of memory.
    """
    if int(values.max(initial=0)) < 0x80:
        return [values.astype(np.uint8).data]
    return [_packed_block(values[start : start + _BLOCK]) for start in range(0, len(values), _BLOCK)]


def _packed_block(values: np.ndarray) -> memoryview:
    largest = int(values.max())
    rest: np.ndarray = values.astype(np.uint32 if largest < 1 << 32 else np.uint64)
    laid_out = np.empty((len(values), max(1, -(-largest.bit_length() // 7))), np.uint8)
    needed = np.empty(laid_out.shape, bool)
    for place in range(laid_out.shape[1]):
        needed[:, place] = rest > 0 if place else True
        laid_out[:, place] = rest & 0x7F
        rest >>= 7
        laid_out[:, place] |= (rest > 0).astype(np.uint8) << 7
    return laid_out[needed].data


def tensor(name: str, values: np.ndarray) -> Pieces:
    """The content of a TensorProto of one of ELEMENT_TYPES."""
    data = np.asarray(values, values.dtype.newbyteorder("<"), order="C")  # (ascontiguousarray has no arrays of no axis)
    pieces: Pieces = [number(1, length) for length in data.shape]
    pieces.append(number(2, ELEMENT_TYPES[data.dtype.name]))
    if name:
        pieces += text(8, name)
    return pieces + message(9, [_content(data)])


def texts_tensor(name: str, values: Sequence[str]) -> Pieces:
    """The content of a TensorProto of one axis that holds texts."""
    pieces: Pieces = [number(1, len(values)), number(2, 8)]
    for value in values:
        pieces += text(6, value)
    return pieces + text(8, name)


def integer_attribute(name: str, value: int) -> Pieces:
    """An AttributeProto, as a field of a node, that holds one number."""
    return message(5, [*text(1, name), number(3, value), number(20, _ATTRIBUTE_INT)])


def integers_attribute(name: str, values: np.ndarray) -> Pieces:
    """An AttributeProto, as a field of a node, that holds integers, which are not negative."""
    return message(5, [*text(1, name), *message(8, packed(values)), number(20, _ATTRIBUTE_INTS)])


def floats_attribute(name: str, values: np.ndarray) -> Pieces:
    """An AttributeProto, as a field of a node, that holds numbers as float32."""
    content = [_content(values.astype("<f4"))]
    return message(5, [*text(1, name), *message(7, content), number(20, _ATTRIBUTE_FLOATS)])


def tensor_attribute(name: str, values: np.ndarray) -> Pieces:
    """An AttributeProto, as a field of a node, that holds a tensor."""
    return message(5, [*text(1, name), *message(5, tensor("", values)), number(20, _ATTRIBUTE_TENSOR)])


def choices_attribute(name: str, choices: Sequence[str], which: np.ndarray) -> Pieces:
    """An AttributeProto, as a field of a node, that holds texts: `choices[which]`, for which uint8 [n]."""
    fields = [b"".join(text(9, choice)) for choice in choices]
    table = np.zeros((len(choices), max(map(len, fields))), np.uint8)
    for row, field in zip(table, fields, strict=True):
        row[: len(field)] = np.frombuffer(field, np.uint8)
    lengths = np.array([len(field) for field in fields])
    keep = np.arange(table.shape[1]) < lengths[which, None]
    return message(5, [*text(1, name), table[which][keep].data, number(20, _ATTRIBUTE_STRINGS)])


def node(
    operator: str, domain: str, inputs: Sequence[str], outputs: Sequence[str], name: str, attributes: Pieces
) -> Pieces:
    """The content of a NodeProto."""
    pieces: Pieces = []
    for value in inputs:
        pieces += text(1, value)
    for value in outputs:
        pieces += text(2, value)
    pieces += [*text(3, name), *text(4, operator), *attributes]
    return pieces + (text(7, domain) if domain else [])


def _content(values: np.ndarray) -> Piece:
    return values.reshape(-1).data.cast("B") if values.size else b""
