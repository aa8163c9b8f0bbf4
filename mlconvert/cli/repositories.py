"""`mlconvert publish`, `versions`, `rollback`, `labels`: model repositories."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from mlconvert.cli.options import Sign

Repository = Annotated[str, typer.Argument(metavar="REPOSITORY", help="The model repository's folder or URL.")]
ModelName = Annotated[str, typer.Argument(metavar="NAME", help="The model's name in the repository.")]
Load = Annotated[
    str | None,
    typer.Option(
        "--load",
        metavar="URL",
        help="Have the running server at triton://HOST:PORT or tfserving://HOST:PORT serve it, and check its answers; "
        "undo it if that fails.",
        show_default=False,
    ),
]
Wait = Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0.1, help="How long to wait for the server.")]
NoVerify = Annotated[bool, typer.Option("--no-verify", help="With --load: do not compare the server's answers.")]


def publish(
    artifact: Annotated[str, typer.Argument(metavar="ARTIFACT", help="A model file, or the folder that holds it.")],
    repository: Repository,
    to: Annotated[
        str, typer.Option("--to", metavar="triton|tf-serving", help="The server that the repository is for.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The model's name in the repository.")],
    version: Annotated[
        int | None, typer.Option("--version", min=1, metavar="N", help="Its number.", show_default="the next one")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="Set an option of the configuration. Repeatable."),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep", min=1, metavar="N", help="Remove versions beyond the newest N.", show_default="keep all"
        ),
    ] = None,
    sign: Sign = None,
    load: Load = None,
    wait: Wait = 120.0,
    no_verify: NoVerify = False,
) -> int:
    """Publish an artifact as a new version, with a complete configuration.

    Examples:

    mlconvert publish model.onnx models --to triton --name churn

    mlconvert publish model.onnx models --to triton --name churn --keep 3 --load triton://127.0.0.1:8000

    mlconvert publish saved models --to tf-serving --name churn
    """
    from mlconvert.converter import parse_settings
    from mlconvert.errors import UsageError
    from mlconvert.operations.publish import publish as publish_model

    _check_load_options(load, no_verify=no_verify)
    chosen = {}
    for step, option, value in parse_settings(settings):
        if step not in (None, "publish", to):
            raise UsageError(f"--set {step}.{option}: publishing has no step '{step}'", hint=f"--set {option}={value}")
        chosen[option] = value
    done = publish_model(
        artifact,
        repository,
        to=to,
        name=name,
        version=version,
        options=chosen,
        keep=keep,
        load=load,
        wait_seconds=wait,
        verify=not no_verify,
        sign=sign,
    )
    state = "already published, unchanged" if done["unchanged"] else "published"
    typer.echo(f"{name}/{done['version']}: {state} in {repository}")
    typer.echo(f"  {done['path']}")
    typer.echo(f"  {done['config']['path']} ({done['config']['state']})")
    if done["signed"]:
        typer.echo(f"  signed with {sign}")
    if done["removed"]:
        typer.echo(f"  removed: version{_plural(done['removed'])} {_listed(done['removed'])}")
    _tell_served(done["server"])
    for warning in done["warnings"]:
        sys.stderr.write(f"warning: {warning}\n")
    if not done["live"]:
        config = Path(done["config"]["path"]).name
        sys.stderr.write(f"warning: the version policy in {config} keeps another version in service\n")
    if not done["verified"]:
        sys.stderr.write(
            f"warning: {artifact} has no record of a verification: nothing proves that it answers as its source does\n"
        )
    return 0


def versions(
    repository: Repository,
    name: ModelName,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="URL",
            help="Show what the running server at triton://HOST:PORT or tfserving://HOST:PORT has of each, too.",
            show_default=False,
        ),
    ] = None,
) -> int:
    """List the versions of a model, their labels, and which of them a server has in service.

    Example:

    mlconvert versions models churn --at triton://127.0.0.1:8000
    """
    from rich.console import Console
    from rich.table import Table

    from mlconvert.operations.publish import versions as versions_of
    from mlconvert.report import numbers

    found, states = versions_of(repository, name, at=at)
    labelled = any(row.labels for row in found)
    extra = (["labels"] if labelled else []) + (["on the server"] if at is not None else [])
    table = Table(
        "version", "live", "published (UTC)", "size", "sha256", *extra, box=None, pad_edge=False, header_style="bold"
    )
    for row in found:
        live = "live" if row.live else ""
        when = f"{row.published:%Y-%m-%d %H:%M:%S}"
        cells = [str(row.number), live, when, numbers.size(row.bytes), row.sha256[:12]]
        cells += [", ".join(row.labels)] if labelled else []
        cells += [states.pop(row.number, "not loaded")] if at is not None else []
        table.add_row(*cells)
    Console(highlight=False).print(table)
    for number, state in sorted(states.items()):
        if state in ("READY", "AVAILABLE"):
            sys.stderr.write(f"warning: the server serves a version {number} that is not in {repository}\n")
    return 0


def rollback(
    repository: Repository,
    name: ModelName,
    version: Annotated[
        int | None,
        typer.Option("--version", min=1, metavar="N", help="Back to this one.", show_default="the one before"),
    ] = None,
    load: Load = None,
    wait: Wait = 120.0,
    no_verify: NoVerify = False,
) -> int:
    """Make an older version the newest again; the newer ones are moved aside, not deleted.

    Example:

    mlconvert rollback models churn --version 3 --load triton://127.0.0.1:8000
    """
    from mlconvert.operations.publish import rollback as roll_back
    from mlconvert.report.contents import shown

    _check_load_options(load, no_verify=no_verify)
    done, served = roll_back(repository, name, version, load=load, wait_seconds=wait, verify=not no_verify)
    typer.echo(f"{name}: version {done.version} is the newest again (it was {done.previous})")
    for number, path in done.moved:
        typer.echo(f"  version {number} is kept in {shown(path)}")
    _tell_served(served)
    return 0


def labels(
    repository: Repository,
    name: ModelName,
    assignments: Annotated[
        list[str] | None, typer.Argument(metavar="[LABEL=VERSION]…", help="Labels to set.", show_default=False)
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", metavar="LABEL", help="Remove a label. Repeatable.", show_default=False),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Serve every version, labelled or not.")] = False,
    load: Load = None,
    wait: Wait = 120.0,
    no_verify: NoVerify = False,
) -> int:
    """Show or set labels of versions (stable, canary); what has a label is in service, and nothing else.

    Examples:

    mlconvert labels models churn

    mlconvert labels models churn stable=3 canary=4 --load triton://127.0.0.1:8000
    """
    from mlconvert.operations.publish import label

    _check_load_options(load, no_verify=no_verify)
    done, served = label(
        repository,
        name,
        _parsed(assignments or []),
        remove or [],
        every=every,
        load=load,
        wait_seconds=wait,
        verify=not no_verify,
    )
    for word, number in sorted(done.labels.items()):
        typer.echo(f"{word} = {number}")
    if not done.labels:
        typer.echo(f"{name} has no labels")
    typer.echo(f"in service: {_listed(done.live) or 'none'}")
    if done.live:
        typer.echo(f"requests that name no version go to {max(done.live)}")
    _tell_served(served)
    for warning in done.warnings:
        sys.stderr.write(f"warning: {warning}\n")
    gone = done.before - done.live
    if gone:
        sys.stderr.write(
            f"warning: version{_plural(gone)} {_listed(gone)} {'were' if len(gone) > 1 else 'was'} in service before: "
            "requests that name such a version are refused from now on\n"
        )
    return 0


def _parsed(assignments: Iterable[str]) -> dict[str, int]:
    from mlconvert.errors import UsageError

    put = {}
    for text in assignments:
        word, equals, number = text.partition("=")
        if not equals or not number.isascii() or not number.isdigit() or int(number) < 1:
            raise UsageError(f"'{text}' sets no label: expected LABEL=VERSION", hint="such as stable=3")
        if word in put:
            raise UsageError(f"the label '{word}' is set twice")
        put[word] = int(number)
    return put


def _check_load_options(load: str | None, *, no_verify: bool) -> None:
    from mlconvert.errors import UsageError

    if no_verify and load is None:
        raise UsageError("--no-verify goes with --load URL: without a server there is nothing to verify here")


def _tell_served(served: Mapping[str, Any] | None) -> None:
    if served is None:
        return
    for row in served["versions"]:
        told = f"answers {row['rows']} rows as it should" if row["rows"] else "its answers were not compared"
        typer.echo(f"  version {row['version']} is in service at {served['url']}, and {told}")


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _plural(numbers: Any) -> str:
    return "s" if len(numbers) > 1 else ""
