"""Ensembles in a Triton repository: what their models take and give by their configurations, and what breaks them.

A step of an ensemble takes the newest version of its model (`model_version: -1`), so that a model can be swapped by
itself: a number would make the ensemble fail to load as soon as that version is no longer served, and a swap of the
model would never reach the ensemble's clients. What keeps that safe is checked here: a configuration that an ensemble
in the repository could not go on with is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.ensembles.edges import DYNAMIC, Interface, Tensor, flaws_along, misfit
from mlconvert.ensembles.graph import Graph, Step, flaws
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import backend_for
from mlconvert.repositories.triton.description import section_options
from mlconvert.signature import Signature

PLATFORM = "ensemble"
NEWEST = -1

_DTYPES = {triton: dtype for dtype, triton in cfg.TYPES.items()}


def interface_of(config: Any) -> Interface:
    """What a configured model takes and gives, as clients see it: before any reshape."""
    return Interface(_tensors(config.input), _tensors(config.output), config.max_batch_size)


def _tensors(configured: Iterable[Any]) -> dict[str, Tensor]:
    found = {}
    for tensor in configured:
        name = tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[tensor.data_type].name
        found[tensor.name] = Tensor(_DTYPES.get(name, name), tuple(tensor.dims))
    return found


def graph_of(config: Any) -> Graph:
    """The graph of a configured ensemble."""
    steps = (
        Step(step.model_name, dict(step.input_map), dict(step.output_map)) for step in config.ensemble_scheduling.step
    )
    return Graph(
        tuple(tensor.name for tensor in config.input), tuple(tensor.name for tensor in config.output), tuple(steps)
    )


def is_ensemble(config: Any) -> bool:
    return bool(config.platform == PLATFORM or config.HasField("ensemble_scheduling"))


def served_names(signature: Signature, interface: Interface) -> dict[str, str]:
    """The names of an artifact's tensors -> those that it is served under.

    A backend with names of its own has them in the artifact's order. Raises UsageError where it serves others.
    """
    names: dict[str, str] = {}
    for side, specs, served in (
        ("inputs", signature.inputs, interface.inputs),
        ("outputs", signature.outputs, interface.outputs),
    ):
        own = [spec.name for spec in specs]
        if len(own) != len(served) and not set(served) <= set(own):
            what = f"the model has the {side} {', '.join(own)}, and is served with {', '.join(served)}"
            raise UsageError(
                what, hint="serve it by another backend in an ensemble, such as onnxruntime: steps: [onnx]"
            )
        same = set(served) <= set(own)
        names |= {name: name for name in served} if same else dict(zip(own, served, strict=True))
    return names


def planned_interface(artifact: Artifact, repository: Path, name: str, options: Mapping[str, Any]) -> Interface:
    """What a model will take and give once it is published there, by the artifact's own names.

    The configuration that is there stays, unless options ask for another one. Raises what publishing would.
    """
    backend = backend_for(artifact.format).load()
    signature: Signature = backend.signature_of(artifact)
    path = repository / name / cfg.CONFIG
    if path.is_file() and not options:
        config = cfg.read(path)
    else:
        known = section_options(backend.SECTIONS)
        # The others do not change what the model takes and gives, and may need what is there only when it is published.
        chosen = {key: value for key, value in options.items() if key == "max_batch_size" and key in known}
        config = backend.describe(signature, name, artifact=artifact, repository=repository, **chosen).config
    interface = interface_of(config)
    back = {served: own for own, served in served_names(artifact.signature or signature, interface).items()}
    return Interface(
        {back[served]: tensor for served, tensor in interface.inputs.items()},
        {back[served]: tensor for served, tensor in interface.outputs.items()},
        interface.max_batch_size,
    )


def member_interfaces(repository: Path, names: Iterable[str]) -> dict[str, Interface]:
    """What the models of an ensemble take and give, by their configurations in the repository.

    Raises RepositoryInvalid for one that is not there.
    """
    found = {}
    for name in dict.fromkeys(names):
        path = repository / name / cfg.CONFIG
        if not path.is_file():
            what = f"the ensemble's model '{name}' is not in the repository, or has no configuration"
            raise RepositoryInvalid(what, where=str(path), hint=f"publish it first, as --name {name}")
        found[name] = interface_of(cfg.read(path))
    return found


def ensemble_flaws(repository: Path, config: Any) -> list[str]:
    """What is wrong with a configured ensemble, by the configurations of its models in the repository, in sentences.

    Raises RepositoryInvalid for a model that is not there or whose configuration cannot be read.
    """
    graph = graph_of(config)
    return _sentences(config, graph, member_interfaces(repository, [step.model for step in graph.steps]))


def _sentences(config: Any, graph: Graph, models: Mapping[str, Interface]) -> list[str]:
    """As the server checks it: by full shapes, so that a model that does not batch may stand beside one that does."""
    found = flaws(graph, tuple(dict.fromkeys(step.model for step in graph.steps)))
    if found:
        return [flaw.text for flaw in found]
    whole = _full(interface_of(config))
    full = {name: _full(model) for name, model in models.items()}
    return [
        *(flaw.text for flaw in flaws_along(graph, full)),
        *_outside_flaws(whole, graph, full),
        *_too_large(config.max_batch_size, models),
    ]


def _full(interface: Interface) -> Interface:
    """With the axis of rows among the dims."""
    rows = (DYNAMIC,) if interface.max_batch_size else ()
    inputs, outputs = (
        {name: Tensor(tensor.dtype, (*rows, *tensor.dims)) for name, tensor in side.items()}
        for side in (interface.inputs, interface.outputs)
    )
    return Interface(inputs, outputs)


def _outside_flaws(whole: Interface, graph: Graph, models: Mapping[str, Interface]) -> list[str]:
    """Where what the ensemble says of its inputs and outputs is not what its models say."""
    found = []
    for step in graph.steps:
        model = models[step.model]
        for edges, own, outside in (
            (step.inputs, model.inputs, whole.inputs),
            (step.outputs, model.outputs, whole.outputs),
        ):
            for name, tensor in edges.items():
                if tensor in outside and name in own and misfit(outside[tensor], own[name]):
                    text = f"the ensemble has '{tensor}' as {outside[tensor]}, its model '{step.model}' {own[name]}"
                    found.append(text)
    return found


def _too_large(rows: int, models: Mapping[str, Interface]) -> list[str]:
    return [
        f"the ensemble takes up to {rows} rows, its model '{name}' {model.max_batch_size}"
        for name, model in models.items()
        if model.max_batch_size and rows > model.max_batch_size
    ]


def ensembles_broken_by(repository: Path, name: str, config: Any) -> tuple[str, ...]:
    """Why the ensembles of a repository could not go on with this configuration of the model `name`: a sentence each.

    Empty where all of them could; what was wrong with one before is not told.
    """
    broken = []
    for path in sorted(repository.glob(f"*/{cfg.CONFIG}")):
        if path.parent.name == name:
            continue
        try:
            ensemble = cfg.read(path)
            if not is_ensemble(ensemble):
                continue
            graph = graph_of(ensemble)
            names = [step.model for step in graph.steps]
            if name not in names:
                continue
            others = member_interfaces(repository, [each for each in names if each != name])
        except RepositoryInvalid:
            continue  # it is broken already: lint tells of it
        found = _sentences(ensemble, graph, {**others, name: interface_of(config)})
        if found:
            broken.append(f"the ensemble '{path.parent.name}' could not go on: {'; '.join(found)}")
    return tuple(broken)
