"""`mlconvert samples`: inputs for a model, made from what it takes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlconvert.cli import options


class Kind(StrEnum):
    random = "random"
    boundary = "boundary"


def samples(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A model file.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to write: .npz, .npy, .csv or .parquet.")
    ],
    count: Annotated[int, typer.Option("--count", min=1, help="How many rows.")] = 256,
    kind: Annotated[Kind, typer.Option("--kind", help="boundary: at the thresholds of a model's trees.")] = Kind.random,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same rows.")] = 0,
    trust: options.Trust = False,
) -> int:
    """Generate samples for a model: random rows from its signature, or rows at the thresholds of its trees.

    Examples:

    mlconvert samples model.txt -o rows.npz --count 1000 --seed 7

    mlconvert samples model.txt -o edges.npz --kind boundary --count 100000
    """
    from mlconvert.cli.progress import progress
    from mlconvert.operations.sample import generate_file

    with progress(["samples"]) as observer:
        rows = generate_file(source, output, count=count, kind=kind, seed=seed, trust=trust, observer=observer)
    typer.echo(f"{output}: {rows}{' boundary' if kind is Kind.boundary else ''} rows, seed {seed}")
    return 0
