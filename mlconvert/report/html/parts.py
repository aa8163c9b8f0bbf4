"""The parts that every page has: badges, tables, bars, notes. On a narrow screen a table's rows become cards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from mlconvert.report import numbers
from mlconvert.report.html.elements import Child, element

# A verdict is told by a sign and a word too, never by its colour alone.
SIGNS = {"verified": "✓", "not verified": "○", "failed": "✗"}
CLASSES = {"verified": "good", "not verified": "open", "failed": "bad"}


def badge(verdict: str, text: str | None = None) -> ET.Element:
    """A verdict as a coloured label."""
    sign = element("span", SIGNS[verdict], aria_hidden="true")
    return element("span", sign, f" {text or verdict}", class_=f"badge {CLASSES[verdict]}")


def code(text: str | None) -> Child:
    return element("code", text) if text else numbers.NONE


def table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[Child]], *, right: Iterable[int] = ()
) -> ET.Element:
    """A table whose first column names its rows; the columns in `right` hold figures.

    The roles are stated, for on a narrow screen the style shows each row as a card of its own, with the heads beside
    the values, and browsers take what is not laid out as a table for no table.
    """
    figures = frozenset(right)

    def cell(index: int, content: Child) -> ET.Element:
        classes = "figure" if index in figures else None
        if index == 0:
            return element("th", content, scope="row", role="rowheader", class_=classes)
        return element("td", content, role="cell", class_=classes, data_head=heads[index])

    head = [
        element("th", text, scope="col", role="columnheader", class_="figure" if index in figures else None)
        for index, text in enumerate(heads)
    ]
    body = [element("tr", [cell(index, each) for index, each in enumerate(row)], role="row") for row in rows]
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", head, role="row"), role="rowgroup"),
        element("tbody", body, role="rowgroup"),
        class_="cards",
        role="table",
    )


def pairs(caption: str, heads: tuple[str, str], rows: Iterable[tuple[str, Child]]) -> ET.Element:
    """A table of two columns, which is a table on a narrow screen too."""
    body = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in rows]
    head = element("tr", [element("th", text, scope="col") for text in heads])
    return element("table", element("caption", caption), element("thead", head), element("tbody", body), class_="pairs")


def facts(rows: Iterable[tuple[str, Child]]) -> ET.Element:
    """Names and values."""
    pairs = [element("div", element("dt", name), element("dd", value)) for name, value in rows]
    return element("dl", pairs, class_="facts")


def folded(summary: Child, *content: Child, opened: bool = False) -> ET.Element:
    return element("details", element("summary", summary), *content, open=opened)


def preformatted(text: str) -> ET.Element:
    return element("pre", text.strip("\n").expandtabs(), tabindex="0")


@dataclass(frozen=True)
class Bar:
    """One bar: `share` of the longest, `low` and `high` the ends of an interval as shares too. `mark`: stands out."""

    label: Child
    share: float
    text: str
    low: float | None = None
    high: float | None = None
    mark: str = ""


def bars(caption: str, heads: tuple[str, str], rows: Iterable[Bar], *, short: bool = False) -> ET.Element:
    """Bars in a table: the figures are text, so the bars themselves need not be told.

    `short`: labels and figures leave room for a bar between them on a narrow screen too.
    """
    drawn = list(rows)
    text = max((len(bar.text) for bar in drawn), default=0)

    def row(bar: Bar) -> ET.Element:
        filled = element("span", class_="fill", style=f"width:{_percent(bar.share)}")
        interval = None
        if bar.low is not None and bar.high is not None:
            place = f"left:{_percent(bar.low)};width:{_percent(bar.high - bar.low)}"
            interval = element("span", class_="interval", style=place)
        drawn = element("span", filled, interval, class_="bar", aria_hidden="true")
        label = element("th", bar.label, scope="row")
        return element("tr", label, element("td", drawn, element("span", bar.text)), class_=bar.mark or None)

    body = element("tbody", [row(bar) for bar in drawn])
    label = max((len("".join(head.itertext())) for head in body.iter("th")), default=0)
    return element(
        "table",
        element("caption", caption),
        element("thead", element("tr", [element("th", head, scope="col") for head in heads])),
        body,
        class_="bars short" if short else "bars",
        style=f"--label:{min(label, 30)}ch;--text:{text}ch",  # bars of one table begin and end alike
    )


def shares(values: Sequence[float]) -> list[float]:
    """Of the largest."""
    largest = max(values, default=0.0)
    return [value / largest if largest > 0 else 0.0 for value in values]


def _percent(share: float) -> str:
    # What is there shows, be it ever so little.
    share = min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    return f"{max(100 * share, 0.5 if share else 0.0):.1f}%"
