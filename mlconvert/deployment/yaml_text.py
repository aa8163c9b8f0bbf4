"""YAML with comments, for people to read: the same text for the same data, keys in the order they were given in.

Strings are quoted unless every reader of YAML 1.1 and 1.2 takes them for strings without.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_PLAIN = re.compile(r"(?:--?[a-z]|\.{1,2}/|[A-Za-z/])[A-Za-z0-9_./=-]*(?::[A-Za-z0-9_./=-]+)*")
_OTHER = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
_STEP = "  "
_WIDTH = 100  # of comments


@dataclass(frozen=True)
class Noted:
    """A value with a comment that stands above its key (or its place in a list)."""

    value: Any
    comment: str


def to_yaml(data: Mapping[str, Any]) -> str:
    return "".join(f"{line}\n" for line in _mapping(data, ""))


def as_data(value: Any) -> Any:
    """The same data without its comments."""
    if isinstance(value, Noted):
        return as_data(value.value)
    if isinstance(value, Mapping):
        return {key: as_data(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_data(inner) for inner in value]
    return value


def _mapping(data: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in data.items():
        yield from _comment(value, indent)
        yield from _entry(f"{indent}{_scalar(key)}:", _plain(value), indent)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield head
        yield from _mapping(value, indent + _STEP)
    elif isinstance(value, (list, tuple)) and value:
        yield head
        yield from _sequence(value, indent + _STEP)
    elif isinstance(value, str) and "\n" in value:
        yield f"{head} |"
        yield from (f"{indent}{_STEP}{line}" if line else "" for line in value.rstrip("\n").split("\n"))
    else:
        yield f"{head} {_scalar(value)}"


def _sequence(items: Sequence[Any], indent: str) -> Iterator[str]:
    for item in items:
        yield from _comment(item, indent)
        value = _plain(item)
        if isinstance(value, Mapping) and value:
            first, *rest = list(_mapping(value, indent + _STEP))
            if first.lstrip().startswith("#"):  # a comment may not stand behind the dash
                yield f"{indent}-"
                yield first
            else:
                yield f"{indent}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{indent}- {_scalar(value)}"


def _comment(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Noted):
        for line in value.comment.split("\n"):
            # What is indented is a command, and stays as it is.
            for part in [line] if line.startswith(" ") else textwrap.wrap(line, _WIDTH - len(indent)) or [""]:
                yield f"{indent}# {part}".rstrip()


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Noted) else value


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _OTHER:
            return value
        return json.dumps(value, ensure_ascii=False)
    return json.dumps(value)  # numbers, booleans, null, {} and [] are the same in YAML
