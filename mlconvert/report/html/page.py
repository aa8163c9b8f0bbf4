"""The frame of a page: one file that loads nothing, neither from a network nor from a disk, and runs no script."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from mlconvert.report import numbers
from mlconvert.report.environments import versions_of
from mlconvert.report.html.elements import Child, document, element
from mlconvert.report.html.parts import code, folded, pairs, preformatted

_STYLE = Path(__file__).with_name("style.css")
# Even if markup found its way in, it could neither run nor load anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(title: str, *content: Child) -> str:
    """The whole document in English, with a line feed at its end."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        _style(),
    )
    return document(element("html", head, element("body", element("main", content)), lang="en"))


def _style() -> ET.Element:
    made = ET.Element("style")
    made.text = _STYLE.read_text(encoding="utf-8")
    return made


def part(title: str, *content: Child) -> ET.Element:
    """A section of the page."""
    return element("section", element("header", element("h2", title)), content)


def told_error(error: Mapping[str, Any]) -> ET.Element:
    """An error with its place, its message and what mends it."""
    # A step's `where` may go on with its log and how to run it again.
    where, _, more = (error["where"] or "").partition("\n")
    told: list[Child] = [element("h3", error["error"])]
    if where:
        told.append(element("p", f"in {where}"))
    told.append(preformatted("\n".join(text for text in (error["message"], more) if text)))
    if error["hint"]:
        told += [element("p", "To mend it:"), preformatted(error["hint"])]
    return element("div", told, class_="error")


def footer(report: Mapping[str, Any]) -> ET.Element:
    version = report["environment"]["packages"].get("mlconvert") or ""
    return element("footer", f"{report['schema']}, by mlconvert {version}")


def surroundings(report: Mapping[str, Any]) -> Iterator[ET.Element]:
    """Where it ran: the versions, and the fingerprint of the hardware where there is one."""
    environment = report["environment"]
    rows: list[tuple[str, Child]] = [("python", environment["python"]), ("platform", code(environment["platform"]))]
    rows += [(name, version or numbers.NONE) for name, version in versions_of(environment)]
    parts: list[Child] = [pairs("What took part", ("what", "version"), rows)]
    if report["fingerprint"] is not None:
        parts.append(folded(element("h3", "Hardware fingerprint"), fingerprint(report["fingerprint"])))
    yield part("Environment", parts)


def fingerprint(data: Mapping[str, Any]) -> ET.Element:
    """Every value of it with the path that leads to it."""
    rows = [(path, code(_told(value))) for path, value in _leaves("", data)]
    return pairs("What the result is bound to", ("fact", "value"), rows)


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    inner: Iterable[tuple[str, Any]]
    if isinstance(value, Mapping) and value:
        inner = ((f"{path}.{name}" if path else str(name), item) for name, item in value.items())
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        inner = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    else:
        yield path, value
        return
    for name, item in inner:
        yield from _leaves(name, item)


def _told(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
