"""Write docs/reference from the code: commands, converters, formats, exit codes, recipes, reports, records, the API.

    python docs/make_reference.py [--check]

`--check` writes nothing and fails when a page is not what the code says; a test runs it.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "reference"
PROJECT = Path(__file__).parents[1] / "pyproject.toml"
NOTE = "<!-- Written by docs/make_reference.py from the code: change the code, then run it. -->\n\n"


def _table(*rows: Iterable[str]) -> str:
    """A Markdown table, its heading first; nothing when there are no rows below the heading."""
    head, *body = [[_cell(text) for text in row] for row in rows]
    if not body:
        return ""
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\\|", " ".join(text.split()))


# --- commands ---


def commands() -> str:
    import typer

    from mlconvert.cli.app import application

    group: Any = typer.main.get_command(application())
    parts = [
        "# Commands\n\n",
        "`mlconvert COMMAND --help` says the same in the terminal. ",
        "What the commands end with is in [exit codes](exit-codes.md).\n\n",
    ]
    rows = [(f"[`{name}`](#mlconvert-{name})", _about(command)[0]) for name, command in group.commands.items()]
    parts.append(_table(("command", "what it does"), *rows))
    for name, command in group.commands.items():
        about, examples = _about(command)
        parts.append(f"\n## mlconvert {name}\n\n{about}\n")
        parts.append("\n```console\n" + "\n".join(f"$ {line}" for line in examples) + "\n```\n")
        arguments = [
            (f"`{_metavar(row)}`", "required" if row.required else "optional", row.help or "")
            for row in command.params
            if row.param_type_name == "argument"
        ]
        options = [
            (", ".join(f"`{spelling}`" for spelling in row.opts), _value(row), _default(row), row.help or "")
            for row in command.params
            if row.param_type_name == "option" and row.name != "help"
        ]
        tables = (
            _table(("argument", "", "meaning"), *arguments),
            _table(("option", "value", "default", "meaning"), *options),
        )
        parts.extend(f"\n{table}" for table in tables if table)
    return "".join(parts)


def _about(command: Any) -> tuple[str, list[str]]:
    """What a command does, and its examples."""
    text = re.sub(r"\[/?bold\]", "", inspect.cleandoc(command.help or ""))
    about, _, examples = re.split(r"^(Examples?):?$", text, maxsplit=1, flags=re.MULTILINE)
    return " ".join(about.split()), [line for line in examples.splitlines() if line.strip()]


def _metavar(row: Any) -> str:
    return str(row.metavar or row.name.upper()).strip("[]{}")


def _value(row: Any) -> str:
    if row.is_flag:
        return ""
    annotation = row.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(f"`{choice.value}`" for choice in annotation)
    if row.metavar:
        return f"`{row.metavar}`"
    return {int: "integer", float: "number"}.get(annotation, "text") + (f" >= {row.min}" if row.min is not None else "")


def _default(row: Any) -> str:
    if isinstance(row.show_default, str):
        return row.show_default
    if row.required:
        return "required"
    if row.default is None or row.default in ((), []) or callable(row.default) or row.is_flag:
        return ""
    return f"`{getattr(row.default, 'value', row.default)}`"


# --- converters and formats ---


def converters() -> str:
    from mlconvert.converter import options_of
    from mlconvert.converters import CONVERTERS

    parts = [
        "# Converters and passes\n\n",
        "A *converter* leads from one format to another, a *pass* from a format to itself. ",
        "Options are set with `--set STEP.OPTION=VALUE`, or in a [recipe](recipes.md) under the step's name. ",
        "`mlconvert routes` prints these tables, plug-ins included.\n\n",
    ]
    rows = [
        (
            edge.source,
            f"{edge.target} (pass)" if edge.is_pass else edge.target,
            f"[`{edge.name}`](#{_anchor(edge)})",
            edge.title,
        )
        for edge in CONVERTERS
    ]
    parts.append(_table(("from", "to", "step", "how"), *rows))
    for edge in CONVERTERS:
        kind = "pass" if edge.is_pass else "step"
        parts.append(f"\n## {edge.source} → {edge.target}: {kind} `{edge.name}`\n\n{edge.title}.\n")
        facts = []
        if install := _install(edge.packages):
            facts.append(f"Install: `{install}`.")
        if edge.uses_samples:
            facts.append("It uses the samples.")
        if edge.precision:
            facts.append(f"The result is compared with the tolerances of {edge.precision}.")
        parts.append(f"\n{' '.join(facts)}\n" if facts else "")
        rows = [
            (f"`{edge.name}.{row.name}`", _choices(row.type_name), _shown(row.default), row.help)
            for row in options_of(edge.load()).values()
        ]
        table = _table(("option", "value", "default", "meaning"), *rows)
        parts.append(f"\n{table}" if table else "\nNo options.\n")
    return "".join(parts)


def _anchor(edge: Any) -> str:
    return f"{edge.source}--{edge.target}-{'pass' if edge.is_pass else 'step'}-{edge.name}"


def _choices(type_name: str) -> str:
    return f"`{type_name}`" if any(mark in type_name for mark in "|,=") else type_name


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return "`yes`" if default else "`no`"
    return "" if default in (None, (), {}, "") else f"`{default}`"


def _install(packages: Iterable[Any]) -> str:
    """The smallest install command: one extra, where there is one that brings all the packages."""
    from mlconvert.packages import install_command

    needed = [row for row in packages if row.extra]
    if not needed:
        return ""
    declared = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for extra in dict.fromkeys(row.extra for row in needed):
        brought = {re.split(r"[\[<>=~! ]", line)[0] for line in declared[extra]}
        if all(brought & set(row.distributions) for row in needed):
            return f"pip install 'mlconvert[{extra}]'"
    return install_command(needed)


_LOCATIONS = {  # of what is not a file
    "torch": "`package.module:factory`",
    "triton": "`triton://host:port/name`",
    "tf-serving": "`tfserving://host:port/name`",
}


def formats() -> str:
    from mlconvert.converters import CONVERTERS
    from mlconvert.formats import FORMATS
    from mlconvert.repositories import REPOSITORIES
    from mlconvert.routes import reachable
    from mlconvert.runners import RUNNERS

    run = {row.format for row in RUNNERS}
    leads, ends = [], []
    for row in FORMATS:
        suffixes = " ".join(f"`{suffix}`" for suffix in row.suffixes) or _LOCATIONS.get(row.name, "")
        targets = reachable(row.name, CONVERTERS)
        if targets:
            kinds = [f"{name} (passes)" if name == row.name else name for name in targets]
            published = [target.title for target in REPOSITORIES if row.name in target.formats]
            leads.append(
                (
                    f"`{row.name}`", row.title, suffixes, f"`{row.filename}`" if row.suffixes else "",
                    ", ".join(kinds), "yes" if row.name in run else "no", ", ".join(published),
                )
            )  # fmt: skip
        else:
            hint = re.sub(r"\{(\w+)\}", lambda found: f"({_PLACES.get(found[1], found[1])})", row.hint)
            ends.append((f"`{row.name}`", row.title, suffixes, hint))
    return (
        "# Formats\n\n"
        "A file is recognised by its content. Its suffix only chooses the words of an error. "
        "`--from FORMAT` overrides what was recognised.\n\n"
        + _table(
            ("format", "what", "suffixes", "name in a folder", "can become", "can be run", "can be published to"),
            *leads,
        )
        + "\nRecognised, so that the error can say what to do:\n\n"
        + _table(("format", "what", "suffixes", "what to do"), *ends)
    )


_PLACES = {"outermost": "the class of its outermost object", "location": "the file"}


def repositories() -> str:
    from mlconvert.repositories import REPOSITORIES

    how = "`mlconvert publish … --to LAYOUT --set OPTION=VALUE`"
    parts = [f"# Repositories\n\n{how}, or in a [recipe](recipes.md) `publish.to` and `publish.options`.\n"]
    for row in REPOSITORIES:
        parts.append(f"\n## {row.name}: {row.title}\n\n")
        if install := _install(row.packages):
            parts.append(f"Install: `{install}`.\n")
        options = {name: row.load().options(name) for name in row.formats}
        shared = [option for option in options[row.formats[0]].values() if _is_shared(option, options)]
        if len(options) > 1:
            parts.append("\nOptions for artifacts of every format, but where its own table says otherwise:\n\n")
            parts.append(_options(shared))
        groups: list[tuple[list[Any], list[str]]] = []  # own options, the formats that have them
        for name, known in options.items():
            own = [option for option in known.values() if len(options) == 1 or option not in shared]
            lacking = ", ".join(f"`{option.name}`" for option in shared if option.name not in known)
            for other, names in groups:
                if other == [*own, lacking]:
                    names.append(f"`{name}`")
                    break
            else:
                groups.append(([*own, lacking], [f"`{name}`"]))
        for (*own, lacking), names in groups:
            parts.append(f"\nOptions for artifacts of the format {' or '.join(names)}:\n\n")
            parts.append(_options(own) or "Those above.\n")
            parts.append(f"\nNot for it: {lacking}.\n" if lacking else "")
    return "".join(parts)


def _is_shared(option: Any, options: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether most formats have the very same option."""
    return sum(known.get(option.name) == option for known in options.values()) > len(options) / 2


