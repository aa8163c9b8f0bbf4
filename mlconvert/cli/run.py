"""`mlconvert run`: a recipe, all its targets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlconvert.cli import options


def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (.yaml).")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="NAME",
            help="Only this target, or model of an ensemble. Repeatable.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where the targets go.", show_default="build/RECIPE"),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="Steps that may run side by side.")] = 1,
    report: options.Reports = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> int:
    """Run a recipe: convert, verify and publish every target that it names.

    Example:

    mlconvert run recipes/breast_cancer.yaml --report report.md
    """
    from mlconvert.cli.running import run_and_tell
    from mlconvert.recipe import load_recipe

    return run_and_tell(
        str(recipe),
        lambda: (load_recipe(recipe), out),
        names=tuple(target or ()),
        jobs=jobs,
        reports=report or [],
        dry_run=dry_run,
        as_json=as_json,
    )
