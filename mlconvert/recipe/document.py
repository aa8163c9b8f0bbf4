"""A recipe's YAML as values that know their lines.

The file is composed, not constructed: nodes keep their positions, no tag builds an object, and scalars follow the
rules of YAML 1.2 where 1.1 surprises: `1e-4` is a number, `12:30` and `2026-01-31` are text, keys are text as they
are written. `yes`, `no`, `on` and `off` stay booleans, for people write them so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlconvert.errors import UsageError, suggest

Keys = tuple[str | int, ...]

MOST_BYTES = 1 << 18  # a recipe is a page of text; what is larger is a model passed by mistake
MOST_NODES = 20_000  # aliases of aliases can stand for billions of values

_TAG = "tag:yaml.org,2002:"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Problem:
    """What is wrong with the value at `keys`, or with its key where `at_key` says so."""

    keys: Keys
    text: str
    line: int
    column: int
    hint: str | None = None


@dataclass
class Document:
    """`values` and `names` hold the (line, column), counted from 1, of every value and of every key."""

    path: Path
    value: Any = None
    values: dict[Keys, tuple[int, int]] = field(default_factory=dict)
    names: dict[Keys, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    unreadable: set[Keys] = field(default_factory=set)  # values that no rule about values can be applied to

    def problem(self, keys: Keys, text: str, *, at_key: bool = False, hint: str | None = None) -> Problem:
        return Problem(keys, text, *self._mark(keys, at_key), hint)

    def where(self, keys: Keys) -> str:
        line, column = self._mark(keys, at_key=False)
        return f"{self.path}:{line}:{column}"

    def _mark(self, keys: Keys, at_key: bool) -> tuple[int, int]:
        if at_key and keys in self.names:
            return self.names[keys]
        while keys not in self.values and keys:
            keys = keys[:-1]
        return self.values.get(keys, (1, 1))


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - not SafeLoader's; filled below


for _name, _pattern, _first in (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$", "tTfFyYnNoO"),
    ("int", r"[-+]?[0-9]+$|0o[0-7]+$|0x[0-9a-fA-F]+$", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$", "-+."),
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("merge", r"<<$", "<"),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(_pattern), list(_first))


def read_document(path: Path) -> Document:
    """The values of a YAML file. Raises UsageError where it cannot be read or is no YAML; what is readable but wrong
    (a key given twice, a tag) is left in `problems`, for the schema's to be reported with it.
    """
    data = _read(path)
    try:
        loader = _Loader(data)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = data[: error.position].count(b"\n") + 1
        raise UsageError(f"not a text file: {error.reason}", where=f"{path}:{line}") from error
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(path, error) from error
    except RecursionError as error:
        raise UsageError("nested too deeply for a recipe", where=str(path)) from error
    if node is None:
        raise UsageError("the recipe is empty", where=str(path), hint="it needs at least `model:` and `targets:`")
    document = Document(path)
    document.value = _Walk(document).value(node, ())
    return document


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        near = ""
        if path.parent.is_dir():
            names = sorted(each.name for each in path.parent.iterdir() if each.suffix in (".yaml", ".yml"))
            near = suggest(path.name, names)
        raise UsageError(f"no recipe at {path}.{near}", hint="mlconvert run recipes/NAME.yaml") from error
    except OSError as error:
        raise UsageError(f"the recipe cannot be read: {error.strerror}", where=str(path)) from error
    if len(data) > MOST_BYTES:
        hint = f"to convert a model without a recipe: mlconvert convert {path} --to FORMAT"
        raise UsageError(f"not a recipe: larger than {MOST_BYTES >> 10} KiB", where=str(path), hint=hint)
    return data


def _syntax_error(path: Path, error: yaml.MarkedYAMLError) -> UsageError:
    mark = error.problem_mark or error.context_mark
    place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
    problem = error.problem or "unreadable"
    text, hint = f"not valid YAML: {problem}", None
    if error.context and error.context_mark:
        text += f" ({error.context}, from line {error.context_mark.line + 1})"
    if "'\\t'" in problem:
        text, hint = "a tab where YAML wants spaces", "indent with spaces"
    elif "mapping values are not allowed" in problem:
        hint = "an indentation that does not fit, or a text with ': ' in it that needs quotes"
    elif "another document" in problem or "single document" in (error.context or ""):
        text, hint = "more than one YAML document", "one recipe a file: remove the line `---`"
    return UsageError(text, where=place, hint=hint)


class _Walk:
    """One pass over the nodes of a document, which collects values, their places and what is wrong with them."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.nodes = 0
        self.open: set[int] = set()  # nodes that we are inside of

    def value(self, node: yaml.Node, keys: Keys) -> Any:
        document = self.document
        document.values[keys] = _place(node)
        self._count(keys)
        if id(node) in self.open:
            return self._unreadable(keys, "an alias inside of what it stands for")
        self.open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
                return {
                    name: self.value(value, (*keys, name)) for name, value in self._pairs(node, keys, merging=False)
                }
            if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
                return [self.value(item, (*keys, index)) for index, item in enumerate(node.value)]
            if isinstance(node, yaml.ScalarNode):
                return self._scalar(node, keys)
        finally:
            self.open.discard(id(node))
        return self._unreadable(keys, f"the tag {_short(node.tag)} is not allowed in a recipe")

    def _count(self, keys: Keys) -> None:
        self.nodes += 1
        if self.nodes > MOST_NODES:
            where = self.document.where(keys)
            raise UsageError(f"more than {MOST_NODES} values, aliases counted", where=where, hint="use fewer aliases")

    def _pairs(self, node: yaml.MappingNode, keys: Keys, *, merging: bool) -> Iterator[tuple[str, yaml.Node]]:
        self._count(keys)
        own: dict[str, yaml.Node] = {}
        merged: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                merged = dict(self._merged(value, keys)) | merged
                continue
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None or not _encodable(name):
                line, column = _place(key)
                self.document.problems.append(Problem(keys, "a key has to be text", line, column))
                continue
            place = (*keys, name)
            if name in own and not merging:
                text = f"'{name}' is given twice, first on line {self.document.names[place][0]}"
                self.document.problems.append(Problem(place, text, *_place(key)))
            if not merging or place not in self.document.names:
                self.document.names[place] = _place(key)
            own[name] = value
        yield from (merged | own).items()

    def _merged(self, node: yaml.Node, keys: Keys) -> Iterator[tuple[str, yaml.Node]]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        # Of several mappings the first one wins.
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode) or id(source) in self.open:
                line, column = _place(node)
                self.document.problems.append(Problem(keys, "`<<` takes the alias of a mapping", line, column))
                continue
            self.open.add(id(source))
            try:
                yield from self._pairs(source, keys, merging=True)
            finally:
                self.open.discard(id(source))

    def _scalar(self, node: yaml.ScalarNode, keys: Keys) -> Any:
        kind, text = node.tag.removeprefix(_TAG), node.value
        value: Any = text
        try:
            if kind == "bool":
                value = _WORDS[text.lower()]
            elif kind == "int":
                # Plain digits count by ten, whatever zeros they begin with (YAML 1.1 reads 010 as eight).
                value = int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            elif kind == "float":
                value = _number(text)
            elif kind == "null":
                value = None
            elif kind not in ("str", "merge"):
                return self._unreadable(keys, f"the tag {_short(node.tag)} is not allowed in a recipe")
        except (KeyError, ValueError):
            kinds = {"bool": "true or false", "int": "a whole number", "float": "a finite number"}
            return self._unreadable(keys, f"{text[:40]!r} is not {kinds[kind]}")
        if isinstance(value, str) and not _encodable(value):
            return self._unreadable(keys, "text with half a surrogate pair in it")
        return value

    def _unreadable(self, keys: Keys, text: str) -> None:
        self.document.problems.append(self.document.problem(keys, text))
        self.document.unreadable.add(keys)


def _number(text: str) -> float:
    """A finite float: an infinite tolerance would accept anything, and neither it nor NaN can be written as JSON."""
    value = float(text)  # `.inf` and `.nan` fail here, as 1e999 does below
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _short(tag: str) -> str:
    return "!!" + tag.removeprefix(_TAG) if tag.startswith(_TAG) else tag