def _options(options: Iterable[Any]) -> str:
    rows = [(f"`{option.name}`", _choices(option.type_name), _shown(option.default), option.help) for option in options]
    return _table(("option", "value", "default", "meaning"), *rows)


# --- exit codes and the API ---


def exit_codes() -> str:
    from mlconvert import errors

    table = inspect.getdoc(errors) or ""
    rows = [(code, f"`{name}`", meaning) for name, code, meaning in re.findall(r"(\w+)\s+(\d)\s{3}(.+)", table)]
    return (
        "# Exit codes\n\n"
        "They are a contract. The report's `exit_code` is the same number. "
        "A recipe ends with the code of the first target that failed, in the recipe's order.\n\n"
        + _table(
            ("code", "error", "meaning"),
            ("0", "", "done, and verified where verification was asked for"),
            *rows,
            ("130", "", "stopped by Ctrl-C (SIGINT); what was not finished is not left behind"),
            ("143", "", "stopped by SIGTERM; likewise"),
        )
        + "\nThe errors are the classes of `mlconvert.errors`, which the [Python API](python.md) raises.\n"
    )


def python_api() -> str:
    import mlconvert
    from mlconvert import api

    parts = [
        "# Python API\n\n",
        "The words of the command line as four functions. Each step still runs in a process of its own.\n\n",
        "```python\n", _example(mlconvert), "\n```\n\n", _prose(api).partition("\n\n")[2] + "\n",
    ]  # fmt: skip
    for name in ("bench", "convert", "run", "verify"):
        function = getattr(mlconvert, name)
        signature = inspect.signature(function)
        lines = [f"    {_name(row)}: {row.annotation}{_equals(row)}," for row in signature.parameters.values()]
        first = next(
            (index for index, row in enumerate(signature.parameters.values()) if row.kind is row.KEYWORD_ONLY), None
        )
        if first is not None and not any(line.startswith("    *") for line in lines):
            lines.insert(first, "    *,")
        shown = f"def {name}(\n" + "\n".join(lines) + f"\n) -> {signature.return_annotation}: ..."
        parts.append(f"\n## mlconvert.{name}\n\n```python\n{shown}\n```\n\n{_prose(function)}\n")
    return "".join(parts)


