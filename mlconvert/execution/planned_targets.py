"""A target, planned: its route, its output and its tolerances checked; nothing done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlconvert.artifact import Artifact
from mlconvert.converter import Converter, Runner
from mlconvert.errors import HardwareMismatch, UsageError
from mlconvert.execution import outputs
from mlconvert.execution.planned_hardware import check_bound, require_here
from mlconvert.execution.verification import tolerances_for
from mlconvert.formats import hint_for, source_artifact
from mlconvert.plan import Plan, PlannedStep, Waypoint, make_plan
from mlconvert.recipe import ModelSpec, Recipe, TargetSpec, locate
from mlconvert.registry import registry
from mlconvert.report.contents import shown


@dataclass(frozen=True)
class PlannedTarget:
    spec: TargetSpec
    plan: Plan
    destination: outputs.Destination

    @property
    def rows(self) -> list[Converter | Runner]:
        """The converters of its steps, and the runners of what is run to make samples and to verify."""
        return [*(step.converter for step in self.plan.steps), *runners_of(self.spec, self.plan, self.plan.steps)]


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
        for runner in runners_of(spec, plan, plan.steps):
            runner.require("to verify the result" if spec.parity.verify else "to make samples")
    destination = outputs.Destination.of(out, registry().format(plan.target_format))
    if spec.filename:
        destination = replace(destination, main=destination.main.with_name(spec.filename))
    _check_keeps_source(source, destination)
    outputs.check(destination)
    tolerances_for(spec.parity, "float32")  # raises for values that are no tolerances
    return PlannedTarget(spec, plan, destination)


def runners_of(spec: TargetSpec, plan: Plan, steps: Sequence[PlannedStep]) -> list[Runner]:
    """What runs the source, and what runs the results of these steps, where the target has them verified."""
    verified = [step.converter.target for step in steps] if spec.parity.verify else []
    formats = [plan.source_format, *verified] if spec.parity.verify or plan.needs_samples else []
    return [registry().runner(name) for name in dict.fromkeys(formats)]


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
