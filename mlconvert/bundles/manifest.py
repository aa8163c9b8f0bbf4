"""What the manifest of a bundle says, and that it says it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlconvert.errors import UsageError

SCHEMA = "mlconvert.bundle/1"
BUILT = "mlconvert.built/1"  # of what was built of one
RECIPE = "recipe.yaml"

_WORD = {"type": "string", "pattern": "^[ -~]{1,200}$(?!\\n)"}
_FORM: dict[str, Any] = {
    "type": "object",
    "required": ["schema", "name", "targets", "versions", "not_published", "files"],
    "additionalProperties": False,
    "properties": {
        "schema": {"const": SCHEMA},
        "name": {"type": "string"},  # of the recipe
        "targets": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/name"}},
        "versions": {
            "type": "object",
            "required": ["mlconvert", "code", "python", "packages"],
            "additionalProperties": False,
            "properties": {
                "mlconvert": _WORD,
                "code": _WORD,
                "python": _WORD,
                "packages": {"type": "object", "propertyNames": _WORD, "additionalProperties": _WORD},
            },
        },
        "not_published": {"type": "object", "additionalProperties": {"$ref": "#/$defs/publish"}},
        "files": {
            "type": "array",
            "contains": {"properties": {"path": {"const": RECIPE}}},
            "items": {"type": "object"},  # the archive holds them to what it needs
        },
    },
}


def require_sound(manifest: Mapping[str, Any], path: Path) -> None:
    """Raise UsageError unless the manifest of the bundle at `path` has the form that `mlconvert bundle` writes."""
    from jsonschema.validators import Draft202012Validator

    from mlconvert.recipe.problems import schema, spell

    validator = Draft202012Validator({**_FORM, "$defs": schema()["$defs"]})
    error: Any = next(validator.iter_errors(manifest), None)
    if error is not None:
        place = spell(error.absolute_path) or "it"
        what = f"the bundle's manifest is none that `mlconvert bundle` writes: {place} does not fit"
        raise UsageError(what, where=str(path), hint="make the bundle again: mlconvert bundle RECIPE -o job.tar")
