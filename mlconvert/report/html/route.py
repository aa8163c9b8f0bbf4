"""The route of a target as a picture: boxes in a row on a wide screen, one below the other on a narrow one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from mlconvert.report import numbers, verdicts
from mlconvert.report.html.elements import element
from mlconvert.report.html.parts import CLASSES, SIGNS

_ADVANCE = 8.5  # of a character of the monospaced font at 14 units: boxes are as wide as their text
_PAD, _HEIGHT, _GAP, _DOWN = 14.0, 64.0, 44.0, 30.0
_LINE = 944.0  # units that a line of boxes has room in where the style shows this drawing
_LONGEST = 36  # characters of a line; what is longer is in the tables in full


@dataclass(frozen=True)
class Box:
    """A place on the route: its name, a line below it, a kind (a class of the style) and what leads to it."""

    name: str
    below: str
    kind: str = ""

    @property
    def width(self) -> float:
        return max(len(_cut(self.name)), len(_cut(self.below)), 9) * _ADVANCE + 2 * _PAD


def boxes(report: Mapping[str, Any], target: Mapping[str, Any]) -> list[Box]:
    """The places that a target went through, the source first and where it was published last."""
    return list(_boxes(report, target))


def _boxes(report: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Box]:
    if verdicts.is_comparison(target):
        parity = target["steps"][0]["parity"]
        yield Box(report["source"]["format"], "the reference")
        yield Box(target["format"], _below(verdicts.of_parity(parity)), CLASSES[verdicts.of_parity(parity)])
        return
    origin = verdicts.origin(report, target)
    yield Box(origin, "the source") if origin else Box("its models", "each a target")
    for step in target["steps"]:
        verdict = verdicts.of_parity(step["parity"])
        took = "cached" if step["cached"] else numbers.seconds(step["seconds"])
        yield Box(verdicts.step_name(step["converter"]), f"{_below(verdict)}, {took}", CLASSES[verdict])
    error = verdicts.error_beyond_outputs(target)
    if error:
        yield Box("stopped", f"{SIGNS['failed']} {error['error']}", "bad stopped")
    elif target.get("published"):
        row = target["published"]
        yield Box(row["to"], f"{row['name']}, version {row['version']}", "place")


def _below(verdict: str) -> str:
    return f"{SIGNS[verdict]} {verdict}"


def pictures(report: Mapping[str, Any], target: Mapping[str, Any]) -> ET.Element:
    """Both drawings, of which the style shows the one that fits."""
    row = boxes(report, target)
    told = ", then ".join(f"{box.name} ({box.below.strip(''.join(SIGNS.values()) + ' ')})" for box in row)
    if verdicts.is_comparison(target):
        told = told.replace(", then ", " compared with ")
    return element("div", _across(row, f"Route: {told}"), _downwards(row, f"Route: {told}"), class_="route")


def _across(row: Sequence[Box], told: str) -> ET.Element:
    """From left to right, in as many lines as it takes."""
    parts: list[ET.Element] = []
    x = y = 1.0
    widest, before = 0.0, None
    for box in row:
        if before is not None and x + _GAP + box.width > _LINE:
            out, y = x - before.width / 2, y + _HEIGHT + _DOWN
            parts.append(_bent_arrow(out, y - _DOWN + 3, 1 + box.width / 2, y - 3))
            x = 1.0
        elif before is not None:
            parts.append(_arrow(x + 4, y + _HEIGHT / 2, x + _GAP - 4, y + _HEIGHT / 2))
            x += _GAP
        parts += _box(box, x, y, box.width)
        x += box.width
        widest, before = max(widest, x), box
    return _picture("across", widest + 1, y + _HEIGHT + 1, told, parts)


def _downwards(row: Sequence[Box], told: str) -> ET.Element:
    width = max(box.width for box in row)
    parts, y = [], 1.0
    for index, box in enumerate(row):
        if index:
            parts.append(_arrow(1 + width / 2, y + 3, 1 + width / 2, y + _DOWN - 3))
            y += _DOWN
        parts += _box(box, 1.0, y, width)
        y += _HEIGHT
    return _picture("downwards", width + 2, y + 1, told, parts)


def _picture(kind: str, width: float, height: float, told: str, parts: Sequence[ET.Element]) -> ET.Element:
    box = f"0 0 {width:g} {height:g}"
    return element("svg", parts, class_=kind, viewBox=box, width=width, height=height, role="img", aria_label=told)


def _box(box: Box, x: float, y: float, width: float) -> Iterator[ET.Element]:
    middle = x + width / 2
    yield element("rect", x=x, y=y, width=width, height=_HEIGHT, rx=8, class_=f"box {box.kind}".strip())
    yield element("text", _cut(box.name), x=middle, y=y + 27, class_="name")
    yield element("text", _cut(box.below), x=middle, y=y + 48, class_=f"below {box.kind}".strip())


def _arrow(x: float, y: float, to_x: float, to_y: float) -> ET.Element:
    if y == to_y:
        head = f"M{to_x - 7:g} {y - 5:g} L{to_x:g} {y:g} L{to_x - 7:g} {y + 5:g}"
    else:
        head = f"M{x - 5:g} {to_y - 7:g} L{x:g} {to_y:g} L{x + 5:g} {to_y - 7:g}"
    return element("path", d=f"M{x:g} {y:g} L{to_x:g} {to_y:g} {head}", class_="arrow")


def _bent_arrow(x: float, y: float, to_x: float, to_y: float) -> ET.Element:
    """Down, along the space between two lines, and down again."""
    half = (y + to_y) / 2 - 4
    head = f"M{to_x - 5:g} {to_y - 7:g} L{to_x:g} {to_y:g} L{to_x + 5:g} {to_y - 7:g}"
    line = f"M{x:g} {y:g} L{x:g} {half:g} L{to_x:g} {half:g} L{to_x:g} {to_y:g}"
    return element("path", d=f"{line} {head}", class_="arrow")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