def _name(parameter: inspect.Parameter) -> str:
    return f"*{parameter.name}" if parameter.kind is parameter.VAR_POSITIONAL else parameter.name


def _equals(parameter: inspect.Parameter) -> str:
    return "" if parameter.default is parameter.empty else f" = {parameter.default!r}"


def _prose(thing: Any) -> str:
    """A docstring as Markdown, its first line a sentence of its own."""
    return (inspect.getdoc(thing) or "").strip()


def _example(package: Any) -> str:
    """The indented lines of the package's docstring."""
    lines = (inspect.getdoc(package) or "").splitlines()
    return "\n".join(line.strip() for line in lines if line.startswith("    "))


# --- what JSON Schemas describe ---


def recipes() -> str:
    schema = json.loads((resources.files("mlconvert.recipe") / "schema.json").read_text(encoding="utf-8"))
    parts = [f"# Recipes\n\n{schema.get('description', '')}\n\n"]
    parts.append("The published JSON Schema is `mlconvert/recipe/schema.json`. ")
    parts.append("[How to write one](../how-to/recipes.md).\n")
    _describe(schema, schema, "", parts)
    return "".join(parts)


def report() -> str:
    schema = json.loads((resources.files("mlconvert.report") / "schema.json").read_text(encoding="utf-8"))
    parts = [f"# The report\n\n{schema.get('description', '')}\n\n"]
    parts.append("`--json` prints it, `--report FILE.json` writes it; ")
    parts.append("`.md`, `.xml` (JUnit) and `.html` show the same. ")
    parts.append("The published JSON Schema is `mlconvert/report/schema.json`. ")
    parts.append("[How to read one](../how-to/parity.md).\n\n")
    parts.append(
        "A command that fails before its first step (a wrong option, a missing package) writes no report file. "
    )
    parts.append("With `--json` it prints `schema`, `ok`, `exit_code` and `error` alone.\n")
    _describe(schema, schema, "", parts)
    return "".join(parts)


