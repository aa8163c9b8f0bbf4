"""`mlconvert doctor`: what this installation can do, and what it lacks for the rest."""

from __future__ import annotations

import platform

import typer


def doctor() -> int:
    """Show the packages that mlconvert uses, the servers it would start, and how to get what is missing.

    Example:

    mlconvert doctor
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mlconvert import packages
    from mlconvert.execution import cache
    from mlconvert.registry import registry
    from mlconvert.tested import state_of

    console = Console(highlight=False)
    tables = registry()
    console.print(f"Python {platform.python_version()}, {platform.platform()}", soft_wrap=True)
    table = Table("package", "installed", "tested with", "", box=None, pad_edge=False, header_style="bold")
    bad = False
    named = {package.distributions: package for package in packages.ALL}  # a package may be part of several extras
    for package in sorted(named.values(), key=lambda row: (row.extra or "", row.module)):
        state = state_of(package)
        if state.installed is None:
            note = Text(packages.install_command([package]) + packages.licenses([package]), "dim")
        elif state.fits:
            note = Text("ok", "green")
        else:
            note, bad = Text("outside the tested range", "yellow"), True
        table.add_row(package.distributions[0], state.installed or "-", state.wanted, note)
    console.print(table)
    typer.echo(f"java: {_java()}")
    typer.echo(f"tritonserver: {_server()}")
    typer.echo(f"tensorflow_model_server: {_model_server()}")
    typer.echo(f"cache: {cache.root_folder()}")
    typer.echo(f"formats: {len(tables.formats)}, converters: {len(tables.converters)}, runners: {len(tables.runners)}")
    if bad:
        typer.echo("some packages are outside the range that mlconvert is tested with; results are still verified")
    return 0


def _java() -> str:
    """Which Java runs jars and PMML, or how to get one."""
    from mlconvert.errors import MissingPackage
    from mlconvert.java import find_java, has_compiler

    try:
        java = find_java()
    except MissingPackage as error:
        return f"{error.message}; to get one: {error.hint}"
    kind = "JDK" if has_compiler(java) else "without a compiler, which jar.via=pmml alone needs"
    return f"{java.path} (version {java.version}, from {java.origin}; {kind})"


def _server() -> str:
    """Where the tritonserver that `lint --serve` would start is, or how to get one."""
    from mlconvert.errors import MissingPackage
    from mlconvert.serving.home import check_numpy, find_server, python_stub

    try:
        home = find_server()
        python_stub(home)
        check_numpy(home)
    except MissingPackage as error:
        return f"{error.message}; to get one: {error.hint}" if error.hint else error.message
    brings = sorted({place.name for folder in home.backends for place in folder.iterdir() if place.is_dir()})
    return f"{home.folder} (release {home.release or 'unknown'}; backends: {', '.join(brings) or 'none'})"


def _model_server() -> str:
    """Which TensorFlow Serving `lint --serve` would start."""
    from mlconvert.errors import MissingPackage
    from mlconvert.serving.tf_serving.home import find_model_server

    try:
        server = find_model_server()
    except MissingPackage as error:
        return f"{error.message}; to get one: {error.hint}" if error.hint else error.message
    return str(server.program) if server.program else "none here; the double of mlconvert answers in its place"
