"""Lines on a terminal: 80 columns are enough, and nothing but lines of text where there is no terminal.

They are laid out here and not by a table of rich: a path or an output's name is never cut or broken, so that it can be
copied and searched for; where a name is too long for its column, its figures go to a line of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from mlconvert.report.printable import printable

if TYPE_CHECKING:
    from rich.console import Console


def put_columns(console: Console, rows: list[list[Text]], words: Collection[str]) -> None:
    """Rows under a head: the first column and those of words (by their heads) to the left, figures to the right."""
    left = [head.plain in words for head in rows[0][1:]]
    rows = [[shown_text(cell, console) for cell in row] for row in rows]
    widths = [max(cell_len(row[index].plain) for row in rows) for index in range(len(rows[0]))]
    rest = sum(width + 2 for width in widths[1:])
    if console.is_terminal:
        widths[0] = min(widths[0], max(console.width - 4 - rest, 8))
    for row in rows:
        line = Text("    ").append_text(row[0])
        if cell_len(row[0].plain) > widths[0]:
            put_line(console, line)
            line = Text("    ")
        line.append(" " * (4 + widths[0] - cell_len(line.plain)))
        for cell, width, is_word in zip(row[1:], widths[1:], left, strict=True):
            blank = " " * (width - cell_len(cell.plain))
            line.append_text(Text("  ") + cell + blank if is_word else Text("  " + blank) + cell)
        line.rstrip()
        put_line(console, line)


def put_line(console: Console, text: Text) -> None:
    """As it is, however long: a terminal breaks it at its edge, and what is copied has no line feed in it."""
    console.print(shown_text(text, console), soft_wrap=True)


def put_paragraph(console: Console, text: Text) -> None:
    """Indented; a terminal gets it wrapped at words, anything else on one line."""
    text = shown_text(text, console)
    lines = text.wrap(console, max(console.width - 4, 20)) if console.is_terminal else [text]
    for line in lines:
        line.rstrip()
        console.print(Text("    ") + line, soft_wrap=True)


def shown_text(text: Text, console: Console) -> Text:
    """The text without what steers a terminal, and in letters that the console has."""
    plain = printable(text.plain)
    if not has_unicode(console):
        plain = plain.encode(console.encoding, "backslashreplace").decode(console.encoding)
    if plain == text.plain:
        return text
    return Text(plain, text.style)


def has_unicode(console: Console) -> bool:
    """Whether the console takes letters beyond those of its language."""
    return console.encoding.lower().startswith("utf")
