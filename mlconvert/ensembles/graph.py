"""The graph of an ensemble: steps, each a model with names for what it takes and gives, and whether they make one.

A tensor of an ensemble has one name. It comes from outside or from one step, and any number of steps take it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlconvert.errors import suggest


@dataclass(frozen=True)
class Step:
    """`inputs` and `outputs`: the model's tensor -> the ensemble's."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        return {"model": self.model, "inputs": dict(self.inputs), "outputs": dict(self.outputs)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Step:
        return Step(data["model"], data["inputs"], data["outputs"])


@dataclass(frozen=True)
class Graph:
    """`inputs` and `outputs` are the tensors at the outside, under their own names."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Flaw:
    """What is wrong at a place of the ensemble, such as `("steps", 1, "inputs", "x")`, or with `("models", name)`."""

    keys: tuple[str | int, ...]
    text: str
    hint: str | None = None


def named(graph: Graph, index: int) -> str:
    """A step as messages call it: by its model, and by its number too where the model has several."""
    model = graph.steps[index].model
    several = sum(step.model == model for step in graph.steps) > 1
    return f"step {index + 1} ('{model}')" if several else f"'{model}'"


def flaws(graph: Graph, models: Collection[str]) -> list[Flaw]:
    """All that keeps the steps from being an ensemble of those models; nothing where they are one.

    Every model is used, every tensor has one source, every step and every input leads to an output, nothing goes round.
    """
    found = [*_outside(graph), *_steps(graph, models), *_edges(graph)]
    # Of a graph with such flaws it could not be said what leads where.
    return found or [*_circles(graph), *_dead(graph)]


def order(graph: Graph) -> tuple[int, ...]:
    """The steps' numbers such that each comes after those that it takes from; those of a circle are left out."""
    known, done = set(graph.inputs), list[int]()
    while True:
        left = [index for index in range(len(graph.steps)) if index not in done]
        ready = [index for index in left if known.issuperset(graph.steps[index].inputs.values())]
        if not ready:
            return tuple(done)
        done += ready
        known |= {tensor for index in ready for tensor in graph.steps[index].outputs.values()}


def before(graph: Graph, index: int) -> Graph:
    """The part of the graph that makes what a step takes from other steps, as a graph with those tensors for outputs.

    Without outputs where the step takes nothing but what comes from outside.
    """
    wanted = [tensor for tensor in dict.fromkeys(graph.steps[index].inputs.values()) if tensor not in graph.inputs]
    kept = _leading_to(graph, wanted)
    steps = tuple(graph.steps[each] for each in order(graph) if each in kept)
    taken = {tensor for step in steps for tensor in step.inputs.values()}
    return Graph(tuple(name for name in graph.inputs if name in taken), tuple(wanted), steps)


def _leading_to(graph: Graph, tensors: Collection[str]) -> set[int]:
    wanted, kept = set(tensors), set[int]()
    while True:
        more = {
            index
            for index, step in enumerate(graph.steps)
            if index not in kept and not wanted.isdisjoint(step.outputs.values())
        }
        if not more:
            return kept
        kept |= more
        wanted |= {tensor for index in more for tensor in graph.steps[index].inputs.values()}


def _outside(graph: Graph) -> Iterator[Flaw]:
    for side, names in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if not names:
            yield Flaw((side,), f"an ensemble has at least one of its {side}")
        for index, name in enumerate(names):
            if name in names[:index]:
                yield Flaw((side, index), f"'{name}' is given twice")
    for index, name in enumerate(graph.outputs):
        if name in graph.inputs:
            yield Flaw(("outputs", index), f"'{name}' is an input: no step makes it")


def _steps(graph: Graph, models: Collection[str]) -> Iterator[Flaw]:
    if not graph.steps:
        yield Flaw(("steps",), "an ensemble has at least one step")
    for index, step in enumerate(graph.steps):
        if step.model not in models:
            text = f"there is no model '{step.model}'.{suggest(step.model, models)}"
            yield Flaw(("steps", index, "model"), text, f"its models: {', '.join(models)}")
        for side, names in (("inputs", step.inputs), ("outputs", step.outputs)):
            if not names:
                verb = "takes" if side == "inputs" else "gives"
                yield Flaw(("steps", index, side), f"{named(graph, index)} {verb} nothing")
    used = {step.model for step in graph.steps}
    for model in models:
        if graph.steps and model not in used:
            yield Flaw(("models", model), f"no step uses the model '{model}'", "remove it, or give it a step")


def _edges(graph: Graph) -> Iterator[Flaw]:
    sources: dict[str, str] = dict.fromkeys(graph.inputs, "an input of the ensemble")
    for index, step in enumerate(graph.steps):
        for output, tensor in step.outputs.items():
            if tensor in sources:
                text = f"the tensor '{tensor}' has two sources: {sources[tensor]}, and {named(graph, index)}"
                yield Flaw(("steps", index, "outputs", output), text, "give it a name of its own")
            sources.setdefault(tensor, f"the output of {named(graph, index)}")
    for index, step in enumerate(graph.steps):
        for name, tensor in step.inputs.items():
            if tensor not in sources:
                text = f"no step makes the tensor '{tensor}', and it is no input of the ensemble."
                yield Flaw(("steps", index, "inputs", name), text + suggest(tensor, sources), _known(sources))
    for index, name in enumerate(graph.outputs):
        if name not in sources:
            yield Flaw(("outputs", index), f"no step makes '{name}'.{suggest(name, sources)}", _known(sources))


def _known(sources: Mapping[str, str]) -> str | None:
    return f"its tensors: {', '.join(sources)}" if sources else None


def _circles(graph: Graph) -> Iterator[Flaw]:
    left = [index for index in range(len(graph.steps)) if index not in order(graph)]
    if left:
        # Go back along what is missing until a step comes up again: that is the circle, not what merely waits for it.
        path = [left[0]]
        while True:
            lacking = set(graph.steps[path[-1]].inputs.values())
            earlier = next(i for i in left if not lacking.isdisjoint(graph.steps[i].outputs.values()))
            if earlier in path:
                circle = path[path.index(earlier) :][::-1]
                names = " -> ".join(named(graph, index) for index in (*circle, circle[0]))
                yield Flaw(("steps", min(circle)), f"the steps go round in a circle: {names}")
                return
            path.append(earlier)


def _dead(graph: Graph) -> Iterator[Flaw]:
    if len(order(graph)) < len(graph.steps):
        return
    alive = _leading_to(graph, graph.outputs)
    for index in range(len(graph.steps)):
        if index not in alive:
            text = f"nothing that {named(graph, index)} gives leads to an output"
            yield Flaw(("steps", index), text, "remove the step, or add what it gives to the outputs")
    taken = {tensor for index in alive for tensor in graph.steps[index].inputs.values()}
    for index, name in enumerate(graph.inputs):
        if name not in taken and len(alive) == len(graph.steps):
            yield Flaw(("inputs", index), f"no step takes the input '{name}'", "remove it")
