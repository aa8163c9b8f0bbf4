"""`mlconvert publish`, `versions`, `rollback`: model repositories."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Repository = Annotated[Path, typer.Argument(metavar="REPOSITORY", help="The model repository's folder.")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="The model's name in the repository.")]


def publish(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="A model file, or the folder that holds it.")],
    repository: Repository,
    to: Annotated[str, typer.Option("--to", metavar="triton", help="The server that the repository is for.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The model's name in the repository.")],
    version: Annotated[
        int | None, typer.Option("--version", min=1, metavar="N", help="Its number.", show_default="the next one")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="Set an option of the configuration. Repeatable."),
    ] = None,
) -> int:
    """Publish an artifact as a new version, with a complete configuration.

    Example:

    mlconvert publish model.onnx models --to triton --name churn
    """
    from mlconvert.converter import parse_settings
    from mlconvert.errors import UsageError
    from mlconvert.operations.publish import publish as publish_model

    chosen = {}
    for step, option, value in parse_settings(settings):
        if step not in (None, "publish", to):
            raise UsageError(f"--set {step}.{option}: publishing has no step '{step}'", hint=f"--set {option}={value}")
        chosen[option] = value
    done = publish_model(artifact, repository, to=to, name=name, version=version, options=chosen)
    state = "already published, unchanged" if done["unchanged"] else "published"
    typer.echo(f"{name}/{done['version']}: {state} in {repository}")
    typer.echo(f"  {done['path']}")
    typer.echo(f"  {done['config']['path']} ({done['config']['state']})")
    if not done["live"]:
        sys.stderr.write("warning: the version policy in config.pbtxt keeps another version in service\n")
    if not done["verified"]:
        sys.stderr.write(
            f"warning: {artifact} has no record of a verification: nothing proves that it answers as its source does\n"
        )
    return 0


def versions(repository: Repository, name: ModelName) -> int:
    """List the versions of a model, and which of them a server has in service.

    Example:

    mlconvert versions models churn
    """
    from rich.console import Console
    from rich.table import Table

    from mlconvert.operations.publish import layout_of
    from mlconvert.report import numbers

    table = Table("version", "live", "published (UTC)", "size", "sha256", box=None, pad_edge=False, header_style="bold")
    for row in layout_of(repository).versions(repository, name):
        live = "live" if row.live else ""
        when = f"{row.published:%Y-%m-%d %H:%M:%S}"
        table.add_row(str(row.number), live, when, numbers.size(row.bytes), row.sha256[:12])
    Console(highlight=False).print(table)
    return 0


def rollback(
    repository: Repository,
    name: ModelName,
    version: Annotated[
        int | None,
        typer.Option("--version", min=1, metavar="N", help="Back to this one.", show_default="the one before"),
    ] = None,
) -> int:
    """Make an older version the newest again; the newer ones are moved aside, not deleted.

    Example:

    mlconvert rollback models churn --version 3
    """
    from mlconvert.operations.publish import layout_of
    from mlconvert.report.contents import shown

    done = layout_of(repository).rollback(repository, name, version)
    typer.echo(f"{name}: version {done.version} is the newest again (it was {done.previous})")
    for number, path in done.moved:
        typer.echo(f"  version {number} is kept in {shown(path)}")
    return 0
