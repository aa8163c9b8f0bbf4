"""A benchmark as a picture: one-row latency and batch throughput, bars on a scale of powers of ten.

Plain SVG without scripts, fonts or links; it takes the light or dark of who looks at it, and says in words what it
shows. A bar ends at p50 (or at the rows a second), its thick end is the 95 % confidence interval, and the thin line
goes on to p99.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from mlconvert.report.bench import figures
from mlconvert.report.printable import printable

WIDTH = 760
LEFT, RIGHT = 16, 150  # of the bars; to the right of the longest there is room for its figures
ROW, BAR = 42, 14
HEAD, FOOT = 58, 34

_STYLE = """
.mlbench { font: 13px system-ui, sans-serif; }
.mlbench .paper { fill: #ffffff; } .mlbench text { fill: #1f2328; }
.mlbench .title { font-size: 15px; font-weight: 600; } .mlbench .quiet { fill: #59636e; font-size: 12px; }
.mlbench .grid { stroke: #d1d9e0; } .mlbench .source { fill: #6e7781; } .mlbench .artifact { fill: #0969da; }
.mlbench .likely { stroke: #1f2328; stroke-width: 4; } .mlbench .tail { stroke: #1f2328; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
.mlbench .paper { fill: #0d1117; } .mlbench text { fill: #f0f6fc; } .mlbench .quiet { fill: #9198a1; }
.mlbench .grid { stroke: #3d444d; } .mlbench .source { fill: #848d97; } .mlbench .artifact { fill: #4493f8; }
.mlbench .likely, .mlbench .tail { stroke: #f0f6fc; }
}
"""

_LEGEND = "logarithmic; thick line: 95 % confidence interval; thin line: to p99; ~: no difference beyond the noise"


@dataclass(frozen=True)
class _Bar:
    name: str
    role: str
    value: float
    low: float
    high: float
    tail: float | None
    text: str


def render(report: Mapping[str, Any]) -> str:
    """The picture of a benchmark that was made."""
    panels = [("One row, microseconds: less is better", _latencies(report))]
    if bars := _throughputs(report):
        panels.append(("Batches, rows a second: more is better", bars))
    parts, top = [], 0
    for title, bars in panels:
        parts += _panel(title, bars, top)
        top += HEAD + ROW * len(bars) + FOOT
    first = report["baselines"][0] if report["baselines"] else ""
    for line in (_LEGEND, *([f"x: times as fast as {first}"] if first else [])):
        parts.append(f'<text class="quiet" x="{LEFT}" y="{top + 12}">{_safe(line)}</text>')
        top += 20
    top += 8
    told = "; ".join(f"{bar.name}: {bar.text}" for title, bars in panels for bar in bars)
    size = f'viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" style="max-width:100%;height:auto"'
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" class="mlbench" role="img" {size}>',
        f"<title>{_safe('Benchmark of ' + report['source']['path'])}</title>",
        f"<desc>{_safe(told)}</desc>",
        f"<style>{_STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{top}"/>',
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def _latencies(report: Mapping[str, Any]) -> list[_Bar]:
    first = report["baselines"][0] if report["baselines"] else ""
    bars = []
    for one in report["contestants"]:
        row = one["one_row"]
        text = f"{figures.three(row['p50'])} µs ({figures.ratio(one, 'one_row', first)})"
        low, high = row["low"] or row["p50"], row["high"] or row["p50"]
        bars.append(_Bar(one["name"], one["role"], row["p50"], low, high, row["p99"], text))
    return bars


def _throughputs(report: Mapping[str, Any]) -> list[_Bar]:
    first = report["baselines"][0] if report["baselines"] else ""
    bars = []
    for one in report["contestants"]:
        if batch := one["batch"]:
            value = batch["rows_per_second"]
            text = f"{figures.three(value)}/s ({figures.ratio(one, 'batch', first)})"
            bars.append(
                _Bar(one["name"], one["role"], value, batch["low"] or value, batch["high"] or value, None, text)
            )
    return bars


def _panel(title: str, bars: Sequence[_Bar], top: int) -> list[str]:
    least = min(min(bar.low, bar.value) for bar in bars)
    most = max(max(bar.high, bar.value, bar.tail or 0) for bar in bars)
    # A decade of room below, so that the shortest bar is one.
    low, high = math.floor(math.log10(least)) - (math.log10(least) % 1 < 0.3), math.ceil(math.log10(most))
    high = max(high, low + 1)

    def across(value: float) -> float:
        share = (math.log10(max(value, 10**low)) - low) / (high - low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    bottom = top + HEAD + ROW * len(bars)
    parts = [f'<text class="title" x="{LEFT}" y="{top + 28}">{_safe(title)}</text>']
    for power in range(low, high + 1):
        x = across(10.0**power)
        parts.append(f'<line class="grid" x1="{x}" y1="{top + HEAD - 12}" x2="{x}" y2="{bottom}"/>')
        anchor = "start" if power == low else "middle"
        parts.append(f'<text class="quiet" x="{x}" y="{bottom + 18}" text-anchor="{anchor}">{_power(power)}</text>')
    for index, bar in enumerate(bars):
        parts += _drawn(bar, top + HEAD + ROW * index, across)
    return parts


def _drawn(bar: _Bar, top: float, across: Any) -> list[str]:
    y, middle, end = top + 12, top + 12 + BAR / 2, across(bar.value)
    parts = [
        f'<text x="{LEFT}" y="{top + 7}">{_safe(bar.name)}</text>',
        f'<rect class="{bar.role}" x="{LEFT}" y="{y}" width="{max(1.0, round(end - LEFT, 1))}" height="{BAR}" rx="2"/>',
    ]
    if bar.tail:
        parts.append(f'<line class="tail" x1="{end}" y1="{middle}" x2="{across(bar.tail)}" y2="{middle}"/>')
    parts.append(f'<line class="likely" x1="{across(bar.low)}" y1="{middle}" x2="{across(bar.high)}" y2="{middle}"/>')
    last = max(end, across(bar.high), across(bar.tail) if bar.tail else 0)
    parts.append(f'<text class="quiet" x="{last + 8}" y="{middle + 4}">{_safe(bar.text)}</text>')
    return parts


def _power(power: int) -> str:
    if power < 0:
        return f"{10.0**power:g}"
    return f"{10**power:,}" if power < 6 else f"{10 ** (power - 6):,} million"


def _safe(text: str) -> str:
    return escape(printable(text), {'"': "&quot;"})
