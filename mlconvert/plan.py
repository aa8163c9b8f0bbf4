"""The plan: the list of steps from a source format through the named waypoints, checked before anything runs.

Pure: the tables are searched, the options' types are read from the converters' signatures, and packages are looked
for on disk; no framework is imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlconvert import outputs, packages
from mlconvert.artifact import Artifact
from mlconvert.converter import Converter, Option, Precision, check_options, options_of
from mlconvert.errors import UsageError, suggest
from mlconvert.formats import hint_for, source_artifact
from mlconvert.recipe import Recipe, TargetSpec
from mlconvert.registry import registry
from mlconvert.routes import route

Setting = tuple[str | None, str, Any]
"""A `--set` value: the step it is for (None: the only step that has such an option), the option, the value."""


@dataclass(frozen=True)
class PlannedStep:
    converter: Converter
    options: Mapping[str, Any]  # as given; the converter's own defaults fill the rest

    @property
    def name(self) -> str:
        return self.converter.name


@dataclass(frozen=True)
class Waypoint:
    """A format to pass through or a pass to make, with the options for the step that ends there."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    source_format: str
    steps: tuple[PlannedStep, ...]

    @property
    def target_format(self) -> str:
        return self.steps[-1].converter.target if self.steps else self.source_format

    @property
    def needs_samples(self) -> bool:
        return any(step.converter.uses_samples for step in self.steps)

    def precision_after(self, index: int) -> Precision:
        """What the artifact after step `index` computes in: the last precision that a step set."""
        for step in reversed(self.steps[: index + 1]):
            if step.converter.precision is not None:
                return step.converter.precision
        return "float32"


def make_plan(
    source: str, waypoints: Sequence[Waypoint], converters: Sequence[Converter], settings: Sequence[Setting] = ()
) -> Plan:
    """The checked plan. Raises UsageError (route, options) or MissingPackage, with the install command."""
    edges = route(source, [waypoint.name for waypoint in waypoints], converters)
    known = [options_of(edge.load()) for edge, _ in edges]
    values: list[dict[str, Any]] = [{} for _ in edges]
    for position, (edge, index) in enumerate(edges):
        # Options of a waypoint belong to the step that ends there, not to those filled in before it.
        if position + 1 == len(edges) or edges[position + 1][1] != index:
            values[position].update(check_options(edge.name, known[position], waypoints[index].options))
    _assign([edge for edge, _ in edges], known, values, settings)
    for edge, _ in edges:
        packages.require(edge.packages, f"step '{edge.name}' ({edge.id})")
    return Plan(source, tuple(PlannedStep(edge, value) for (edge, _), value in zip(edges, values, strict=True)))


def _assign(
    edges: Sequence[Converter],
    known: Sequence[Mapping[str, Option]],
    values: Sequence[dict[str, Any]],
    settings: Sequence[Setting],
) -> None:
    names = list(dict.fromkeys(edge.name for edge in edges))
    for step, option, value in settings:
        if step is not None:
            chosen = [index for index, edge in enumerate(edges) if edge.name == step]
            if not chosen:
                raise UsageError(
                    f"the route has no step '{step}'.{suggest(step, names)}", hint=f"its steps: {', '.join(names)}"
                )
        else:
            chosen = [index for index, options in enumerate(known) if option in options]
            if not chosen:
                every = sorted({f"{edge.name}.{name}" for edge, row in zip(edges, known, strict=True) for name in row})
                near = suggest(option, [name.partition(".")[2] for name in every])
                raise UsageError(f"no step has an option '{option}'.{near}", hint=f"options: {', '.join(every)}")
            if len(chosen) > 1:
                places = ", ".join(f"{edges[index].name}.{option}" for index in chosen)
                raise UsageError(f"several steps have an option '{option}'", hint=f"name one: {places}")
        for index in chosen:
            values[index].update(check_options(edges[index].name, known[index], {option: value}))


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
    if recipe.samples.file is not None and not recipe.samples.file.is_file():
        raise UsageError(f"the samples' file {recipe.samples.file} does not exist")
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
            for name in {source.format, *(step.converter.target for step in plan.steps)}:
                packages.require(registry().runner(name).packages, f"running {name}, to verify the result,")
        destination = outputs.Destination.of(
            base if single else base / spec.name, registry().format(plan.target_format)
        )
        if spec.filename:
            destination = replace(destination, main=destination.main.with_name(spec.filename))
        outputs.check(destination)
        targets.append(PlannedTarget(spec, plan, destination))
    if recipe.samples.kind != "random":
        raise UsageError(f"samples of the kind '{recipe.samples.kind}' cannot be made yet", hint="kind: random")
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
                "path": str(target.destination.main),
                "publish": f"{publish.to}: {publish.name}" if publish else None,
            }
        )
    return {
        "schema": "mlconvert.plan/1",
        "source": {"path": planned.source.location, "format": planned.source.format},
        "targets": targets,
    }
