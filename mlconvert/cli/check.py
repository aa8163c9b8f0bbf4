"""`mlconvert check`: whether what is bound to hardware will run on a machine."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlconvert.cli.options import Json

if TYPE_CHECKING:
    from rich.console import Console


def check(
    location: Annotated[
        str,
        typer.Argument(metavar="ARTIFACT|REPOSITORY", help="A model file, the folder that holds it, or a repository."),
    ],
    on: Annotated[
        Path | None,
        typer.Option(
            "--on",
            metavar="FINGERPRINT",
            help="The machine that is to run it: a file of mlconvert fingerprint.",
            show_default="this machine",
        ),
    ] = None,
    config_name: Annotated[
        str | None,
        typer.Option(
            "--model-config-name",
            metavar="NAME",
            help="What Triton is started with: models with configs/NAME.pbtxt are judged by that.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Tell before anything is loaded whether TensorRT plans and the like will run on a machine.

    Each is ok, suboptimal or refused, with the rules that say so and both values. Without a GPU, too.

    Examples:

    mlconvert check models

    mlconvert check model.plan --on server.json
    """
    from mlconvert.operations.check import check_location

    report = check_location(location, on=on, config_name=config_name)
    if as_json:
        from mlconvert.report import to_json

        sys.stdout.write(to_json(report))
    else:
        from rich.console import Console

        _show(report, Console(highlight=False))
    code: int = report["exit_code"]
    return code


_STYLES = {"ok": "green", "suboptimal": "yellow", "refuse": "bold red"}


def _show(report: Mapping[str, Any], console: Console) -> None:
    from rich.text import Text

    for line in _wrapped(f"on {_machine(report['on'])}", console.width):
        console.print(Text(line, "dim"))
    for rows in _groups(report["artifacts"]):
        verdict, style = rows[0]["verdict"], _STYLES[rows[0]["verdict"]]
        names = Text()
        for number, row in enumerate(rows):
            kept = "" if row["served"] else "  (a version that is not served now)"
            names.append("\n" if number else "").append(row["path"]).append(f"  {verdict}", style).append(kept, "dim")
        console.print(names, soft_wrap=True)  # a path that is broken over two lines cannot be copied
        for numbers, findings in _alike(rows[0]["judgements"]):
            _show_findings(numbers, findings, report["on"]["gpus"], console)
        if not rows[0]["judgements"]:
            console.print(Text("  loaded on no GPU of this machine", "dim"))
    console.print(Text(_summary(report), _STYLES[report["verdict"]]))


def _show_findings(
    numbers: list[int], findings: list[Mapping[str, Any]], names: list[str | None], console: Console
) -> None:
    """What is wrong on these GPUs; where it is refused, what would only slow it is counted."""
    from rich.text import Text

    told = [found for found in findings if found["level"] == "refuse"]
    slower = [found for found in findings if found["level"] == "suboptimal"]
    if numbers and (told or slower):
        console.print(Text(f"  {_gpus(numbers, names)}", "bold"), soft_wrap=True)
    for found in told or slower:
        console.print(
            Text.assemble("    ", (found["level"], _STYLES[found["level"]]), f"  {found['rule']}"), soft_wrap=True
        )
        fix = f"fix: {found['fix']}" if told and found["fix"] else ""
        for text, style in ((_values(found), ""), (found["sentence"], "dim"), (fix, "")):
            for line in _wrapped(text, console.width - 6):
                console.print(Text(f"      {line}", style), soft_wrap=True)
    if told and slower:
        rules = ", ".join(found["rule"] for found in slower)
        for line in _wrapped(f"and suboptimal: {rules}", console.width - 4):
            console.print(Text(f"    {line}", "dim"), soft_wrap=True)


def _groups(rows: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Artifacts of the same findings together, what is refused last: there a reader looks first."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(f"{row['verdict']} {row['judgements']!r}", []).append(row)
    return sorted(groups.values(), key=lambda group: list(_STYLES).index(group[0]["verdict"]))


def _alike(judgements: Iterable[Mapping[str, Any]]) -> list[tuple[list[int], list[Mapping[str, Any]]]]:
    """The findings, once for all GPUs of which they are the same."""
    groups: list[tuple[list[int], list[Mapping[str, Any]]]] = []
    for one in judgements:
        numbers = [one["gpu"]] if one["gpu"] is not None else []
        same = next((group for group in groups if group[1] == one["findings"]), None)
        if same is None:
            groups.append((numbers, one["findings"]))
        else:
            same[0].extend(numbers)
    return groups


def _gpus(numbers: list[int], names: list[str | None]) -> str:
    first, last = numbers[0], numbers[-1]
    if numbers == list(range(first, last + 1)) and last > first:
        told = f"GPUs {first} to {last}"
    else:
        told = f"GPU{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
    known = sorted({names[number] or "of unknown name" for number in numbers})
    return " ".join(_wrapped(f"{told}: {', '.join(known)}", 10_000))


_BYTES, _MHZ = ("memory", "l2-cache"), ("sm-clock", "memory-clock")


def _values(found: Mapping[str, Any]) -> str:
    from mlconvert.readers.hardware_builds import shown
    from mlconvert.report import numbers

    def told(value: Any) -> str:
        if found["rule"] in _BYTES and isinstance(value, int):
            return numbers.size(value)
        return f"{value} MHz" if found["rule"] in _MHZ and isinstance(value, int) else shown(value)

    if found["built"] is None and found["here"] is None:
        return ""
    return f"built for {told(found['built'])}; here {told(found['here'])}"


def _machine(on: Mapping[str, Any]) -> str:
    names = [name or "a GPU of unknown name" for name in on["gpus"]]
    counts = [f"{names.count(name)} x {name}" if names.count(name) > 1 else name for name in dict.fromkeys(names)]
    parts = [
        ", ".join(counts) or "no GPU",
        f"TensorRT {on['tensorrt'] or 'unknown'}",
        f"driver {on['driver'] or 'unknown'}",
        f"{on['os'] or 'unknown system'} {on['architecture'] or ''}".strip(),
    ]
    return f"{on['source']}: {'; '.join(parts)}"


def _summary(report: Mapping[str, Any]) -> str:
    from mlconvert.operations.check import counted

    counts = [f"{number} {verdict}" for verdict, number in counted(report["artifacts"]).items() if number]
    free = report["unbound"]
    rest = f"{free} not bound to hardware" if free else ""
    return ", ".join(filter(None, (*reversed(counts), rest)))


def _wrapped(text: str, width: int) -> list[str]:
    from mlconvert.report.printable import printable

    return textwrap.wrap(printable(text), width, break_on_hyphens=False)
