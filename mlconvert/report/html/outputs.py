"""A comparison, output by output: the figures, how the errors are spread, and the rows that are furthest off."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from mlconvert.report import numbers, verdicts
from mlconvert.report.html.elements import Child, element
from mlconvert.report.html.parts import Bar, badge, bars, code, facts, folded

UNFOLDED = 6  # outputs up to which those that hold are shown in full too
_DECADES = 12  # bars of a spread at most: a wider one has several powers of ten a bar
_DIGITS = 25  # characters that any float64 has room in: they stay on one line


def comparison(parity: Mapping[str, Any]) -> Iterator[ET.Element]:
    """What was compared, and a card for each output; the outputs that differ come first."""
    samples = numbers.samples(parity)
    rtol, atol = numbers.tolerance(parity["rtol"]), numbers.tolerance(parity["atol"])
    told: list[Child] = [f"Compared on {samples}"]
    if parity["samples_sha256"]:
        told += [" (sha256 ", code(parity["samples_sha256"][:12]), ")"]
    yield element("p", told, f": rtol {rtol}, atol {atol}, unless an output has its own.")
    if verdicts.of_parity(parity) == "failed" and all(output["ok"] for output in parity["outputs"]):
        yield element("p", "The comparison failed: it proves nothing.", class_="bad")
    outputs = sorted(parity["outputs"], key=lambda output: output["ok"])
    for output in outputs:
        verdict = "verified" if output["ok"] else "failed"
        title = [element("h4", code(output["name"]) if output["name"] else "no output"), badge(verdict, _word(output))]
        if output["ok"] and len(outputs) > UNFOLDED:
            yield element("section", folded(title, *_output(parity, output)), class_="card")
        else:
            yield element("section", element("header", title), *_output(parity, output), class_="card")


def _word(output: Mapping[str, Any]) -> str:
    return "holds" if output["ok"] else "differs"


def _output(parity: Mapping[str, Any], output: Mapping[str, Any]) -> Iterator[ET.Element]:
    remark = verdicts.remark(output)
    if remark:
        yield element("p", remark, class_=None if output["ok"] else "bad")
    figures = list(_figures(output))
    if figures:
        yield facts(figures)
    if output.get("spread"):
        drawn = spread(output, parity["atol"])
        if drawn is not None:
            yield drawn
    if output.get("worst"):
        yield _worst(parity, output)


def _figures(output: Mapping[str, Any]) -> Iterator[tuple[str, Child]]:
    if output["dtype"]:
        yield "dtype", code(output["dtype"])
    if output["shape"] is not None:
        yield "shape", code(numbers.shape(output["shape"]))
    if output["elements"] is not None:
        yield "differ", f"{numbers.count(output['mismatched'])} of {numbers.count(output['elements'])}"
    named = {
        "max_abs": "max abs",
        "mean_abs": "mean abs",
        "p99_abs": "p99 abs",
        "max_rel": "max rel",
    }
    for key, name in named.items():
        if output[key] is not None:
            yield name, numbers.figure(output[key])
    if output["max_ulp"] is not None:
        yield "max ulp", numbers.ulps(output["max_ulp"])
    if output["label_flips"] is not None:
        yield "label flips", numbers.count(output["label_flips"])
    if output["nan_mismatches"]:
        yield "NaN on one side", numbers.count(output["nan_mismatches"])


# --- the spread of errors ---


def spread(output: Mapping[str, Any], atol: float) -> ET.Element | None:
    """A histogram of the errors, the largest at the bottom; None where all of them are 0.

    The bars grow with the logarithm of their counts: a single error far out must be seen beside a million small ones.
    """
    data = output["spread"]
    if not data["counts"]:
        return None
    total = data["elements"]
    rows = [("exactly alike", data["zeros"], "zero")]
    for low, high, count in _decades(data["lowest"], data["counts"]):
        # The decade that atol lies in, or begins: what is above it holds by the relative tolerance, if it does.
        here = atol > 0 and low <= math.log10(atol) < high
        rows.append((f"1e{low:+03} to 1e{high:+03}", count, "atol" if here else ""))
    scale = math.log1p(max(count for _, count, _ in rows))
    drawn = [
        Bar([label, element("small", " has atol") if mark == "atol" else None], math.log1p(count) / scale,
            f"{numbers.count(count)} ({_percent(count, total)})", mark=mark)
        for label, count, mark in rows
    ]  # fmt: skip
    counted = "" if total == output["elements"] else f", {numbers.count(total)} of them counted"
    caption = f"Absolute errors by size (bars: logarithm of the count{counted})"
    return bars(caption, ("error", "elements"), drawn, short=True)


def _decades(lowest: int, counts: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(from, to, count) in powers of ten, at most _DECADES of them."""
    step = -(-len(counts) // _DECADES)
    for start in range(0, len(counts), step):
        yield lowest + start, lowest + start + step, sum(counts[start : start + step])


def _percent(count: int, total: int) -> str:
    """Never `0.0 %` for something, nor `100 %` for less than all."""
    if count in (0, total):
        return "100 %" if count else "0 %"
    share = 100 * count / total
    return "< 0.1 %" if share < 0.1 else "> 99.9 %" if share > 99.9 else f"{share:.1f} %"


# --- the worst rows ---


def _worst(parity: Mapping[str, Any], output: Mapping[str, Any]) -> ET.Element:
    """What the two models answer stands one above the other, so that the digits compare.

    The rows that were made on boundaries lie behind those of the file, where nobody would look for them.
    """
    edges = parity.get("boundary_samples", 0)
    labels = output["label_flips"] is not None
    heads = ["place", "source, and here", *([] if labels else ["apart"])]
    rows = []
    for row in output["worst"]:
        ours, theirs = _values(row["reference"], row["candidate"])
        long = max(len(ours), len(theirs)) > _DIGITS
        pair = element("td", code(ours), element("br"), code(theirs), class_=None if long else "digits")
        cells = [pair]
        if not labels:
            cells.append(element("td", numbers.figure(row["abs"]), class_="figure"))
        made = bool(edges and row["index"] and row["index"][0] >= parity["samples"] - edges)
        told = element("small", "on a boundary") if made else None
        place = element("th", code(numbers.shape(row["index"])), told, scope="row", class_="digits")
        rows.append(element("tr", place, cells))
    which = "The first rows that differ" if labels else "The rows furthest off"
    return element(
        "table",
        element("caption", f"{which} (places count from 0)"),
        element("thead", element("tr", [
            element("th", head, scope="col", class_="figure" if head == "apart" else None) for head in heads
        ])),
        element("tbody", rows),
        class_="places",
    )  # fmt: skip


def _values(reference: float | str, candidate: float | str) -> tuple[str, str]:
    """With ten digits, or all of them where those do not tell the two apart."""
    short = tuple(f"{value:.10g}" if isinstance(value, float) else str(value) for value in (reference, candidate))
    return (short[0], short[1]) if short[0] != short[1] else (str(reference), str(candidate))
