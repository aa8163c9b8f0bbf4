"""HTML and SVG as a tree of elements: what is a text stays one, whatever is in it, since only the tree is written out.

There is no way to put markup in as text, so nothing has to be remembered to be escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias
from xml.etree import ElementTree as ET

from mlconvert.report.printable import printable

Child: TypeAlias = "ET.Element | str | Iterable[Child] | None"


def element(tag: str, *children: Child, **attributes: str | float | bool | None) -> ET.Element:
    """An element; children that are None are left out. `class_` is `class`, `aria_label` is `aria-label`.

    Characters that steer or hide (the override of the direction of writing among them) are shown as escapes. An
    attribute that is None or False is left out, one that is True has no value.
    """
    made = ET.Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            made.set(name.rstrip("_").replace("_", "-"), "" if value is True else _shown(_number(value)))
    _append(made, children)
    return made


def document(root: ET.Element) -> str:
    """The tree as HTML, with the doctype, and a line feed at its end."""
    ET.indent(root, space="")
    return f"<!DOCTYPE html>\n{ET.tostring(root, encoding='unicode', method='html')}\n"


def _append(parent: ET.Element, children: Iterable[Child]) -> None:
    for child in children:
        if child is None:
            continue
        if isinstance(child, ET.Element):
            parent.append(child)
        elif isinstance(child, str):
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + _shown(child)
            else:
                parent.text = (parent.text or "") + _shown(child)
        else:
            _append(parent, child)


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _shown(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))
