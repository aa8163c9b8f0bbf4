"""`mlconvert bench`: a model and what became of it, measured side by side."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlconvert.cli import options

Threads = Annotated[
    int, typer.Option("--threads", metavar="N", min=1, help="Threads that each computes with, and CPUs it is kept on.")
]
Batch = Annotated[int, typer.Option("--batch", metavar="ROWS", min=1, help="Rows of a batch.")]
Starts = Annotated[
    int,
    typer.Option(
        "--starts", metavar="N", min=1, help="How often all are started anew; 3 at least, or noise cannot be told."
    ),
]
Rounds = Annotated[int, typer.Option("--rounds", metavar="N", min=1, help="Rounds of turns in each start.")]
BenchReports = Annotated[
    list[Path] | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a report: .json, .md, .html or .svg (bars). Repeatable.",
        show_default=False,
    ),
]


def bench(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The source: the baseline of all ratios.")],
    artifacts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ARTIFACT…",
            help="What became of it: files, folders, or a server's: triton+http://HOST:PORT/NAME, triton+grpc://…",
            show_default=False,
        ),
    ] = None,
    samples: options.Samples = None,
    threads: Threads = 1,
    batch: Batch = 10_000,
    starts: Starts = 3,
    rounds: Rounds = 5,
    rtol: options.Rtol = None,
    atol: options.Atol = None,
    weights: options.Weights = None,
    report: BenchReports = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> int:
    """Measure a model and its artifacts side by side: latency, throughput, cold start, memory, size.

    Answers are compared first: what answers otherwise is not benched.

    Examples:

    mlconvert bench model.skops model.onnx --samples rows.csv

    mlconvert bench model.txt model.onnx model.jar --samples rows.csv --report bench.svg

    mlconvert bench model.skops model.onnx triton+grpc://localhost:8001/churn --samples rows.csv
    """
    from mlconvert.cli.progress import progress
    from mlconvert.errors import MlconvertError, UsageError
    from mlconvert.operations import bench as operation
    from mlconvert.operations.bench_report import Asked, failed
    from mlconvert.report import to_json
    from mlconvert.report.bench import check_path, write

    asked = Asked(
        model,
        tuple(artifacts or ()),
        samples,
        threads,
        starts,
        rounds,
        batch,
        rtol=rtol,
        atol=atol,
        weights=weights,
        trust=trust,
    )
    reports = report or []
    for path in reports:
        check_path(path)
        if path.resolve() in {Path(one).resolve() for one in (model, *asked.artifacts)}:
            raise UsageError("the report would replace a model", where=str(path), hint="name another file")
    try:
        with progress(["bench"]) as observer:
            told = operation.bench(asked, observer)
    except MlconvertError as error:
        error.report = failed(asked, error)
        for path in reports:
            if path.suffix.lower() != ".svg":  # there is nothing to draw
                write(error.report, path)
        raise
    for path in reports:
        write(told, path)
        sys.stderr.write(f"report: {path}\n")
    if as_json:
        sys.stdout.write(to_json(told))
    else:
        from rich.console import Console

        from mlconvert.report.bench import terminal

        terminal.render(told, Console(highlight=False))
    return 0
