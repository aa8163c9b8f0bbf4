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
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            metavar="N",
            help="Steps that may run side by side.",
            show_default="1; with --on as many as the cluster has processors",
        ),
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            metavar="ray[://HOST:PORT]",
            help="Send the steps to the machines of a Ray cluster.",
            show_default="this machine",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="FOLDER|s3://…",
            help="Where the cluster's machines exchange files with this one: all of them see it.",
            show_default="a folder in the cache",
        ),
    ] = None,
    report: options.Reports = None,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> int:
    """Run a recipe: convert, verify and publish every target that it names.

    Example:

    mlconvert run recipes/breast_cancer.yaml --report report.md

    mlconvert run engines.yaml --on ray://head:10001 --store s3://bucket/fleet
    """
    from mlconvert.cli.running import run_and_tell
    from mlconvert.recipe import load_recipe

    return run_and_tell(
        str(recipe),
        lambda: (load_recipe(recipe), out),
        names=tuple(target or ()),
        jobs=jobs,
        on=on,
        store=store,
        reports=report or [],
        dry_run=dry_run,
        as_json=as_json,
    )
