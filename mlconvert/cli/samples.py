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
    kind: Annotated[Kind, typer.Option("--kind", help="random: drawn from the signature.")] = Kind.random,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same rows.")] = 0,
    trust: options.Trust = False,
) -> int:
    """Generate samples for a model from its signature.

    Example:

    mlconvert samples model.txt -o rows.npz --count 1000 --seed 7
    """
    from mlconvert.cli.progress import progress
    from mlconvert.errors import UsageError
    from mlconvert.operations.sample import generate_file

    if kind is Kind.boundary:
        raise UsageError("boundary samples cannot be made yet", hint="--kind random")
    with progress(["samples"]) as observer:
        rows = generate_file(source, output, count=count, seed=seed, trust=trust, observer=observer)
    typer.echo(f"{output}: {rows} rows, seed {seed}")
    return 0
