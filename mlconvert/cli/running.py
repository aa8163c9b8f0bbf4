"""What `convert` and `run` have in common: the plan shown or carried out, the reports written, the end told."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlconvert.execution.planned import PlannedRun
    from mlconvert.recipe import Recipe


def run_and_tell(
    recipe: Recipe,
    out: Path | None,
    *,
    single: bool = False,
    names: tuple[str, ...] = (),
    jobs: int = 1,
    reports: list[Path],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Plan and run the recipe, show and write its report; the exit code."""
    from mlconvert.cli.progress import progress
    from mlconvert.execution.execute import execute
    from mlconvert.execution.planned import plan_run

    check_reports(reports)
    planned = plan_run(recipe, out, single=single, names=names)
    if dry_run:
        show_plan(planned, as_json=as_json)
        return 0
    with progress([target.spec.name for target in planned.targets]) as observer:
        report = execute(planned, jobs=jobs, observer=observer)
    return tell(report, reports, as_json=as_json)


def check_reports(paths: list[Path]) -> None:
    """Refuse a report that could not be written, before the work rather than after it."""
    from mlconvert.report import check_report_path

    for path in paths:
        check_report_path(path)


def tell(report: Mapping[str, Any], paths: list[Path], *, as_json: bool) -> int:
    """Write the reports, print the result, and give the exit code."""
    from mlconvert.report import to_json, write_report

    for path in paths:
        write_report(report, path)
    if as_json:
        sys.stdout.write(to_json(report))
    else:
        from rich.console import Console

        from mlconvert.report import terminal

        terminal.render(report, Console(highlight=False))
        for path in paths:
            sys.stderr.write(f"report: {path}\n")
    code: int = report["exit_code"]
    return code


def show_plan(planned: PlannedRun, *, as_json: bool) -> None:
    """The plan of a run: for each target its steps with their options, and where the result will be."""
    from mlconvert.execution.planned import plan_as_json

    data = plan_as_json(planned)
    if as_json:
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    console.print(Text.assemble(("source  ", "dim"), f"{data['source']['path']} ({data['source']['format']})"))
    for target in data["targets"]:
        console.print(Text(target["name"], "bold"))
        for number, step in enumerate(target["steps"], 1):
            given = " ".join(f"{name}={value}" for name, value in step["options"].items())
            console.print(f"  {number}. {step['name']:<14} {step['title']}")
            if given:
                console.print(Text(f"     {given}", "dim"))
        console.print(Text.assemble(("  verify  ", "dim"), "each step" if target["verify"] else "no"))
        console.print(Text.assemble(("  result  ", "dim"), target["path"]))
        if target["publish"]:
            console.print(Text.assemble(("  publish ", "dim"), target["publish"]))
