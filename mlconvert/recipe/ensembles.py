"""What is wrong with the edges of an ensemble, as far as its recipe shows: by line, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlconvert.ensembles.graph import Flaw, flaws
from mlconvert.recipe.values import graph_of

if TYPE_CHECKING:  # it imports YAML, which a run without a recipe can do without
    from mlconvert.recipe.document import Document, Problem


def ensemble_problems(document: Document) -> list[Problem]:
    """The problems of a document that fits the schema; none where it has no ensemble, or one of a split pipeline."""
    fields = document.value.get("ensemble")
    if fields is None or "split" in fields:
        return []
    found = flaws(graph_of(fields), tuple(document.value["models"]))
    return [document.problem(keys_of(flaw), flaw.text, hint=flaw.hint) for flaw in found]


def keys_of(flaw: Flaw) -> tuple[str | int, ...]:
    """Where a recipe has what a flaw is about."""
    return flaw.keys if flaw.keys[:1] == ("models",) else ("ensemble", *flaw.keys)
