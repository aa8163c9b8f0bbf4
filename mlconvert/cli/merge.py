"""`mlconvert merge`: engines of several GPUs as one Triton model."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlconvert.cli.options import Json, Sign


def merge(
    repository: Annotated[str, typer.Argument(metavar="REPOSITORY", help="The folder of the Triton repository.")],
    built: Annotated[
        list[str],
        typer.Argument(metavar="BUILT…", help="TensorRT engines with their records, and one ONNX model beside them."),
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="The model's name in the repository.")],
    version: Annotated[
        int | None, typer.Option("--version", min=1, metavar="N", help="Its number.", show_default="the next one")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="OPTION=VALUE", help="Set an option of the configuration. Repeatable."),
    ] = None,
    sign: Sign = None,
    as_json: Json = False,
) -> int:
    """Put engines that were built on several kinds of GPU into one Triton model.

    Each GPU loads its own: by compute capability, or by --model-config-name where several products have the same one.
    An ONNX model among them is for machines without an engine.

    Examples:

    mlconvert merge models h100/model.plan a100/model.plan model.onnx --name churn

    mlconvert merge models h100 h200 --name churn --set max_batch_size=64
    """
    from mlconvert.converter import parse_settings
    from mlconvert.errors import UsageError
    from mlconvert.operations.merge import merge as merge_built

    chosen = {}
    for step, option, value in parse_settings(settings):
        if step not in (None, "merge", "triton"):
            raise UsageError(f"--set {step}.{option}: merging has no step '{step}'", hint=f"--set {option}={value}")
        chosen[option] = value
    done = merge_built(repository, built, name=name, version=version, options=chosen, sign=sign)
    if as_json:
        from mlconvert.report import to_json

        sys.stdout.write(to_json(done))
    else:
        state = "already merged, unchanged" if done["unchanged"] else "merged"
        typer.echo(f"{name}/{done['version']}: {state} in {repository}")
        for engine in done["engines"]:
            typer.echo(f"  {engine['file']}  {engine['gpu']} ({engine['compute_capability']})")
        if done["fallback"]:
            typer.echo(f"  {done['fallback']}  for machines without an engine")
        for path in done["configs"]:
            key = path.removeprefix("configs/").removesuffix(".pbtxt")
            typer.echo(f"  {path}: tritonserver --model-config-name={key}")
        if done["signed"]:
            typer.echo(f"  signed with {sign}")
    for warning in done["warnings"]:
        sys.stderr.write(f"warning: {warning}\n")
    return 0
