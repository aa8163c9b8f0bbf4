"""A run, planned whole: the source recognised, every target's route, outputs and tolerances checked; nothing done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlconvert import packages
from mlconvert.artifact import Artifact
from mlconvert.converter import options_of
from mlconvert.errors import UsageError
from mlconvert.execution import outputs
from mlconvert.execution.verification import require_samples, tolerances_for
from mlconvert.formats import hint_for, source_artifact
from mlconvert.parity.tolerance import Tolerances
from mlconvert.plan import Plan, Waypoint, make_plan
from mlconvert.recipe import Recipe, TargetSpec
from mlconvert.registry import registry
from mlconvert.report.contents import shown


@dataclass(frozen=True)
class PlannedTarget:
    spec: TargetSpec
    plan: Plan
    destination: outputs.Destination
    tolerances: tuple[Tolerances, ...]  # of each step's artifact


@dataclass(frozen=True)
class PlannedRun:
    recipe: Recipe
    source: Artifact
    targets: tuple[PlannedTarget, ...]
    out: Path  # what is claimed while the run works


def plan_run(
    recipe: Recipe, out: Path | None = None, *, single: bool = False, names: tuple[str, ...] = ()
) -> PlannedRun:
    """Recognise the source, route every target, check options, packages and samples' file: before anything runs.

    `single`: a one-target recipe whose output is OUT itself; otherwise `<out>/<target>/`, out being
    `build/<recipe>` by default. `names` picks targets.
    """
    model = recipe.model
    source = source_artifact(
        model.location,
        format=model.format,
        weights=str(model.weights) if model.weights else None,
        trusted=model.trust,
        formats=registry().formats,
    )
    _check_leads_on(source)
    require_samples(recipe.samples)
    known = [target.name for target in recipe.targets]
    for name in names:
        if name not in known:
            raise UsageError(f"the recipe has no target '{name}'", hint=f"its targets: {', '.join(known)}")
    base = (out or Path("build") / recipe.name).absolute()
    targets = []
    for spec in recipe.targets:
        if names and spec.name not in names:
            continue
        waypoints = [Waypoint(step.name, step.options) for step in spec.steps]
        plan = make_plan(source.format, waypoints, registry().converters, spec.settings)
        if spec.parity.verify:
            for name in dict.fromkeys((source.format, *(step.converter.target for step in plan.steps))):
                packages.require(registry().runner(name).packages, f"running {name}, to verify the result,")
        elif plan.needs_samples:
            packages.require(registry().runner(source.format).packages, f"making samples for {source.format}")
        destination = outputs.Destination.of(
            base if single else base / spec.name, registry().format(plan.target_format)
        )
        if spec.filename:
            destination = replace(destination, main=destination.main.with_name(spec.filename))
        outputs.check(destination)
        final = len(plan.steps) - 1
        tolerances = [
            tolerances_for(spec.parity, plan.precision_after(at), last=at == final) for at in range(final + 1)
        ]
        targets.append(PlannedTarget(spec, plan, destination, tuple(tolerances)))
    return PlannedRun(recipe, source, tuple(targets), base)


def _check_leads_on(source: Artifact) -> None:
    """Refuse a source that is recognised but from which nothing leads, with what to do instead."""
    if not any(row.source == source.format for row in registry().converters):
        form = registry().format(source.format)
        hint = hint_for(source.format, source.location, registry().formats)
        raise UsageError(f"{source.location} is {form.title}: nothing can be made from that", hint=hint)


def plan_as_json(planned: PlannedRun) -> dict[str, Any]:
    """The plan for a reader: what `--dry-run` shows."""
    targets = []
    for target in planned.targets:
        steps = [
            {
                "name": step.name,
                "converter": step.converter.id,
                "title": step.converter.title,
                "options": {
                    name: step.options.get(name, option.default)
                    for name, option in options_of(step.converter.load()).items()
                },
            }
            for step in target.plan.steps
        ]
        publish = target.spec.publish
        targets.append(
            {
                "name": target.spec.name,
                "steps": steps,
                "verify": target.spec.parity.verify,
                "path": shown(target.destination.main),
                "publish": f"{publish.to}: {publish.name}" if publish else None,
            }
        )
    return {
        "schema": "mlconvert.plan/1",
        "source": {"path": shown(planned.source.location), "format": planned.source.format},
        "targets": targets,
    }
