"""`mlconvert deploy`: what starts a server for a repository."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def deploy(
    repository: Annotated[Path, typer.Argument(metavar="REPOSITORY", help="The model repository's folder.")],
    to: Annotated[str, typer.Option("--to", metavar="compose|kubernetes", help="What starts the server.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Where to write.", show_default="NAME-compose, …"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name", metavar="NAME", help="The server's name, and its host name.", show_default="the folder's"
        ),
    ] = None,
    release: Annotated[
        str | None,
        typer.Option(
            "--release", metavar="26.06", help="The server's release.", show_default="the newest that is known"
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="IMAGE", help="An image of your own.", show_default="that of the release"),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="Set an option, such as memory_gib. Repeatable."),
    ] = None,
) -> int:
    """Write files that start a server for a repository, closed to everything but the services beside it.

    Examples:

    mlconvert deploy models --to compose --set prometheus=yes

    mlconvert deploy models --to kubernetes --set namespace=serving
    """
    from mlconvert.converter import parse_settings
    from mlconvert.errors import UsageError
    from mlconvert.operations.deploy import deploy as write
    from mlconvert.report.contents import shown

    chosen = {}
    for step, option, value in parse_settings(settings):
        if step not in (None, to):
            raise UsageError(f"--set {step}.{option}: there is no step '{step}' here", hint=f"--set {option}={value}")
        chosen[option] = value
    done = write(repository, to=to, folder=output, name=name, release=release, image=image, options=chosen)
    for warning in done.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    models = done.deployment.models
    typer.echo(f"{done.deployment.name}: {len(models)} model{'s' * (len(models) != 1)} on {done.deployment.image}")
    for path in done.files:
        typer.echo(f"  {shown(path)}")
    return 0
