"""`mlconvert inspect`: what a model file is, and what its record says."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from mlconvert.cli import options
from mlconvert.readers.trusted_types import is_users_own


def inspect(
    artifact: Annotated[
        str, typer.Argument(metavar="ARTIFACT", help="A model file, a folder with one, or package.module:factory.")
    ],
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> int:
    """Show what a model is: its format, files, inputs and outputs, and how it was made and proven.

    Example:

    mlconvert inspect build/breast_cancer/triton
    """
    from mlconvert.operations.inspect import inspect_artifact

    data = inspect_artifact(artifact, trust=trust)
    if as_json:
        sys.stdout.write(json.dumps(data, indent=1) + "\n")
    else:
        _print(data)
    return 0


def _print(data: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.text import Text

    from mlconvert.report import numbers
    from mlconvert.signature import TensorSpec

    console = Console(highlight=False, soft_wrap=True)

    def row(name: str, value: str, style: str = "") -> None:
        console.print(Text.assemble((f"{name:<10}", "dim"), (value, style)))

    row("path", data["path"])
    row("format", data["format"])
    row("sha256", data["sha256"])
    for file in data["files"]:
        row("file", f"{file['path']}  {numbers.size(file['bytes'])}")
    for line in _contents(data):
        row(*line)
    for side in ("inputs", "outputs"):
        for spec in (data["signature"] or {}).get(side, []):
            row(side[:-1], str(TensorSpec.from_json(spec)))
    if data["signature"] is None:
        row("signature", data["why_no_signature"], "dim")
    record = data["record"]
    if record is None:
        row("record", "none: this file was not made by mlconvert, or was moved without it", "dim")
        return
    row("source", f"{record['source']['path']} ({record['source']['format']})")
    for step in record["steps"]:
        given = " ".join(f"{name}={value}" for name, value in step["options"].items())
        row("step", f"{step['converter']} {given} {numbers.seconds(step['seconds'])}".replace("  ", " "))
    parity = record["parity"]
    if parity is None:
        row("verified", "no", "yellow")
    else:
        row("verified", f"{parity['samples']} samples, {len(parity['outputs'])} outputs", "green")
    row("made", f"{record['created']} by mlconvert {record['mlconvert']}")


def _contents(data: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """What opening the file would call or build: name, value and style of each line."""
    if data["pickle"]:
        yield "pickle", f"holds {data['pickle']['outermost']}; loading it can run code (--trust)", ""
        for name in data["pickle"]["dangerous"]:
            yield "", f"calls {name}", "bold red"
    if data["skops"]:
        untrusted = data["skops"]["untrusted"]
        yield "skops", f"holds {data['skops']['outermost']}; {_needs(untrusted)}", "bold red" if untrusted else ""
        for name in data["skops"]["types"]:
            if name in (untrusted or ()):
                yield "", f"needs {name}, which is not on the list of trusted types", "bold red"
            else:
                yield "", f"needs {name}", ""


def _needs(untrusted: list[str] | None) -> str:
    if untrusted is None:
        return "which of its types are trusted is not known without skops"
    if any(is_users_own(name) for name in untrusted):
        return "it cannot be loaded here, as it has types of a script (__main__)"
    return "loading it takes trust (--trust)" if untrusted else "all its types are trusted"
