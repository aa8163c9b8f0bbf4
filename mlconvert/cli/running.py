"""What `convert` and `run` have in common: the plan shown or carried out, the reports written, the end told."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.errors import MlconvertError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from mlconvert.execution.planned import PlannedRun
    from mlconvert.recipe import Recipe


def run_and_tell(
    location: str,
    make: Callable[[], tuple[Recipe, Path | None]],
    *,
    single: bool = False,
    names: tuple[str, ...] = (),
    jobs: int | None = None,
    on: str | None = None,
    store: str | None = None,
    reports: list[Path],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Plan and run the recipe that `make` gives with its output, show and write its report; the exit code.

    `on`: a cluster that does the steps, with files exchanged through `store`.
    Raises what ended it before the first step, when a report of that (about `location`) has been written.
    """
    from mlconvert.cli.progress import progress
    from mlconvert.execution.execute import execute
    from mlconvert.execution.planned import plan_run
    from mlconvert.fleet.choice import check_places, workers_on

    with failures_reported(location, reports):
        recipe, out = make()
        check_places(on, store)
        planned = plan_run(recipe, out, single=single, names=names, elsewhere=on is not None)
        _check_reports_apart(reports, planned)
        if dry_run:
            show_plan(planned, as_json=as_json)
            return 0
        with workers_on(planned, on, store, jobs) as workers, progress(planned.names) as observer:
            report = execute(planned, jobs=jobs or 1, observer=observer, workers=workers)
    return tell(report, reports, as_json=as_json)


def _check_reports_apart(paths: list[Path], planned: PlannedRun) -> None:
    """Refuse a report in the place of a model, or in a folder that is to hold nothing but an output."""
    for path in paths:
        place = path.absolute()
        taken = place.resolve() in {file.resolve() for file in planned.source_files}
        for each in planned.destinations:
            taken |= place in (each.main, each.record) or (each.whole and each.out in place.parents)
        if taken:
            paths.remove(path)  # for this refusal is not to be reported there either
            what = "the report would lie where a model does, or in the folder of an output"
            raise UsageError(what, where=str(path), hint="name another file")


@contextlib.contextmanager
def failures_reported(location: str, paths: list[Path]) -> Iterator[None]:
    """Refuse reports that could not be written; write them about `location` too when the work ends before a step."""
    from mlconvert.report import check_report_path
    from mlconvert.report.contents import failed_report

    for path in paths:
        check_report_path(path)
        if path.resolve() == Path(location).resolve():
            raise UsageError("the report would replace the model", where=str(path), hint="name another file")
    try:
        yield
    except MlconvertError as error:
        error.report = failed_report(location, error)
        write_reports(error.report, paths)
        raise


def write_reports(report: Mapping[str, Any], paths: list[Path]) -> None:
    from mlconvert.report import write_report

    for path in paths:
        write_report(report, path)
        sys.stderr.write(f"report: {path}\n")


def tell(report: Mapping[str, Any], paths: list[Path], *, as_json: bool) -> int:
    """Write the reports, print the result, and give the exit code."""
    from mlconvert.report import to_json

    write_reports(report, paths)
    if as_json:
        sys.stdout.write(to_json(report))
    else:
        from rich.console import Console

        from mlconvert.report import terminal

        terminal.render(report, Console(highlight=False))
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
        if "source" in target:
            console.print(Text.assemble(("  of      ", "dim"), target["source"]))
        _show_end(console, target, "each step")
    if whole := data.get("ensemble"):
        console.print(Text("ensemble", "bold"))
        if whole["split"]:
            step = "its last step" if whole["split"] == "last" else f"its step '{whole['split']}'"
            console.print(f"  the pipeline, split before {step}")
        for edge in whole["edges"]:
            console.print(f"  {edge['from']:<24} -> {edge['to']:<24} {edge['tensor']}".rstrip())
        _show_end(console, whole, "the whole")


def _show_end(console: Console, entry: Mapping[str, Any], verified: str) -> None:
    from rich.text import Text

    console.print(Text.assemble(("  verify  ", "dim"), verified if entry["verify"] else "no"))
    console.print(Text.assemble(("  result  ", "dim"), entry["path"]))
    if entry["publish"]:
        console.print(Text.assemble(("  publish ", "dim"), entry["publish"]))
