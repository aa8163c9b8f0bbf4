"""A source as tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "number", "text", "character", "symbol", "end"]

_TOKEN = re.compile(
    r"""
      (?P<space>\s+|//[^\n]*|/\*.*?\*/)
    | (?P<number>0[xX][0-9a-fA-F_]+[lL]?|(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[lLdDfF]?)
    | (?P<name>[A-Za-z_$][\w$]*)
    | (?P<text>"(?:[^"\\\n]|\\.)*")
    | (?P<character>'(?:[^'\\\n]|\\.)+')
    | (?P<symbol>>>>=|>>>|<<=|>>=|>>|<<|\+\+|--|&&|\|\||[<>=!+\-*/%&|^]=|[-+*/%&|^<>=!~?:;,.()\[\]{}@])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", '"': '"', "'": "'", "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    line: int


def tokens(source: str) -> list[Token]:
    """The tokens of a source and one of the kind `end`; raises ValueError for a character that begins none."""
    found: list[Token] = []
    at, line = 0, 1
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise ValueError(f"line {line}: {source[at : at + 20]!r} is no token")
        kind, text = match.lastgroup, match.group()
        if kind != "space":
            found.append(Token(kind, text, line))  # type: ignore[arg-type]
        line += text.count("\n")
        at = match.end()
    found.append(Token("end", "", line))
    return found


def unquoted(text: str) -> str:
    r"""The characters of a literal with its quotes: escapes are those of one letter and \uXXXX."""

    def character(match: re.Match[str]) -> str:
        escaped = match.group(1)
        return chr(int(escaped[1:], 16)) if escaped[0] == "u" else _ESCAPES[escaped]

    return re.sub(r"\\(u[0-9a-fA-F]{4}|.)", character, text[1:-1])
