"""Text from elsewhere (names in models, messages of libraries) made safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""The text with what steers a terminal, or hides, as an escape: `\x1b` for the escape character itself."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def printable_lines(text: str) -> list[str]:
    """The same line by line, without blank space at their ends."""
    return [printable(line.expandtabs()).rstrip() for line in text.strip("\n").splitlines()]
