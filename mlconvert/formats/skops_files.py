"""What is in a .skops file, read from its schema without loading anything: the outermost class, and all types named."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed

LARGEST_SCHEMA = 1 << 30  # bytes; one of a forest of 500 trees has some 50 MB
PLAIN = frozenset(
    f"builtins.{name}"
    for name in ("bool", "bytearray", "bytes", "dict", "float", "int", "list", "set", "slice", "str", "tuple")
)
# What zipfile and json raise for damaged files, and KeyError for one without a schema.
_ERRORS = (zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, RuntimeError, struct.error, zlib.error)


@dataclass(frozen=True)
class SkopsSummary:
    """The dotted names of the outermost object's class and, sorted, of all classes and functions but plain data's."""

    outermost: str
    types: tuple[str, ...]


def read_skops(path: Path) -> SkopsSummary:
    """The summary of a .skops file. Raises ConversionFailed when it has no schema that can be read."""
    try:
        schema = _schema(path)
        names = _names(schema)
    except _ERRORS as error:
        raise ConversionFailed(f"not a readable .skops file: {error}", where=str(path)) from error
    return SkopsSummary(_name(schema), tuple(sorted(names - PLAIN)))


def _schema(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("schema.json").file_size > LARGEST_SCHEMA:
            raise ValueError("its schema.json has more than 1 GB")
        return json.loads(archive.read("schema.json"))


def _names(schema: Any) -> set[str]:
    """The names in a schema: of each node's type, and of each method by its class."""
    if not isinstance(schema, dict) or not _is_node(schema):
        raise ValueError("its schema.json describes no object")
    names: set[str] = set()
    waiting: list[Any] = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            if _is_node(value):
                names.add(_name(value))
                content = value.get("content")
                if value["__loader__"] == "MethodNode" and isinstance(content, dict):
                    names.add(f"{_name(value)}.{content.get('func')}")
    return names


def _is_node(value: dict[str, Any]) -> bool:
    # A dictionary of the model's own may have such keys; its values are nodes, not text.
    return all(isinstance(value.get(key), str) for key in ("__class__", "__module__", "__loader__"))


def _name(node: dict[str, Any]) -> str:
    return f"{node['__module__']}.{node['__class__']}"
