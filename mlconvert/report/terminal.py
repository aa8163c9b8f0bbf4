"""A report on the terminal: 80 columns are enough, and nothing but lines of text where there is no terminal.

Lines are laid out here and not by a table of rich: a path or an output's name is never cut or broken, so that it can
be copied and searched for; where a name is too long for its column, its figures go to a line of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.text import Text

from mlconvert.report import numbers, verdicts
from mlconvert.report.printable import printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"verified": "bold green", "not verified": "bold yellow", "failed": "bold red"}


def render(report: Mapping[str, Any], console: Console) -> None:
    """Print the report. Colours only where the console has them; no line is wrapped where it is no terminal."""
    source = report["source"]
    verdict = verdicts.of_report(report)
    line = Text.assemble((verdicts.headline(report), _STYLES[verdict]), f"  {source['path']} ({source['format']})")
    line.append(f"  {numbers.seconds(report['seconds'])}", "dim")
    _line(console, line)
    for target in report["targets"]:
        _line(console, Text())
        _target(console, report, target)


def _target(console: Console, report: Mapping[str, Any], target: Mapping[str, Any]) -> None:
    verdict = verdicts.of_target(target)
    _line(console, Text.assemble((target["name"], "bold"), "  ", (verdict, _STYLES[verdict])))
    arrow = " → " if _unicode(console) else " -> "
    if target["steps"]:
        _line(console, Text("  " + verdicts.route(report, target, arrow)))
        _columns(console, _step_rows(target["steps"]), words=("parity", ""))
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
        _line(console, Text(f"  {target['path']}{size}"))
    if target.get("published"):
        _line(console, Text(f"  published to {verdicts.published(target)}"))
        _line(console, Text(f"  {target['published']['repository']}"))
    elif target.get("not_published"):
        _line(console, Text(f"  not published: {target['not_published']}", "yellow"))


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
    _line(console, Text(line, "dim"))
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
    _columns(console, rows, words=("",))
    for output in parity["outputs"]:
        remark = verdicts.remark(output)
        if remark:
            _paragraph(console, Text(remark, "" if output["ok"] else "red"))


def _error(console: Console, error: Mapping[str, Any]) -> None:
    # A step's `where` may go on with its log and how to run it again.
    where, _, more = (error["where"] or "").partition("\n")
    _paragraph(console, Text(f"{error['error']}{f' in {where}' if where else ''}", "bold red"))
    for line in printable_lines(error["message"]):
        _paragraph(console, Text(line))
    for line in printable_lines(more):
        _line(console, Text(f"    {line}", "dim"))
    for line in printable_lines(error["hint"] or ""):
        _paragraph(console, Text(line, "cyan"))


# --- laying out ---


def _columns(console: Console, rows: list[list[Text]], words: Collection[str]) -> None:
    """Rows under a head: the first column and those of words (by their heads) to the left, figures to the right."""
    left = [head.plain in words for head in rows[0][1:]]
    rows = [[_printable(cell, console) for cell in row] for row in rows]
    widths = [max(cell_len(row[index].plain) for row in rows) for index in range(len(rows[0]))]
    rest = sum(width + 2 for width in widths[1:])
    if console.is_terminal:
        widths[0] = min(widths[0], max(console.width - 4 - rest, 8))
    for row in rows:
        line = Text("    ").append_text(row[0])
        if cell_len(row[0].plain) > widths[0]:
            _line(console, line)
            line = Text("    ")
        line.append(" " * (4 + widths[0] - cell_len(line.plain)))
        for cell, width, is_word in zip(row[1:], widths[1:], left, strict=True):
            blank = " " * (width - cell_len(cell.plain))
            line.append_text(Text("  ") + cell + blank if is_word else Text("  " + blank) + cell)
        line.rstrip()
        _line(console, line)


def _line(console: Console, text: Text) -> None:
    """As it is, however long: a terminal breaks it at its edge, and what is copied has no line feed in it."""
    console.print(_printable(text, console), soft_wrap=True)


def _paragraph(console: Console, text: Text) -> None:
    """Indented; a terminal gets it wrapped at words, anything else on one line."""
    text = _printable(text, console)
    lines = text.wrap(console, max(console.width - 4, 20)) if console.is_terminal else [text]
    for line in lines:
        line.rstrip()
        console.print(Text("    ") + line, soft_wrap=True)


def _printable(text: Text, console: Console) -> Text:
    plain = printable(text.plain)
    if not _unicode(console):
        plain = plain.encode(console.encoding, "backslashreplace").decode(console.encoding)
    if plain == text.plain:
        return text
    return Text(plain, text.style)


def _unicode(console: Console) -> bool:
    return console.encoding.lower().startswith("utf")
