"""The marks of Markdown, made so that no text from elsewhere is taken for one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from mlconvert.report import numbers
from mlconvert.report.printable import printable, printable_lines


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A table; the columns whose numbers are in `right` go to the right. Cells are Markdown already."""
    rule = ["--:" if index in set(right) else "---" for index in range(len(heads))]
    # A pipe ends a cell, in a code span too, unless it is escaped.
    escaped = [[re.sub(r"(?<!\\)\|", r"\|", cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *escaped))


def plain(text: str) -> str:
    """Text that is read as it is: no mark of Markdown, no HTML, no link that a model's names could smuggle in."""
    flat = printable(" ".join(str(text).split()))
    flat = re.sub(r"[\\`*<~]|&(?=#?\w+;)|\](?=[(\[])|(?<!\w)_|_(?!\w)", r"\\\g<0>", flat)
    return re.sub(
        r"^([>#+-]|\d+(?=[.)]\s))", lambda mark: mark[0] + "\\" if mark[0].isdigit() else "\\" + mark[0], flat
    )


def optional(text: str | None, mark: Callable[[str], str]) -> str:
    """The text in that mark, a dash where there is none."""
    return mark(text) if text else numbers.NONE


def code(text: str) -> str:
    """A code span, whatever the text holds."""
    flat = printable(" ".join(str(text).split())) or " "
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", flat)), default=0))
    pad = " " if flat[0] == "`" or flat[-1] == "`" else ""
    return f"{ticks}{pad}{flat}{pad}{ticks}"


def fenced(text: str, language: str) -> str:
    """A block of code, whatever the text holds."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return "\n".join([f"{ticks}{language}", *printable_lines(text), ticks])
