"""What goes along the edges of an ensemble: whether each model takes what the others give it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlconvert.ensembles.graph import Flaw, Graph, named
from mlconvert.errors import suggest

DYNAMIC = -1


@dataclass(frozen=True)
class Tensor:
    """As clients see it: `dims` without the axis of rows where the model batches; -1 is a dynamic length."""

    dtype: str
    dims: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join('?' if length == DYNAMIC else str(length) for length in self.dims)}]"


@dataclass(frozen=True)
class Interface:
    """What a model takes and gives. `max_batch_size`: 0 where it does not batch, None where that is not decided."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    max_batch_size: int | None = None


def flaws_along(graph: Graph, models: Mapping[str, Interface], max_batch_size: int | None = None) -> list[Flaw]:
    """What does not fit along the edges of a graph that is sound in itself; nothing where all does.

    `max_batch_size` is what the ensemble is to allow, None: as much as its models do.
    """
    return [*_names(graph, models), *_types(graph, models), *_batches(graph, models, max_batch_size)]


def interface_of(graph: Graph, models: Mapping[str, Interface], max_batch_size: int | None = None) -> Interface:
    """What an ensemble without flaws takes and gives; a length is fixed where any of those who take it fix it."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    for step in graph.steps:
        for name, tensor in step.inputs.items():
            if tensor in graph.inputs:
                spec = models[step.model].inputs[name]
                inputs[tensor] = _narrowed(inputs[tensor], spec) if tensor in inputs else spec
        outputs |= {tensor: models[step.model].outputs[name] for name, tensor in step.outputs.items()}
    sizes = [size for step in graph.steps if (size := models[step.model].max_batch_size) is not None]
    least = min(sizes) if sizes else None
    return Interface(
        {name: inputs[name] for name in graph.inputs},
        {name: outputs[name] for name in graph.outputs},
        least if max_batch_size is None else max_batch_size,
    )


def _names(graph: Graph, models: Mapping[str, Interface]) -> Iterator[Flaw]:
    for index, step in enumerate(graph.steps):
        model = models[step.model]
        for side, given, known in (("inputs", step.inputs, model.inputs), ("outputs", step.outputs, model.outputs)):
            for name in given:
                if name not in known:
                    text = f"the model '{step.model}' has no {side[:-1]} '{name}'.{suggest(name, known)}"
                    yield Flaw(("steps", index, side, name), text, f"its {side}: {_listed(known)}")
        for name, spec in model.inputs.items():
            if name not in step.inputs:
                text = f"the model '{step.model}' takes '{name}' ({spec}), which the step does not give it"
                yield Flaw(("steps", index, "inputs"), text)


def _listed(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name}: {spec}" for name, spec in tensors.items())


def _types(graph: Graph, models: Mapping[str, Interface]) -> Iterator[Flaw]:
    """Of each tensor what gives it (of an input of the ensemble: the first that takes it) against all that take it."""
    sources: dict[str, tuple[str, Tensor]] = {}
    for index, step in enumerate(graph.steps):
        for name, tensor in step.outputs.items():
            if name in models[step.model].outputs:
                sources[tensor] = (f"{named(graph, index)} gives it as", models[step.model].outputs[name])
    for index, step in enumerate(graph.steps):
        for name, tensor in step.inputs.items():
            spec = models[step.model].inputs.get(name)
            if spec is None:
                continue
            if tensor not in sources:
                sources[tensor] = (f"{named(graph, index)} takes it as", spec)
                continue
            origin, given = sources[tensor]
            reason = misfit(given, spec)
            if reason:
                text = (
                    f"the edge '{tensor}': {origin} {given}, {named(graph, index)} takes '{name}' as {spec}: {reason}"
                )
                yield Flaw(("steps", index, "inputs", name), text, _type_hint(given, spec))
            elif tensor in graph.inputs:
                sources[tensor] = (origin, _narrowed(given, spec))


def misfit(given: Tensor, taken: Tensor) -> str | None:
    """Why what is given is not what is taken; None where it may be. A dynamic length fits any."""
    if given.dtype != taken.dtype:
        return "another type"
    if len(given.dims) != len(taken.dims):
        return f"{len(given.dims)} {_axes(len(given.dims))}, where {len(taken.dims)} are expected"
    pairs = zip(given.dims, taken.dims, strict=True)
    if any(a != b and DYNAMIC not in (a, b) for a, b in pairs):
        return "another length"
    return None


def _axes(count: int) -> str:
    return "axis" if count == 1 else "axes"


def _type_hint(given: Tensor, taken: Tensor) -> str | None:
    floats = ("float16", "float32", "float64")
    if given.dtype != taken.dtype and given.dtype in floats and taken.dtype in floats:
        return f"convert one of them with the other's type, such as onnx: {{dtype: {given.dtype}}}"
    return None


def _narrowed(first: Tensor, second: Tensor) -> Tensor:
    dims = (b if a == DYNAMIC else a for a, b in zip(first.dims, second.dims, strict=True))
    return Tensor(first.dtype, tuple(dims))


def _batches(graph: Graph, models: Mapping[str, Interface], wanted: int | None) -> Iterator[Flaw]:
    sizes = {step.model: size for step in graph.steps if (size := models[step.model].max_batch_size) is not None}
    if not sizes:
        return
    none = [model for model, size in sizes.items() if size == 0]
    if none and len(none) < len(sizes):
        index = next(index for index, step in enumerate(graph.steps) if step.model == none[0])
        others = ", ".join(f"'{model}' up to {size}" for model, size in sizes.items() if size)
        text = f"'{none[0]}' does not batch (max_batch_size 0), others do ({others}): all models of an ensemble or none"
        hint = "publish the others with max_batch_size: 0, or make it a model that batches"
        yield Flaw(("steps", index, "model"), text, hint)
        return
    model, least = min(sizes.items(), key=lambda item: item[1])
    if wanted is not None and wanted > least:
        text = f"the ensemble is to take up to {wanted} rows, its model '{model}' takes {least or 'no batches'}"
        yield Flaw((), text, f"max_batch_size: {least}, or more for the model")
    elif wanted == 0 and least:
        text = f"the ensemble is not to batch (max_batch_size 0), its models do ('{model}' up to {least})"
        yield Flaw((), text, "publish the models with max_batch_size: 0 too")