def bench() -> str:
    schema = json.loads((resources.files("mlconvert.report.bench") / "schema.json").read_text(encoding="utf-8"))
    parts = [f"# The benchmark\n\n{schema['description']}\n\n"]
    parts.append("`mlconvert bench --json` prints it, `--report FILE.json` writes it. ")
    parts.append("The published JSON Schema is `mlconvert/report/bench/schema.json`. ")
    parts.append("[How to read one](../how-to/bench.md).\n")
    _describe(schema, schema, "", parts)
    return "".join(parts)


def _describe(schema: Mapping[str, Any], root: Mapping[str, Any], path: str, parts: list[str]) -> None:
    schema = _resolved(schema, root)
    properties = schema.get("properties", {})
    if properties:
        required = schema.get("required", [])
        rows = []
        for key, value in properties.items():
            shown = _resolved(value, root)
            meaning = value.get("description") or shown.get("description", "")
            rows.append((f"`{key}`", "yes" if key in required else "", _kind(shown, root), meaning))
        parts.append(f"\n## {_heading(path)}\n\n")
        parts.append(_table(("key", "required", "value", "meaning"), *rows))
    for key, value in properties.items():
        for inner in (value, *_resolved(value, root).get("oneOf", ()), *_resolved(value, root).get("anyOf", ())):
            _describe(inner, root, f"{path}.{key}".strip("."), parts)
    for key in ("additionalProperties", "items"):
        if isinstance(schema.get(key), dict):
            _describe(schema[key], root, f"{path}.NAME" if key == "additionalProperties" else f"{path}[]", parts)


def _heading(path: str) -> str:
    return f"`{path}`" if path else "Top level"


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
    kinds = kind if isinstance(kind, list) else [kind]
    if isinstance(schema.get("items"), dict):
        items = _kind(_resolved(schema["items"], root), root)
        kinds = [f"array of {items}" if name == "array" else name for name in kinds]
    return " or ".join(kinds)


# --- the record, which no schema describes; a test compares these keys with those of a real one ---

