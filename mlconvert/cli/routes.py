"""`mlconvert routes`: what can become what."""

from __future__ import annotations

from typing import Annotated

import typer


def routes(
    source: Annotated[
        str | None, typer.Argument(metavar="[FROM]", help="Only routes from this format.", show_default=False)
    ] = None,
    target: Annotated[
        str | None, typer.Argument(metavar="[TO]", help="Only the route to this format or pass.", show_default=False)
    ] = None,
) -> int:
    """Show the converters and passes, or the route from one format to another with its options.

    Examples:

    mlconvert routes

    mlconvert routes lightgbm onnx
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mlconvert.converter import options_of
    from mlconvert.packages import install_command, installed
    from mlconvert.registry import registry
    from mlconvert.routes import route

    rows = registry().converters
    console = Console(highlight=False)
    if source is not None:
        registry().format(source)
    if source is not None and target is not None:
        for number, (edge, _) in enumerate(route(source, [target], rows), 1):
            console.print(Text.assemble((f"{number}. {edge.name}", "bold"), f"  {edge.source} → {edge.target}"))
            console.print(f"   {edge.title}")
            for option in options_of(edge.load()).values():
                default = "" if option.default is None else f" [{option.default}]"
                console.print(
                    Text.assemble(("   --set ", "dim"), f"{edge.name}.{option.name}={option.type_name}{default}")
                )
                if option.help:
                    console.print(Text(f"         {option.help}", "dim"))
            missing = [package for package in edge.packages if not installed(package)]
            if missing:
                console.print(Text(f"   not installed: {install_command(missing)}", "red"))
        return 0
    table = Table("from", "to", "step", "how", box=None, pad_edge=False, header_style="bold")
    for edge in rows:
        if source in (None, edge.source):
            how = (
                edge.title if all(installed(package) for package in edge.packages) else f"{edge.title} (not installed)"
            )
            table.add_row(edge.source, edge.target, edge.name, how)
    console.print(table)
    return 0
