"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Samples = Annotated[
    Path | None,
    typer.Option(
        "--samples", metavar="FILE", help="Inputs to compare on: .npz, .npy, .csv or .parquet.", show_default=False
    ),
]
Rtol = Annotated[
    float | None,
    typer.Option("--rtol", min=0, help="Relative tolerance of floats.", show_default="by precision"),
]
Atol = Annotated[
    float | None,
    typer.Option("--atol", min=0, help="Absolute tolerance of floats.", show_default="by precision"),
]
Reports = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a report: .json, .md, .xml (JUnit) or .html. Repeatable.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout, and nothing else there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the checked plan and do nothing.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Load files that can run code (pickles): only those you would run yourself.")
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Weights for a PyTorch factory: safetensors, or a state_dict.",
        show_default=False,
    ),
]
Sign = Annotated[
    Path | None,
    typer.Option("--sign", metavar="KEY", help="Sign it with the private key in a file.", show_default=False),
]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="FORMAT", help="The source's format.", show_default="by content"),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="STEP.OPTION=VALUE", help="Set an option of a step. Repeatable.", show_default=False),
]
