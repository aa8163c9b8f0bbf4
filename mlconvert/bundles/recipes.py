"""A recipe in a bundle: the same, with its files in the bundle and without publishing.

It is written as JSON, which YAML readers take: there a text is a text, whatever it looks like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlconvert.converter import option_files, options_of
from mlconvert.errors import UsageError
from mlconvert.execution.planned import PlannedRun
from mlconvert.execution.planned_targets import PlannedTarget
from mlconvert.plan import PlannedStep
from mlconvert.recipe import ModelSpec, Recipe, StepSpec, TargetSpec

Keys = tuple[str, ...]

MARK = "bundle:"  # before the name of a file in the bundle, as the value of an option

# What JSON may leave as it is, and YAML takes for the end of a line, or for no text at all (YAML 1.2, 5.1 and 5.4).
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def models_of(recipe: Recipe) -> dict[Keys, ModelSpec]:
    """Every model that a recipe names, by where it has it."""
    found: dict[Keys, ModelSpec] = {("model",): recipe.model} if recipe.model else {}
    members = recipe.ensemble.members if recipe.ensemble else ()
    return found | {member.keys: member.model for member in members if member.model}


def unpublished(recipe: Recipe) -> Recipe:
    """The recipe without publishing."""
    ensemble = recipe.ensemble
    if ensemble is not None:
        members = tuple(replace(each, target=replace(each.target, publish=None)) for each in ensemble.members)
        ensemble = replace(ensemble, members=members, publish=None)
    return replace(recipe, targets=tuple(replace(each, publish=None) for each in recipe.targets), ensemble=ensemble)


def publications_in(value: Mapping[str, Any], targets: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """What the document of a recipe publishes of these targets (or of the ensemble as a whole): name -> how."""
    rows = {**value.get("targets", {}), "ensemble": value.get("ensemble", {})}
    return {name: row["publish"] for name, row in rows.items() if name in targets and "publish" in row}


def rewritten(
    value: Mapping[str, Any],
    targets: Collection[str],
    models: Mapping[Keys, str],
    samples: str | None,
    files: Mapping[str, str],
) -> str:
    """The text of a recipe's document with its models, samples and the files that options name at these places.

    Left out: other targets, what publishes, and top-level keys that begin with `x-`, which nothing reads.
    """
    document: dict[str, Any] = json.loads(json.dumps(value))  # of its own: aliases stand for one value in many places
    document = {key: each for key, each in document.items() if not key.startswith("x-")}
    if "targets" in document:
        document["targets"] = {name: row for name, row in document["targets"].items() if name in targets}
    for keys, place in models.items():
        *above, last = keys
        holder = document
        for key in above:
            holder = holder[key]
        named = holder[last]
        holder[last] = {**({} if isinstance(named, str) else named), "source": place}
    if samples is not None:
        named = document["samples"]
        document["samples"] = {**({} if isinstance(named, str) else named), "file": samples}
    ensemble = document.get("ensemble", {})
    ensemble.pop("publish", None)
    for rows in (document.get("targets", {}), document.get("models", {}), ensemble.get("parts", {})):
        for row in rows.values():
            row.pop("publish", None)
            if "steps" in row:
                row["steps"] = [_with_files(step, files) for step in row["steps"]]
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _with_files(step: str | dict[str, Any], files: Mapping[str, str]) -> str | dict[str, Any]:
    if isinstance(step, str):
        return step
    ((name, options),) = step.items()
    return {name: {key: _changed(value, lambda text: files.get(text, text)) for key, value in (options or {}).items()}}


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """An option's value, each text in it changed: a list may be written as text with commas."""
    if isinstance(value, str):
        return ",".join(change(part) for part in value.split(","))
    return [_changed(each, change) for each in value] if isinstance(value, list | tuple) else value


def placed(recipe: Recipe, files: Collection[Path]) -> Recipe:
    """The recipe of a bundle that is unpacked, with the files that options name where they lie now."""

    def place_of(text: str) -> str:
        path = recipe.folder / text.removeprefix(MARK)
        return str(path) if text.startswith(MARK) and path in files else text

    def with_places(target: TargetSpec) -> TargetSpec:
        steps = [
            StepSpec(step.name, {name: _changed(value, place_of) for name, value in step.options.items()})
            for step in target.steps
        ]
        return replace(target, steps=tuple(steps))

    ensemble = recipe.ensemble
    if ensemble is not None:
        members = tuple(replace(each, target=with_places(each.target)) for each in ensemble.members)
        ensemble = replace(ensemble, members=members)
    return replace(recipe, targets=tuple(with_places(each) for each in recipe.targets), ensemble=ensemble)


def require_inside(recipe: Recipe, files: set[Path]) -> None:
    """Raise UsageError unless the recipe of a bundle names nothing but the bundle's files, and publishes nothing.

    `mlconvert bundle` writes no other; somebody else could, to have a file of the building machine read, or code run.
    """
    folders = {above for file in files for above in file.parents if above.is_relative_to(recipe.folder)}
    within = files | (folders - {recipe.folder})
    outside = [
        f"its model is {spec.location}"
        for spec in models_of(recipe).values()
        if Path(spec.location) not in within or spec.weights is not None
    ]
    if recipe.samples.file is not None and recipe.samples.file not in files:
        outside.append(f"its samples are {recipe.samples.file}")
    if unpublished(recipe) != recipe:
        outside.append("it publishes")
    if outside:
        what = f"the recipe in the bundle is none that `mlconvert bundle` writes: {'; '.join(outside)}"
        raise UsageError(what, hint="make the bundle with: mlconvert bundle RECIPE -o job.tar")


def needs_trust(planned: PlannedRun) -> list[str]:
    """What a run does that its maker has to be trusted for, in words: run code, use files of the building machine."""
    files = option_files_of(planned)
    return [
        *(
            f"load {Path(spec.location).name}, which can run code"
            for spec in models_of(planned.recipe).values()
            if spec.trust
        ),
        *(f"load {path.name}, which can run code" for path in files),
        *(f"use {path} of the building machine" for path in _paths_in(planned) if path not in files),
    ]


def option_files_of(planned: PlannedRun) -> list[Path]:
    """The files that options of a run's steps name: plug-in libraries, engines."""
    named = (
        path for step in _steps_of(planned) for path in option_files(options_of(step.converter.load()), step.options)
    )
    return list(dict.fromkeys(named))


def _paths_in(planned: PlannedRun) -> list[Path]:
    """What among the options of a run's steps is an absolute path."""
    values = (value for step in _steps_of(planned) for value in step.options.values())
    texts = (text for value in values for text in (value if isinstance(value, list | tuple) else [value]))
    return list(dict.fromkeys(Path(text) for text in texts if isinstance(text, str) and text.startswith("/")))


def _steps_of(planned: PlannedRun) -> list[PlannedStep]:
    return [step for target in targets_of(planned) for step in target.plan.steps]


def targets_of(planned: PlannedRun) -> list[PlannedTarget]:
    """The targets of a run; of an ensemble all its models, for one may be made from what another gives."""
    return [each.target for each in planned.ensemble.members] if planned.ensemble else list(planned.targets)
