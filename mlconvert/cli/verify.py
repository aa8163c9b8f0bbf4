"""`mlconvert verify`: two models compared, or an artifact tested against its own record."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from mlconvert.cli import options


def verify(
    reference: Annotated[
        str, typer.Argument(metavar="REFERENCE", help="The model that is right; or, alone, an artifact with a record.")
    ],
    candidate: Annotated[
        str | None,
        typer.Argument(
            metavar="CANDIDATE",
            help="The model to test: a file, a folder, or a running server's: triton://HOST:PORT/NAME[/VERSION] or "
            "tfserving://HOST:PORT/NAME[/VERSION].",
            show_default=False,
        ),
    ] = None,
    samples: options.Samples = None,
    rtol: options.Rtol = None,
    atol: options.Atol = None,
    weights: options.Weights = None,
    signature: Annotated[
        str | None,
        typer.Option(
            "--signature",
            metavar="KEY",
            help="Only tell whether the artifact is what the owner of this public key signed.",
            show_default=False,
        ),
    ] = None,
    report: options.Reports = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> int:
    """Compare two models on samples, or test an artifact on the rows its record keeps.

    Examples:

    mlconvert verify model.txt model.onnx --samples rows.csv

    mlconvert verify build/breast_cancer/triton

    mlconvert verify build/breast_cancer/triton triton://localhost:8000/breast_cancer

    mlconvert verify build/breast_cancer/tf-serving tfserving://localhost:8500/breast_cancer/stable

    mlconvert verify models/breast_cancer/1 --signature signing.pub
    """
    from mlconvert.api import verify_report
    from mlconvert.cli.progress import progress
    from mlconvert.cli.running import failures_reported, tell
    from mlconvert.errors import UsageError

    if signature is not None:
        given = (candidate, samples, rtol, atol, weights, report)
        if any(value is not None for value in given) or trust:
            what = "--signature looks at files alone: it goes with one artifact, and with --json"
            raise UsageError(what, hint=f"mlconvert verify {reference} --signature {signature}")
        return _verify_signature(reference, signature, as_json=as_json)
    if candidate is None and samples is not None:
        raise UsageError(
            "--samples goes with two models; one alone is tested on the rows of its record",
            hint=f"mlconvert verify REFERENCE {reference} --samples {samples}",
        )
    with failures_reported(reference, report or []), progress(["verify"]) as observer:
        outcome = verify_report(
            reference,
            candidate,
            samples=samples,
            rtol=rtol,
            atol=atol,
            weights=weights,
            trust=trust,
            observer=observer,
        )
    return tell(outcome, report or [], as_json=as_json)


def _verify_signature(artifact: str, key: str, *, as_json: bool) -> int:
    from mlconvert.operations.signing import verify_signature

    told = verify_signature(artifact, key)
    if as_json:
        sys.stdout.write(json.dumps(told, indent=1) + "\n")
        return 0
    count, key = len(told["files"]), told["key"]["sha256"][:16]
    typer.echo(f"{told['artifact']}: signed with the key of {told['key']['path']}, and unchanged")
    typer.echo(f"  {count} file{'s' if count > 1 else ''} and no other; the key's sha256 is {key}…")
    return 0
