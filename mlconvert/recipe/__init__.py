"""Recipes: a YAML file that says which model becomes what, how that is verified and where it is published.

The dataclasses are what the rest of mlconvert works with; a `convert` call is a recipe of one target. The form of
the file is `schema.json`, whose descriptions are its reference. Neither YAML nor JSON Schema is imported before a
recipe is read.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mlconvert.recipe.specs import (
    ENSEMBLE,
    PARTS,
    EnsembleSpec,
    LimitsSpec,
    MemberSpec,
    ModelSpec,
    ParitySpec,
    PublishSpec,
    Recipe,
    SamplesSpec,
    StepSpec,
    TargetSpec,
)
from mlconvert.recipe.values import parse_bytes, parse_seconds, recipe_of

__all__ = [
    "ENSEMBLE",
    "PARTS",
    "EnsembleSpec",
    "LimitsSpec",
    "MemberSpec",
    "ModelSpec",
    "ParitySpec",
    "PublishSpec",
    "Recipe",
    "SamplesSpec",
    "StepSpec",
    "TargetSpec",
    "load_recipe",
    "locate",
    "parse_bytes",
    "parse_seconds",
]


def load_recipe(path: Path) -> Recipe:
    """The recipe in a YAML file, named by the file's stem.

    Raises UsageError that lists every problem of the file, each with its line and column.
    """
    from mlconvert.recipe.document import read_document
    from mlconvert.recipe.problems import check_document

    document = read_document(path)
    check_document(document)
    return replace(recipe_of(document.value, path.stem, Path(os.path.realpath(path.parent))), file=path)


def locate(path: Path, keys: Sequence[str | int]) -> str:
    """`file:line:column` of a place in a recipe, such as `("targets", "triton", "steps", 1)`.

    For what is found wrong after loading: a step or an option that does not exist. A place that the file does not
    spell out gives the nearest one around it. Raises UsageError where the file is no YAML any more.
    """
    from mlconvert.recipe.document import read_document

    return read_document(path).where(tuple(keys))
