"""`mlconvert convert`: one model to one artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlconvert.cli import options

if TYPE_CHECKING:
    from mlconvert.recipe import Recipe


def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A model file, or package.module:factory.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="The format to make.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="A file (with the format's suffix) or a folder.",
            show_default="the source's stem",
        ),
    ] = None,
    source_format: options.From = None,
    via: Annotated[
        list[str] | None,
        typer.Option(
            "--via",
            metavar="FORMAT|PASS",
            help="Go through this format, or make this pass. Repeatable.",
            show_default=False,
        ),
    ] = None,
    settings: options.Settings = None,
    samples: options.Samples = None,
    rtol: options.Rtol = None,
    atol: options.Atol = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Do not compare the result with the source.")] = False,
    weights: options.Weights = None,
    report: options.Reports = None,
    trust: options.Trust = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> int:
    """Convert a model and prove that the result answers as the source does.

    Examples:

    mlconvert convert model.txt --to onnx -o model.onnx --samples rows.csv

    mlconvert convert nets:build --weights w.pt --to onnx --samples s.npz
    """
    from mlconvert.api import convert_recipe
    from mlconvert.cli.running import run_and_tell
    from mlconvert.converter import parse_settings

    def recipe() -> tuple[Recipe, Path | None]:
        return convert_recipe(
            source,
            to=to,
            output=output,
            source_format=source_format,
            via=via or (),
            settings=parse_settings(settings),
            samples=samples,
            rtol=rtol,
            atol=atol,
            verify=not no_verify,
            weights=weights,
            trust=trust,
        )

    return run_and_tell(source, recipe, single=True, reports=report or [], dry_run=dry_run, as_json=as_json)
