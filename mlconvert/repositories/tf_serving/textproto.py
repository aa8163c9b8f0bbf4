"""Where things stand in a text-format protobuf file, so that one part of it can be changed and the rest stays as it is.

https://protobuf.dev/reference/protobuf/textformat-spec/ has the grammar. Only what places need is read here: whether
the fields exist and their values make sense is for protobuf's own parser to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mlconvert.errors import RepositoryInvalid

_BLANK = re.compile(r"(?:\s|#[^\n]*)+")
_STRING = re.compile(r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.DOTALL)
_WORD = re.compile(r"[A-Za-z0-9_.+-]+")
_CLOSING = {"{": "}", "<": ">"}
_DEEPEST = 100


@dataclass(frozen=True)
class Field:
    """A field: text[start:end] is the whole of it. Of a list `name: [a, b]` each element is a field with that span.

    `value` is a scalar's text; for a message, text[body_start:body_end] is what stands between its braces.
    """

    name: str
    start: int
    end: int
    value: str | None = None
    body_start: int = 0
    body_end: int = 0
    fields: tuple[Field, ...] = ()

    def of(self, name: str) -> list[Field]:
        return [field for field in self.fields if field.name == name]


def fields_of(text: str, *, where: str) -> tuple[Field, ...]:
    """The fields of a file, in their order. Raises RepositoryInvalid, with the line, for what has no such form."""
    reader = _Reader(text, where)
    return tuple(reader.fields("", 0))


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self.text, self.where, self.place = text, where, 0

    def fields(self, closing: str, depth: int) -> Iterator[Field]:
        if depth > _DEEPEST:
            raise self.wrong("messages are nested too deeply")
        while True:
            self.skip()
            if self.place >= len(self.text):
                if closing:
                    raise self.wrong(f"a '{closing}' is missing at the end")
                return
            if self.text[self.place] == closing:
                return
            yield from self.field(depth)

    def field(self, depth: int) -> Iterator[Field]:
        start = self.place
        name = self.name()
        self.skip()
        colon = self.take(":")
        self.skip()
        if self.take("["):
            found = list(self.elements(name, depth))
        elif colon or self.peek() in _CLOSING:
            found = [self.value(name, depth)]
        else:
            raise self.wrong(f"'{name}' has no value")
        end = self.place
        self.skip()
        if self.take(",") or self.take(";"):
            end = self.place
        for one in found:
            yield Field(name, start, end, one.value, one.body_start, one.body_end, one.fields)

    def name(self) -> str:
        if self.peek() == "[":  # an extension, or the type of a google.protobuf.Any
            end = self.text.find("]", self.place)
            if end < 0:
                raise self.wrong("a ']' is missing")
            name = self.text[self.place : end + 1]
            self.place = end + 1
            return name
        return self.word()

    def elements(self, name: str, depth: int) -> Iterator[Field]:
        self.skip()
        if self.take("]"):
            return
        while True:
            yield self.value(name, depth)
            self.skip()
            if self.take("]"):
                return
            if not self.take(","):
                raise self.wrong(f"the list '{name}' has no end")
            self.skip()

    def value(self, name: str, depth: int) -> Field:
        start = self.place
        opening = self.peek()
        if opening in _CLOSING:
            self.place += 1
            inside = tuple(self.fields(_CLOSING[opening], depth + 1))
            body_end = self.place
            self.place += 1
            return Field(name, start, self.place, None, start + 1, body_end, inside)
        end = start
        while found := _STRING.match(self.text, self.place):  # strings side by side are one
            self.place = end = found.end()
            self.skip()
        if end == start:
            self.word()
            end = self.place
        self.place = end
        return Field(name, start, end, self.text[start:end])

    def word(self) -> str:
        found = _WORD.match(self.text, self.place)
        if found is None:
            raise self.wrong(f"{self.peek()!r} is not expected here" if self.peek() else "the file ends too early")
        self.place = found.end()
        return found[0]

    def skip(self) -> None:
        if found := _BLANK.match(self.text, self.place):
            self.place = found.end()

    def peek(self) -> str:
        return self.text[self.place : self.place + 1]

    def take(self, sign: str) -> bool:
        found = self.peek() == sign
        self.place += found
        return found

    def wrong(self, what: str) -> RepositoryInvalid:
        line = self.text.count("\n", 0, self.place) + 1
        return RepositoryInvalid(f"not a text-format protobuf file: {what}", where=f"{self.where}:{line}")


# --- changes ---


@dataclass(frozen=True)
class Edit:
    """text[start:end] becomes `new`."""

    start: int
    end: int
    new: str = ""


def edited(text: str, edits: Iterable[Edit]) -> str:
    """The text after the edits, which do not overlap; a line that only held what is removed goes with it."""
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        start, end = edit.start, edit.end
        if not edit.new:
            start, end = _line_around(text, start, end)
        text = text[:start] + edit.new + text[end:]
    return text


def _line_around(text: str, start: int, end: int) -> tuple[int, int]:
    begin = text.rfind("\n", 0, start) + 1
    following = text.find("\n", end)
    after = text[end:] if following < 0 else text[end:following]
    if text[begin:start].strip() or after.strip():
        return start, end
    return begin, len(text) if following < 0 else following + 1


def indentation(text: str, place: int) -> str:
    """The blanks at the start of the line that a place is on."""
    begin = text.rfind("\n", 0, place) + 1
    return text[begin : begin + len(text[begin:]) - len(text[begin:].lstrip(" \t"))]


def before_closing(text: str, body_end: int, lines: Iterable[str]) -> Edit:
    """The lines as the last ones of a message's body, indented by two blanks more than its closing brace."""
    new = "\r\n" if "\r\n" in text else "\n"
    begin = text.rfind("\n", 0, body_end) + 1
    if text[begin:body_end].strip() or not begin:  # the brace does not stand alone on its line
        space = "" if text[body_end - 1 : body_end].isspace() else " "
        return Edit(body_end, body_end, f"{space}{' '.join(line.strip() for line in lines)} ")
    indent = text[begin:body_end]
    return Edit(begin, begin, "".join(f"{indent}  {line}{new}" for line in lines))
