"""Java sources with parts that depend on the model.

`${name}` stands for a text. Lines between `//#if words` and `//#end` stay only where the words hold: `a b` asks for
both, `!a` for the contrary, `a or b` for either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources


def fill(name: str, texts: Mapping[str, object], flags: frozenset[str]) -> str:
    """The source `java/<name>.java` with the texts put in; raises KeyError for a text that is not given."""
    kept: list[str] = []
    open_: list[bool] = []
    template = resources.files("mlconvert.jars").joinpath("java", f"{name}.java").read_text(encoding="utf-8")
    for line in template.splitlines():
        if line.startswith("//#if "):
            open_.append(_holds(line.removeprefix("//#if "), flags))
        elif line == "//#end":
            open_.pop()
        elif all(open_):
            kept.append(line)
    whole = re.sub(r"\n{3,}", "\n\n", "\n".join(kept) + "\n")
    return re.sub(r"\$\{(\w+)\}", lambda match: str(texts[match.group(1)]), whole)


def _holds(words: str, flags: frozenset[str]) -> bool:
    return any(
        all((word.removeprefix("!") in flags) is not word.startswith("!") for word in case.split())
        for case in words.split(" or ")
    )
