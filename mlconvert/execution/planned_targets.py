"""A target, planned: its route, its output and its tolerances checked; nothing done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mlconvert import packages
from mlconvert.artifact import Artifact
from mlconvert.errors import HardwareMismatch, UsageError
from mlconvert.execution import outputs
from mlconvert.execution.planned_hardware import check_bound, require_here
from mlconvert.execution.verification import tolerances_for
from mlconvert.formats import hint_for, source_artifact
from mlconvert.plan import Plan, Waypoint, make_plan
from mlconvert.recipe import ModelSpec, Recipe, TargetSpec, locate
from mlconvert.registry import registry
from mlconvert.report.contents import shown


@dataclass(frozen=True)
class PlannedTarget:
    spec: TargetSpec
    plan: Plan
    destination: outputs.Destination


def planned_source(model: ModelSpec) -> Artifact:
    """The artifact of a model that a recipe names. Raises UsageError where nothing can be made from it."""
    source = source_artifact(
        model.location,
        format=model.format,
        weights=str(model.weights) if model.weights else None,
        trusted=model.trust,
        formats=registry().formats,
    )
    _check_leads_on(source)
    return source


def plan_target(
    recipe: Recipe,
    spec: TargetSpec,
    source: Artifact,
    out: Path,
    keys: tuple[str | int, ...],
    *,
    elsewhere: bool = False,
) -> PlannedTarget:
    """The route of one target from its source to the output `out`; `keys` say where the recipe has it.

    `elsewhere`: it is made on another machine, so neither what is installed here nor the hardware matters.
    Raises UsageError, MissingPackage and HardwareMismatch.
    """
    waypoints = [
        Waypoint(step.name, step.options, place_in(recipe, *keys, "steps", index))
        for index, step in enumerate(spec.steps)
    ]

    def routed(*, elsewhere: bool) -> Plan:
        return make_plan(source.format, waypoints, registry().converters, spec.settings, elsewhere=elsewhere)

    if spec.hardware is not None:  # before packages are looked for: they may be on the machine with the hardware alone
        with written(recipe, *keys, "hardware"):
            check_bound(spec, routed(elsewhere=True))
            if not elsewhere:
                require_here(spec, shown(recipe.file or recipe.name))
    plan = routed(elsewhere=elsewhere)
    if plan.steps:
        plan.steps[0].converter.check_source(source, plan.steps[0].options)
    if not elsewhere:
        _require_runners(spec, source, plan)
    destination = outputs.Destination.of(out, registry().format(plan.target_format))
    if spec.filename:
        destination = replace(destination, main=destination.main.with_name(spec.filename))
    _check_keeps_source(source, destination)
    outputs.check(destination)
    tolerances_for(spec.parity, "float32")  # raises for values that are no tolerances
    return PlannedTarget(spec, plan, destination)


def _require_runners(spec: TargetSpec, source: Artifact, plan: Plan) -> None:
    if spec.parity.verify:
        for name in dict.fromkeys((source.format, *(step.converter.target for step in plan.steps))):
            packages.require(registry().runner(name).packages, f"running {name}, to verify the result,")
    elif plan.needs_samples:
        packages.require(registry().runner(source.format).packages, f"making samples for {source.format}")


def place_in(recipe: Recipe, *keys: str | int) -> Callable[[], str] | None:
    file = recipe.file
    return None if file is None else lambda: locate(file, keys)


@contextlib.contextmanager
def written(recipe: Recipe, *keys: str | int) -> Iterator[None]:
    """Say of an error about something in a recipe where that is written."""
    try:
        yield
    except (UsageError, HardwareMismatch) as error:
        place = place_in(recipe, *keys)
        if place is not None:
            told = error.where if error.where and error.where not in error.message else None
            error.where = "\n".join(part for part in (place(), told) if part)
        raise


def _check_keeps_source(source: Artifact, destination: outputs.Destination) -> None:
    """Refuse an output that would replace a file of the source."""
    out = destination.out.resolve()
    for file in source.files:
        if file.resolve() == out or (destination.whole and file.resolve().is_relative_to(out)):
            raise UsageError(f"the output {shown(destination.out)} is where the source is", hint="choose another -o")


def _check_leads_on(source: Artifact) -> None:
    """Refuse a source that is recognised but from which nothing leads, with what to do instead."""
    if not any(row.source == source.format for row in registry().converters):
        form = registry().format(source.format)
        hint = hint_for(source.format, source.location, registry().formats)
        raise UsageError(f"{source.location} is {form.title}: nothing can be made from that", hint=hint)
