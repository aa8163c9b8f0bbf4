"""`mlconvert bundle` and `mlconvert build-bundle`: a run as one file in and one file out."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlconvert.cli import options

if TYPE_CHECKING:
    from mlconvert.bundles.building import Job
    from mlconvert.bundles.packing import Bundle


def bundle(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (.yaml).")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The bundle to write (.tar).")],
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="Only this target. Repeatable.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was packed as JSON.")] = False,
) -> int:
    """Pack a recipe with its models and samples into one file, for a machine that has the hardware and nothing else.

    Example:

    mlconvert bundle recipes/digits.yaml -o job.tar
    """
    from mlconvert.bundles.packing import bundle as pack

    made = pack(recipe, output, tuple(target or ()))
    if as_json:
        sys.stdout.write(json.dumps(made.as_json(), indent=1) + "\n")
    else:
        _show_bundle(made)
    return 0


def _show_bundle(made: Bundle) -> None:
    from mlconvert.report.contents import shown
    from mlconvert.report.numbers import size

    about = made.manifest
    typer.echo(f"{shown(made.path)}: {len(about['files'])} files, {size(made.path.stat().st_size)}")
    typer.echo(f"  targets: {', '.join(about['targets'])}")
    if made.hardware:
        alone = "" if len(made.hardware) == 1 else ": one machine has to have all, or make a bundle of each (--target)"
        typer.echo(f"  hardware: {', '.join(made.hardware)}{alone}")
    for name, how in about["not_published"].items():
        typer.echo(f"  left out: to publish {name} as {how['name']} (done where the repository is)")
    if made.missing:
        typer.echo(f"  not installed here, so any version will do there: {', '.join(made.missing)}")
    for what in made.needs_trust:
        typer.echo(f"  to be trusted there: it will {what}")
    trust = " --trust" if made.needs_trust else ""
    name = shlex.quote(made.path.name)
    typer.echo(f"there: mlconvert build-bundle {name} -o built.tar{trust} --sha256 {made.sha256}")


def build_bundle(
    job: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What mlconvert bundle wrote (.tar).")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="The results (.tar); unpacked, a folder of that name."),
    ],
    sha256: Annotated[
        str | None,
        typer.Option("--sha256", metavar="DIGEST", help="Build this very file only.", show_default=False),
    ] = None,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="Let it load files that can run code, and use files of this machine."),
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, metavar="N", help="Steps that may run side by side.")] = 1,
    report: options.Reports = None,
    as_json: options.Json = False,
) -> int:
    """Build what a bundle asks for: checked first, then converted and verified. Nothing is published here.

    Example:

    mlconvert build-bundle job.tar -o built.tar --report built.xml
    """
    from mlconvert.bundles.building import build, unpacked
    from mlconvert.cli.progress import progress
    from mlconvert.cli.running import failures_reported, tell
    from mlconvert.errors import UsageError

    reports = report or []
    if any(path.resolve() == output.resolve() for path in reports):
        raise UsageError("the report would lie where the results do", where=str(output), hint="name another file")
    with (
        failures_reported(str(job), reports),
        unpacked(job, output, sha256=sha256, trust=trust) as checked,
        progress(checked.planned.names) as observer,
    ):
        found = build(checked, jobs=jobs, observer=observer)
    code = tell(found, reports, as_json=as_json)
    if code == 0:
        _show_built(checked, to_stderr=as_json)
    return code


def _show_built(checked: Job, *, to_stderr: bool) -> None:
    from mlconvert.artifact import file_sha256
    from mlconvert.bundles.building import publish_commands
    from mlconvert.report.contents import shown
    from mlconvert.report.numbers import size

    out = checked.out
    typer.echo(f"{shown(out)}: {size(out.stat().st_size)}, sha256 {file_sha256(out)}", err=to_stderr)
    typer.echo(f"there: tar xf {shlex.quote(out.name)}", err=to_stderr)
    for command in publish_commands(checked):
        typer.echo(f"       {command}", err=to_stderr)
