"""A report on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from mlconvert.report import numbers, verdicts
from mlconvert.report.layout import has_unicode, put_columns, put_line, put_paragraph
from mlconvert.report.printable import printable_lines

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"verified": "bold green", "not verified": "bold yellow", "failed": "bold red"}


def render(report: Mapping[str, Any], console: Console) -> None:
    """Print the report. Colours only where the console has them; no line is wrapped where it is no terminal."""
    source = report["source"]
    verdict = verdicts.of_report(report)
    line = Text.assemble((verdicts.headline(report), _STYLES[verdict]), f"  {source['path']} ({source['format']})")
    line.append(f"  {numbers.seconds(report['seconds'])}", "dim")
    put_line(console, line)
    for target in report["targets"]:
        put_line(console, Text())
        _target(console, report, target)


def _target(console: Console, report: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    verdict = verdicts.of_target(target)
    put_line(console, Text.assemble((target["name"], "bold"), "  ", (verdict, _STYLES[verdict])))
    arrow = " → " if has_unicode(console) else " -> "
    if target["steps"]:
        put_line(console, Text("  " + verdicts.route(report, target, arrow)))
        put_columns(console, _step_rows(target["steps"]), words=("parity", ""))
        if verdicts.last_parity(target) is not None:
            _outputs(console, target["steps"][-1]["parity"])
    for step in target["steps"][:-1]:
        if verdicts.of_parity(step["parity"]) == "failed":
            _outputs(console, step["parity"])
    error = verdicts.error_beyond_outputs(target)
    if error:
        _error(console, error)
    if target["ok"] and target["path"]:
        size = f"  ({numbers.size(target['bytes'])})" if target["bytes"] is not None else ""  # a server's has none
        put_line(console, Text(f"  {target['path']}{size}"))
    if target.get("published"):
        put_line(console, Text(f"  published to {verdicts.published(target)}"))
        put_line(console, Text(f"  {target['published']['repository']}"))
    elif target.get("not_published"):
        put_line(console, Text(f"  not published: {target['not_published']}", "yellow"))


def _step_rows(steps: Sequence[Mapping[str, Any]]) -> list[list[Text]]:
    rows = [[Text(head, "dim") for head in ("step", "time", "memory", "parity", "largest error", "")]]
    for step in steps:
        verdict = verdicts.of_parity(step["parity"])
        rows.append([
            Text(verdicts.step_name(step["converter"])),
            Text(numbers.seconds(step["seconds"])),
            Text(numbers.mebibytes(step["peak_rss_bytes"])),
            Text(verdict, _STYLES[verdict].removeprefix("bold ")),
            Text(numbers.figure(verdicts.largest_error(step["parity"]))),
            Text("cached" if step["cached"] else "", "dim"),
        ])  # fmt: skip
    return rows


def _outputs(console: Console, parity: Mapping[str, Any]) -> None:
    rtol, atol = numbers.tolerance(parity["rtol"]), numbers.tolerance(parity["atol"])
    line = f"  compared on {numbers.samples(parity)}; by default rtol {rtol}, atol {atol}"
    put_line(console, Text(line, "dim"))
    rows = [[Text(head, "dim") for head in ("output", "", "max abs", "max rel", "ulp", "differ", "of")]]
    rows += [
        [
            Text(output["name"]),
            Text("ok", "green") if output["ok"] else Text("differs", "bold red"),
            Text(numbers.figure(output["max_abs"])),
            Text(numbers.figure(output["max_rel"])),
            Text(numbers.ulps(output["max_ulp"])),
            Text(numbers.count(output["mismatched"])),
            Text(numbers.count(output["elements"])),
        ]
        for output in parity["outputs"]
    ]
    put_columns(console, rows, words=("",))
    for output in parity["outputs"]:
        remark = verdicts.remark(output)
        if remark:
            put_paragraph(console, Text(remark, "" if output["ok"] else "red"))


def _error(console: Console, error: Mapping[str, Any]) -> None:
    # A step's `where` may go on with its log and how to run it again.
    where, _, more = (error["where"] or "").partition("\n")
    put_paragraph(console, Text(f"{error['error']}{f' in {where}' if where else ''}", "bold red"))
    for line in printable_lines(error["message"]):
        put_paragraph(console, Text(line))
    for line in printable_lines(more):
        put_line(console, Text(f"    {line}", "dim"))
    for line in printable_lines(error["hint"] or ""):
        put_paragraph(console, Text(line, "cyan"))
