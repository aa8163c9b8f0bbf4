"""`mlconvert lint`: what a server would trip over in a model repository."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlconvert.cli.options import Json

if TYPE_CHECKING:
    from rich.console import Console


def lint(
    repository: Annotated[
        str,
        typer.Argument(
            metavar="REPOSITORY",
            help="Its folder, s3://…, gs://…, or a server: triton://HOST:PORT, tfserving://HOST:PORT.",
        ),
    ],
    release: Annotated[
        str | None,
        typer.Option("--release", metavar="R", help="The Triton release that serves it, such as 24.10."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Load a copy into a server too, and compare its answers.")
    ] = False,
    server: Annotated[
        Path | None,
        typer.Option(
            "--server",
            metavar="FOLDER",
            help="Where that tritonserver or tensorflow_model_server is.",
            show_default="found by itself",
        ),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help="Only this model. Repeatable.", show_default="all"),
    ] = None,
    reports: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write the findings: .json or .xml (JUnit). Repeatable.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Find what a server would trip over in a repository, without a server or with one.

    Example:

    mlconvert lint models --release 24.10
    """
    from mlconvert.operations.lint import lint_repository
    from mlconvert.report import findings, to_json

    for path in reports or []:
        findings.check_path(path)
    report = lint_repository(repository, release=release, serve=serve, server=server, names=names or [])
    for path in reports or []:
        findings.write(report, path)
        sys.stderr.write(f"report: {path}\n")
    if as_json:
        sys.stdout.write(to_json(report))
    else:
        from rich.console import Console

        _show(report, Console(highlight=False))
    code: int = report["exit_code"]
    return code


def _show(report: Mapping[str, Any], console: Console) -> None:
    from rich.text import Text

    styles = {"error": "bold red", "warning": "yellow", "unchecked": "magenta"}
    heading = object()
    for found in report["findings"]:
        if found["model"] != heading:
            heading = found["model"]
            console.print(Text(found["model"] or "the repository", "bold"))
        line = Text.assemble(
            "  ", (found["level"], styles[found["level"]]), f"  {found['code']}  ", (found["file"], "dim")
        )
        console.print(line, soft_wrap=True)  # a path that is broken over two lines cannot be copied
        field = f"{found['field']}: " if found["field"] else ""
        for part in textwrap.wrap(f"{field}{found['message']}", console.width - 4, break_on_hyphens=False):
            console.print(Text(f"    {part}"), soft_wrap=True)
        console.print(Text(f"    fix: {found['fix']}"), soft_wrap=True)
    for model in report["models"]:
        for entry in model["served"] or []:
            console.print(Text(f"{entry['name']}/{entry['version']}: {_served(entry)}"))
    for told in sorted({_who(entry) for model in report["models"] for entry in model["served"] or []} - {""}):
        console.print(Text(told, "dim"))
    levels = [found["level"] for found in report["findings"]]
    counts = [_count(levels.count(level), word) for level, word in _WORDS.items() if level in levels]
    told = ", ".join(counts) or "nothing found"
    console.print(Text(f"{_count(len(report['models']), 'model')}: {told}", "bold" if levels else "bold green"))


_WORDS = {"error": "error", "warning": "warning", "unchecked": "check that could not be made"}


def _count(number: int, word: str) -> str:
    plural = word.replace("check ", "checks ", 1) if word.startswith("check ") else f"{word}s"
    return f"{number} {word if number == 1 else plural}"


def _who(entry: Mapping[str, Any]) -> str:
    """Who answered, where that is not simply the server."""
    if entry["backend"] == "tensorflow":
        return f"answered by {entry['stand_in'] or 'tensorflow_model_server'}"
    return f"this server has no backend of its own for it: {entry['stand_in']} stood in" if entry["stand_in"] else ""


def _served(entry: Mapping[str, Any]) -> str:
    """What came of asking a version over the wire."""
    parts = []
    for key, name in (("http", "HTTP"), ("grpc", "gRPC")):
        parity = entry.get(key)
        if parity is None:
            parts.append(f"{name} not compared")
        else:
            parts.append(f"{name} {'ok' if parity['ok'] else 'differs'} ({parity['samples']} rows)")
    return ", ".join(parts)
