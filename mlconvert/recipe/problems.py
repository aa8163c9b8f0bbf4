"""What the schema has to say about a recipe, in words and with lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema.validators import Draft202012Validator

from mlconvert.errors import UsageError, suggest
from mlconvert.recipe.document import Document, Keys, Problem
from mlconvert.recipe.ensembles import ensemble_problems

SCHEMA = Path(__file__).with_name("schema.json")

_NOUNS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "nothing",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}


@cache
def schema() -> dict[str, Any]:
    """The published JSON Schema of a recipe (draft 2020-12)."""
    loaded: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    return loaded


def check_document(document: Document) -> None:
    """Raise UsageError that lists all that is wrong with a recipe, by line; return where nothing is."""
    problems = [*document.problems, *_schema_problems(document)]
    if not problems:
        problems += ensemble_problems(document)
    if not problems:
        return
    # What an alias stands for is seen once for every place that it is used in.
    by_place = {(each.line, each.column, each.text): each for each in reversed(problems)}
    problems = [by_place[place] for place in sorted(by_place)]
    if len(problems) == 1:
        (only,) = problems
        raise UsageError(_line(only), where=f"{document.path}:{only.line}:{only.column}", hint=only.hint)
    lines = [f"{document.path}:{each.line}:{each.column}: {_line(each)}" for each in problems]
    hints = dict.fromkeys(each.hint for each in problems if each.hint)
    raise UsageError(
        f"{len(problems)} problems in the recipe\n" + "\n".join(lines),
        where=str(document.path),
        hint="; ".join(hints) or None,
    )


def spell(keys: Iterable[str | int]) -> str:
    """`targets.triton.steps[1]`; a name with dots or blanks goes in brackets too."""
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        elif re.fullmatch(r"[\w-]+", key):
            text += f".{key}" if text else key
        else:
            text += f"[{key!r}]"
    return text


def _line(problem: Problem) -> str:
    place = spell(problem.keys)
    return f"{place}: {problem.text}" if place else problem.text


def _schema_problems(document: Document) -> list[Problem]:
    # Any: to the type checker, every attribute of a ValidationError may be unset.
    errors: list[Any] = list(Draft202012Validator(schema()).iter_errors(document.value))
    # Of a step with two keys, what those keys hold has no meaning.
    muddled = [tuple(error.absolute_path) for error in errors if error.validator == "maxProperties"]
    found = []
    for error in errors:
        keys = tuple(error.absolute_path)
        if keys in document.unreadable:
            continue
        if any(keys[: len(each)] == each and error.validator != "maxProperties" for each in muddled):
            continue
        found += list(_describe(document, error, keys))
    return found


def _describe(document: Document, error: Any, keys: Keys) -> Iterator[Problem]:
    rule, value, expected = error.validator, error.instance, error.validator_value
    if rule == "enum" and "dependentSchemas" in error.absolute_schema_path:
        # The keys that may stand beside the first of them.
        yield document.problem((*keys, value), f"cannot be given together with '{expected[0]}'", at_key=True)
    elif rule == "not":
        yield document.problem((*keys, value), _forbidden(list(error.absolute_schema_path), value), at_key=True)
    elif "propertyNames" in error.absolute_schema_path:
        text = f"{value!r} cannot be a name here: letters, digits, '_', '-' and '.'"
        yield document.problem((*keys, value), text, at_key=True)
    elif rule == "additionalProperties":
        known = [*error.schema.get("properties", {})]
        for name in value:
            if name not in known and not any(
                re.search(each, name) for each in error.schema.get("patternProperties", ())
            ):
                text = f"unknown key '{name}'.{suggest(name, known)}"
                hint = f"keys of {spell(keys) or 'a recipe'}: {', '.join(known)}"
                yield document.problem((*keys, name), text, at_key=True, hint=hint)
    elif rule == "required":
        for name in expected:
            if name not in value:
                yield document.problem(keys, f"the key '{name}' is missing", at_key=True)
    else:
        sentence = _SENTENCES.get(str(rule))
        text = sentence(expected, value, error.schema) if sentence else str(error.message)
        yield document.problem(keys, text)


def _forbidden(path: list[str | int], value: str) -> str:
    """Why a key may not stand where it does, by the rule's place in the schema."""
    if "dependentSchemas" in path:
        return f"cannot be given together with '{path[path.index('dependentSchemas') + 1]}'"
    if "then" in path:
        return "cannot be given together with 'split'"
    if "else" in path:
        return "is for the parts of a pipeline: it goes together with 'split'"
    return f"{value!r} cannot be a name here: it is taken"


def _type(expected: str | list[str], value: Any, _: dict[str, Any]) -> str:
    kinds = [expected] if isinstance(expected, str) else expected
    text = f"expected {' or '.join(_NOUNS[kind] for kind in kinds)}, found {_found(value)}"
    if kinds == ["string"] and isinstance(value, (bool, int, float)):
        text += "; put it in quotes"
    return text


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {value!r}"
    return "a list" if isinstance(value, list) else "a mapping"


def _pattern(_: str, value: str, rules: dict[str, Any]) -> str:
    examples = ", ".join(str(each) for each in rules.get("examples", ()) if isinstance(each, str))
    return f"{value!r} is not of the right form" + (f"; right are: {examples}" if examples else "")


def _enum(expected: list[Any], value: Any, _: dict[str, Any]) -> str:
    known = [str(each) for each in expected]
    return f"{value!r} is not one of {', '.join(known)}.{suggest(str(value), known)}"


def _one_key(_: int, value: dict[str, Any], __: dict[str, Any]) -> str:
    names = ", ".join(value)
    return f"a step is one name with its options beneath, found {names}; are the options indented deeper than the name?"


_SENTENCES: dict[str, Callable[[Any, Any, dict[str, Any]], str]] = {
    "type": _type,
    "pattern": _pattern,
    "enum": _enum,
    "maxProperties": _one_key,
    "minProperties": lambda *_: "needs at least one key",
    "minItems": lambda *_: "needs at least one item",
    "minLength": lambda *_: "is empty",
    "minimum": lambda least, value, _: f"{value} is too small: at least {least}",
    "maximum": lambda most, value, _: f"{value} is too large: at most {most}",
    "exclusiveMinimum": lambda least, value, _: f"{value} is too small: it has to be more than {least}",
}
