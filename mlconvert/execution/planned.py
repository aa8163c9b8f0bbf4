"""A run, planned whole: the source recognised, every target's route, outputs and tolerances checked; nothing done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlconvert import packages
from mlconvert.artifact import Artifact
from mlconvert.converter import check_options, options_of
from mlconvert.errors import UsageError
from mlconvert.execution import outputs
from mlconvert.execution.verification import require_samples, tolerances_for
from mlconvert.formats import hint_for, source_artifact
from mlconvert.plan import Plan, Waypoint, make_plan
from mlconvert.recipe import PublishSpec, Recipe, TargetSpec, locate
from mlconvert.registry import registry
from mlconvert.report.contents import shown
from mlconvert.repositories import repository_named


@dataclass(frozen=True)
class PlannedTarget:
    spec: TargetSpec
    plan: Plan
    destination: outputs.Destination


@dataclass(frozen=True)
class PlannedRun:
    recipe: Recipe
    source: Artifact
    targets: tuple[PlannedTarget, ...]
    out: Path  # what is claimed while the run works
    single: bool  # whether that is the output of the only target, or holds the outputs of all

    def repository_of(self, spec: PublishSpec) -> Path:
        return spec.repository or self.out / "repository"


def plan_run(
    recipe: Recipe, out: Path | None = None, *, single: bool = False, names: tuple[str, ...] = ()
) -> PlannedRun:
    """Recognise the source, route every target, check options, packages and samples' file: before anything runs.

    `single`: a one-target recipe whose output is OUT itself; otherwise `<out>/<target>/`, out being
    `build/<recipe>` by default. `names` picks targets.
    """
    model = recipe.model
    with _written(recipe, "model"):
        source = source_artifact(
            model.location,
            format=model.format,
            weights=str(model.weights) if model.weights else None,
            trusted=model.trust,
            formats=registry().formats,
        )
        _check_leads_on(source)
    with _written(recipe, "samples"):
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
        waypoints = [
            Waypoint(step.name, step.options, _place(recipe, "targets", spec.name, "steps", index))
            for index, step in enumerate(spec.steps)
        ]
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
        _check_keeps_source(source, destination)
        outputs.check(destination)
        tolerances_for(spec.parity, "float32")  # raises for values that are no tolerances
        targets.append(PlannedTarget(spec, plan, destination))
    planned = PlannedRun(recipe, source, tuple(targets), base, single)
    _check_publishing(planned)
    return planned


def _place(recipe: Recipe, *keys: str | int) -> Callable[[], str] | None:
    file = recipe.file
    return None if file is None else lambda: locate(file, keys)


@contextlib.contextmanager
def _written(recipe: Recipe, *keys: str | int) -> Iterator[None]:
    """Say of an error about something in a recipe where that is written."""
    try:
        yield
    except UsageError as error:
        place = _place(recipe, *keys)
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


def _check_publishing(planned: PlannedRun) -> None:
    """Refuse what could never be published, before the work rather than after it."""
    taken: dict[tuple[Path, str], str] = {}
    for target in planned.targets:
        spec, name = target.spec.publish, target.spec.name
        if spec is None:
            continue
        row = repository_named(spec.to)
        if target.plan.target_format not in row.formats:
            what = f"target '{name}' ends in {target.plan.target_format}; {row.title} takes {', '.join(row.formats)}"
            raise UsageError(what, hint=f"end its steps with {row.formats[0]}, or do not publish it")
        packages.require(row.packages, f"publishing to {row.title}")
        check_options("publish", row.load().options(target.plan.target_format), spec.options)
        repository = planned.repository_of(spec)
        places = {each.spec.name: each.destination.out for each in planned.targets if each.destination.whole}
        clash = next((each for each, out in places.items() if out in (repository, *repository.parents)), None)
        if clash is not None:
            what = f"target '{clash}' lies where the repository of '{name}' would be: {repository}"
            raise UsageError(what, hint="give the target another name, or say where: publish.repository")
        other = taken.setdefault((repository, spec.name), name)
        if other != name:
            what = f"the targets '{other}' and '{name}' are both published as '{spec.name}' in {repository}"
            raise UsageError(what, hint="give each a name of its own")


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
