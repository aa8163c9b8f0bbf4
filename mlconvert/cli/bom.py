"""`mlconvert bom`: what an artifact was made from and with, as CycloneDX."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def bom(
    artifact: Annotated[
        str, typer.Argument(metavar="ARTIFACT", help="A model file, or the folder or version that holds one.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write it there.", show_default="to stdout"),
    ] = None,
) -> int:
    """Write the bill of materials of an artifact (CycloneDX 1.6, JSON) from its record.

    Example:

    mlconvert bom build/breast_cancer/triton -o bom.cdx.json
    """
    from mlconvert.operations.bom import bill_of

    found = bill_of(artifact)
    if output is None:
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return 0
    _write(output, found, artifact)
    typer.echo(f"{output}: {len(found['components'])} components of {found['metadata']['component']['name']}")
    return 0


def _write(path: Path, found: dict[str, object], artifact: str) -> None:
    from mlconvert import records
    from mlconvert.errors import UsageError

    if path.is_dir():
        raise UsageError(f"{path} is a folder, not a file", hint=f"-o {path / 'bom.cdx.json'}")
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} does not exist", hint=f"mkdir -p {path.parent}")
    if path.is_file() and not _is_bill(path):
        what = f"{path} is there already, and is no bill of materials: it would be lost"
        raise UsageError(what, where=artifact, hint="name another file")
    try:
        records.write_json(path, found)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def _is_bill(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("bomFormat") == "CycloneDX"
