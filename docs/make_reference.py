"""Write docs/reference from the code: commands, converters, formats, exit codes, recipes.

    python docs/make_reference.py [--check]

`--check` writes nothing and fails when a page is not what the code says; a test runs it.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/make_reference.py from the code: change the code, then run it. -->\n\n"


def commands() -> str:
    import typer

    from mlconvert.cli.app import application

    group: Any = typer.main.get_command(application())
    parts = ["# Commands\n", "`mlconvert COMMAND --help` says the same in the terminal.\n"]
    for name, command in group.commands.items():
        text = re.sub(r"\[/?bold\]", "", inspect.cleandoc(command.help or ""))
        about, _, examples = text.partition("Example")
        lines = [line for line in examples.splitlines()[1:] if line.strip()]
        parts.append(f"\n## mlconvert {name}\n\n{about.strip()}\n")
        parts.append("\n```console\n" + "\n".join(f"$ {line}" for line in lines) + "\n```\n")
        arguments = [row for row in command.params if row.param_type_name == "argument"]
        options = [row for row in command.params if row.param_type_name == "option" and row.name != "help"]
        parts.append("\n| argument | meaning |\n|---|---|\n")
        for row in arguments:
            shown = (row.metavar or row.name.upper()).strip("[]")
            parts.append(f"| `{shown}` {'' if row.required else '(optional)'} | {row.help or ''} |\n")
        parts.append("\n| option | meaning | default |\n|---|---|---|\n" if options else "")
        for row in options:
            shown = ", ".join(f"`{spelling}`" for spelling in row.opts)
            value = f" {row.metavar}" if row.metavar else ""
            parts.append(f"| {shown}{_cell(value)} | {_cell(row.help or '')} | {_default(row)} |\n")
    return "".join(parts)


def _default(row: Any) -> str:
    if isinstance(row.show_default, str):
        return row.show_default
    if row.default is None or row.default in ((), []) or callable(row.default) or row.is_flag:
        return "required" if row.required else ""
    return f"`{row.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def converters() -> str:
    from mlconvert.converter import options_of
    from mlconvert.converters import CONVERTERS
    from mlconvert.packages import install_command

    parts = [
        "# Converters and passes\n\n",
        "A *converter* leads from one format to another, a *pass* from a format to itself.\n",
        "Their options are set with `--set STEP.OPTION=VALUE`, or in a recipe under the step's name.\n",
    ]
    for edge in CONVERTERS:
        kind = "pass" if edge.is_pass else "step"
        parts.append(f"\n## {edge.source} → {edge.target}: {kind} `{edge.name}`\n\n{edge.title}.\n\n")
        extra = [package for package in edge.packages if package.extra]
        if extra:
            parts.append(f"Needs `{install_command(extra)}`.\n\n")
        rows = options_of(edge.load())
        if not rows:
            parts.append("No options.\n")
            continue
        parts.append("| option | value | default | meaning |\n|---|---|---|---|\n")
        for option in rows.values():
            default = "" if option.default in (None, ()) else f"`{option.default}`"
            parts.append(
                f"| `{edge.name}.{option.name}` | {_cell(option.type_name)} | {default} | {_cell(option.help)} |\n"
            )
    return "".join(parts)


def formats() -> str:
    from mlconvert.converters import CONVERTERS
    from mlconvert.formats import FORMATS
    from mlconvert.routes import reachable
    from mlconvert.runners import RUNNERS

    run = {row.format for row in RUNNERS}
    parts = ["# Formats\n\nA file is recognised by its content; its suffix only chooses the words of an error.\n\n"]
    parts.append("| format | what | suffixes | can become | can be run |\n|---|---|---|---|---|\n")
    for row in FORMATS:
        ends = ", ".join(reachable(row.name, CONVERTERS)) or (f"nothing: {row.hint}" if row.hint else "nothing")
        suffixes = " ".join(f"`{suffix}`" for suffix in row.suffixes) or "`package.module:factory`"
        parts.append(
            f"| `{row.name}` | {row.title} | {suffixes} | {_cell(ends)} | {'yes' if row.name in run else 'no'} |\n"
        )
    return "".join(parts)


def exit_codes() -> str:
    from mlconvert import errors

    table = inspect.getdoc(errors) or ""
    rows = re.findall(r"(\w+)\s+(\d)\s{3}(.+)", table)
    parts = ["# Exit codes\n\n| code | error | meaning |\n|---|---|---|\n| 0 | | done, and verified where asked |\n"]
    parts += [f"| {code} | `{name}` | {meaning} |\n" for name, code, meaning in rows]
    parts.append("| 130, 143 | | stopped by Ctrl-C or SIGTERM; what was not finished is not left behind |\n")
    return "".join(parts)


def recipes() -> str:
    schema = json.loads((resources.files("mlconvert.recipe") / "schema.json").read_text())
    parts = [f"# Recipes\n\n{schema.get('description', '')}\n\n"]
    parts.append("The published JSON Schema is `mlconvert/recipe/schema.json`.\n")
    _describe(schema, schema, "", parts)
    return "".join(parts)


def _describe(schema: Mapping[str, Any], root: Mapping[str, Any], path: str, parts: list[str]) -> None:
    schema = _resolved(schema, root)
    properties = schema.get("properties", {})
    if properties:
        parts.append(f"\n## {path or 'top level'}\n\n| key | value | meaning |\n|---|---|---|\n")
        required = schema.get("required", [])
        for key, value in properties.items():
            shown = _resolved(value, root)
            must = " (required)" if key in required else ""
            meaning = value.get("description") or shown.get("description", "")
            parts.append(f"| `{key}`{must} | {_cell(_kind(shown, root))} | {_cell(meaning)} |\n")
    for key, value in properties.items():
        for inner in (value, *_resolved(value, root).get("oneOf", ()), *_resolved(value, root).get("anyOf", ())):
            _describe(inner, root, f"{path}.{key}".strip("."), parts)
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), dict):
            _describe(schema[key], root, f"{path}.*" if key == "additionalProperties" else f"{path}[]", parts)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        target: Any = root
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        return {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def _kind(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    for key in ("oneOf", "anyOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(_kind(_resolved(row, root), root) for row in schema[key]))
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands,
    "converters.md": converters,
    "exit-codes.md": exit_codes,
    "formats.md": formats,
    "recipes.md": recipes,
}


def main(arguments: list[str]) -> int:
    stale = []
    for name, page in PAGES.items():
        text = NOTE + page()
        path = FOLDER / name
        if "--check" in arguments:
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                stale.append(name)
            continue
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for name in stale:
        sys.stderr.write(f"docs/reference/{name} is not what the code says: python docs/make_reference.py\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