RECORD = """
schema: `mlconvert.record/1`: What the file is.
format: string: The artifact's format.
path: string: The main file, relative to the record's folder. No path in a record leads out of that folder.
sha256: string: Of the main file; of several files, of the list that `sha256sum` prints of them.
files: array: Every file of the artifact, the main one first: `path`, `sha256`, `bytes`.
signature: object or null: `inputs` and `outputs`, each with `name`, `dtype` and `shape` (a length, the name of a
    dynamic axis, or null), and with `columns` where a matrix has named ones.
renamed: object: The source's tensor names -> the artifact's, where they differ.
facts: object: The converter's own remarks: opsets and IR version of an ONNX model, and others.
source: object: The model that it was made from: `path`, `format`, `sha256`.
precision: string: What the artifact computes in: `float32`, `float16`, `bfloat16` or `int8`.
tolerances: object or null: What the last step was compared with: `rtol`, `atol`, `outputs`. null: not verified.
steps: array: How it was made: `converter`, `options` as given, `seconds`, `peak_rss_bytes`.
parity: object or null: The last step's comparison, as in the [report](report.md). null: not verified.
rows: object or null: Up to 32 rows of samples with the source's answers, compressed, of at most 4 MiB together;
    `mlconvert verify ARTIFACT` tests the artifact on them. null: not verified, or one row is larger than that.
environment: object: `python`, `platform` and the versions of the `packages` that took part.
fingerprint: object or null: The hardware that the artifact is bound to; null where it is bound to none.
mlconvert: string: The version that wrote the record.
created: string: When, in UTC.
"""
RECORD_IN_REPOSITORY = """
published: object: The `options` that were given, the `config_sha256` of the configuration, and whether the version
    was `live` when it was published.
"""


def record_rows(text: str) -> list[list[str]]:
    """The rows `key: kind: meaning` of such a text; a line that is indented goes on with the one before it."""
    return [line.split(": ", 2) for line in re.sub(r"\n +", " ", text).strip().splitlines()]


def record() -> str:
    def rows(text: str) -> list[tuple[str, str, str]]:
        return [(f"`{key}`", kind, meaning) for key, kind, meaning in record_rows(text)]

    head = ("key", "value", "meaning")
    return (
        "# The record\n\n"
        "A JSON file that goes with every artifact: what it is, how it was made and how it was proven. "
        "A model file `NAME` has its record beside it as `NAME.json`; in a folder of its own it is `record.json`. "
        "Names in it are relative to its own folder, so that both can be moved together.\n\n"
        + _table(head, *rows(RECORD))
        + "\nIn a repository's version folder there is one key more:\n\n"
        + _table(head, *rows(RECORD_IN_REPOSITORY))
        + "\nA file whose SHA-256 is not the record's is refused by `verify`, `inspect` and `publish` (exit code 8). "
        "`convert` does not replace one (exit code 2).\n"
    )


# --- operators in TensorFlow ---


def tensorflow_operators() -> str:
    from mlconvert.readers.tensorflow_runtime import import_tensorflow

    import_tensorflow()
    from mlconvert.tensorflow.operators import operators

    table = operators()
    parts = [
        "# ONNX operators that are lowered to TensorFlow\n\n",
        "`--to saved-model` has a function of its own for each of these, in core TensorFlow operations alone. Others ",
        "that are not here are expanded where ONNX, or the model, defines them by others; what remains is named, all ",
        "at once, and nothing is written (exit code 4).\n",
    ]
    for domain in sorted({domain for domain, _ in table}):
        rows = [
            (f"`{name}`", ", ".join(_opsets(row.since, row.until) for row in found), _notes(found))
            for (here, name), found in sorted(table.items())
            if here == domain
        ]
        parts.append(f"\n## {domain or 'ai.onnx'}\n\n" + _table(("operator", "opsets", "limits"), *rows))
    return "".join(parts)


def _opsets(since: int, until: int | None) -> str:
    return f"{since} and later" if until is None else f"{since} to {until}" if until > since else f"{since}"


def _notes(rows: Iterable[Any]) -> str:
    return "; ".join(dict.fromkeys(row.note for row in rows if row.note))


PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands,
    "converters.md": converters,
    "exit-codes.md": exit_codes,
    "formats.md": formats,
    "python.md": python_api,
    "recipes.md": recipes,
    "record.md": record,
    "report.md": report,
    "bench.md": bench,
    "repositories.md": repositories,
    "tensorflow.md": tensorflow_operators,
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
