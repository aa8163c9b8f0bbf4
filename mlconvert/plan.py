"""The plan: the list of steps from a source format through the named waypoints, checked before anything runs.

Pure: the tables are searched, the options' types are read from the converters' signatures, and packages (and Java) are
looked for on disk; no framework is imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlconvert.converter import Converter, Option, check_options, options_of
from mlconvert.errors import UsageError, suggest
from mlconvert.routes import require_known, route

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
    """A format to pass through or a pass to make, with the options for the step that ends there.

    `place` tells where it is written (`recipe.yaml:7:9`); it is asked only when there is something wrong with it.
    """

    name: str
    options: Mapping[str, Any]
    place: Callable[[], str] | None = None


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


def make_plan(
    source: str,
    waypoints: Sequence[Waypoint],
    converters: Sequence[Converter],
    settings: Sequence[Setting] = (),
    *,
    elsewhere: bool = False,
) -> Plan:
    """The checked plan. Raises UsageError (route, options) or MissingPackage, with the install command.

    `elsewhere`: the steps are for another machine, so what is installed here does not matter.
    """
    for waypoint in waypoints:
        with _written(waypoint):
            require_known(waypoint.name, converters)
    edges = route(source, [waypoint.name for waypoint in waypoints], converters)
    for edge, _ in edges if not elsewhere else ():
        edge.require()
    reached = {index for _, index in edges}
    for index, waypoint in enumerate(waypoints):
        if waypoint.options and index not in reached:
            what = f"'{waypoint.name}' is where the route is already: no step is made, so its options are for nothing"
            with _written(waypoint):
                raise UsageError(what, hint=f"remove the step '{waypoint.name}', or its options")
    known = [options_of(edge.load()) for edge, _ in edges]
    values: list[dict[str, Any]] = [{} for _ in edges]
    for position, (edge, index) in enumerate(edges):
        # Options of a waypoint belong to the step that ends there, not to those filled in before it.
        if position + 1 == len(edges) or edges[position + 1][1] != index:
            with _written(waypoints[index]):
                values[position].update(check_options(edge.name, known[position], waypoints[index].options))
    _assign([edge for edge, _ in edges], known, values, settings)
    return Plan(source, tuple(PlannedStep(edge, value) for (edge, _), value in zip(edges, values, strict=True)))


@contextlib.contextmanager
def _written(waypoint: Waypoint) -> Iterator[None]:
    """Say of an error about a waypoint where that is written."""
    try:
        yield
    except UsageError as error:
        if waypoint.place is not None:
            error.where = waypoint.place()
        raise


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
