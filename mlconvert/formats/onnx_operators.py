"""The operators of an ONNX file, read without onnx: what can be said of a model before anything runs.

Field numbers are those of onnx.proto, which may not change.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mlconvert.formats.protobuf_wire import LENGTH, Span, fields

_GRAPH, _FUNCTIONS = 7, 25  # of ModelProto
_NODES = {"graph": 1, "function": 7}
_FUNCTION_NAME, _FUNCTION_DOMAIN = 1, 10
_OUTPUT, _NAME, _OPERATOR, _ATTRIBUTE, _DOMAIN = 2, 3, 4, 5, 7  # of NodeProto
_GRAPHS = (6, 11)  # of AttributeProto


class Node(NamedTuple):
    """A node: its operator's domain (`` for ai.onnx) and name, and what messages call the node."""

    domain: str
    operator: str
    name: str


def onnx_nodes(path: Path) -> list[Node]:
    """The nodes of all graphs and functions of a model, those left out that call one of its own functions.

    Raises WireError where the file is damaged.
    """
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        functions = set[tuple[str, str]]()
        nodes = list[Node]()
        for span in _parts(data, 0, len(data), (_GRAPH, _FUNCTIONS)):
            kind = "graph" if span.field == _GRAPH else "function"
            nodes += _nodes_in(data, span, _NODES[kind])
            if kind == "function":
                functions.add((_text(data, span, _FUNCTION_DOMAIN), _text(data, span, _FUNCTION_NAME)))
    return [node for node in nodes if (node.domain, node.operator) not in functions]


def _parts(data: mmap.mmap, start: int, end: int, numbers: tuple[int, ...]) -> Iterator[Span]:
    for span in fields(data, start, end):
        if span.field in numbers and span.wire_type == LENGTH:
            yield span


def _text(data: mmap.mmap, message: Span, number: int) -> str:
    """A text of a message; of several, as outputs are, the first."""
    found = next(_parts(data, message.start, message.end, (number,)), None)
    text = data[found.start : found.end].decode("utf-8", "replace") if found else ""
    return "" if text == "ai.onnx" else text


def _nodes_in(data: mmap.mmap, holder: Span, number: int) -> Iterator[Node]:
    """Of a graph (or function), and of the graphs within its nodes."""
    waiting = [(holder, number)]
    while waiting:
        inside, field = waiting.pop()
        for span in _parts(data, inside.start, inside.end, (field,)):
            name = _text(data, span, _NAME) or _text(data, span, _OUTPUT) or "without a name"
            yield Node(_text(data, span, _DOMAIN), _text(data, span, _OPERATOR), name)
            for attribute in _parts(data, span.start, span.end, (_ATTRIBUTE,)):
                within = _parts(data, attribute.start, attribute.end, _GRAPHS)
                waiting += [(graph, _NODES["graph"]) for graph in within]
