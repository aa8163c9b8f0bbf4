"""Ensembles: no backend, but what the server's own scheduler does with a configuration that names other models.

A version folder holds `ensemble.json` and the record, which the server ignores: all that it reads is the configuration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from mlconvert.artifact import Artifact
from mlconvert.ensembles.chain import FILENAME, Chain, chain_of, read
from mlconvert.ensembles.edges import Interface, flaws_along, interface_of
from mlconvert.ensembles.graph import Graph, Step, order
from mlconvert.errors import MlconvertError, RepositoryInvalid
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import ensembles
from mlconvert.repositories.triton.config import TYPES, Contradiction
from mlconvert.repositories.triton.description import Abilities, Draft, Section, describer
from mlconvert.repositories.triton.sections.policies import policies
from mlconvert.serving.described import SCALARS
from mlconvert.signature import Signature, TensorSpec

ABILITIES = Abilities(backend="", platform=ensembles.PLATFORM, dtypes=frozenset(TYPES))

Edge = tuple[str, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class EnsembleSignature(Signature):
    """With the steps: all versions of an ensemble share its configuration, so they have to have the same ones."""

    steps: tuple[Edge, ...] = ()


def scheduling(
    draft: Draft,
    *,
    max_batch_size: Annotated[
        int | None, "most rows in one batch; at most what each model takes (default: as many as all of them take)"
    ] = None,
) -> None:
    """The steps, with the inputs and outputs as the configurations of the models in the repository have them."""
    if draft.artifact is None or draft.repository is None:
        raise MlconvertError("an ensemble is described by its artifact and the repository of its models")
    chain = chain_of(draft.artifact)
    published = {name: model.published for name, model in chain.models.items()}
    interfaces = ensembles.member_interfaces(draft.repository, published.values())
    graph = _as_served(chain, interfaces)
    found = flaws_along(graph, interfaces, max_batch_size)
    if found:
        what = "; ".join(flaw.text for flaw in found)
        raise RepositoryInvalid(f"the ensemble '{draft.name}' does not fit its models in the repository: {what}",
                                where=str(draft.repository), hint=found[0].hint)  # fmt: skip
    whole = interface_of(graph, interfaces, max_batch_size)
    draft.config.max_batch_size = whole.max_batch_size or 0
    for tensors, configured in ((whole.inputs, draft.config.input), (whole.outputs, draft.config.output)):
        for name, tensor in tensors.items():
            configured.add(name=name, data_type=cfg.data_type_number(tensor.dtype), dims=tensor.dims)
    for step in graph.steps:
        draft.config.ensemble_scheduling.step.add(
            model_name=step.model, model_version=ensembles.NEWEST, input_map=step.inputs, output_map=step.outputs
        )
    _tell_scalars(draft)
    draft.comments.append("Its steps take the newest version of each model, whichever that is.")


def _tell_scalars(draft: Draft) -> None:
    """Which tensors are one number a row: to the server's clients they are columns, and no reshape may say so here."""
    config = draft.config
    if config.max_batch_size == 0:
        return
    for side, specs, configured in (
        ("input", draft.signature.inputs, config.input),
        ("output", draft.signature.outputs, config.output),
    ):
        columns = {tensor.name for tensor in configured if list(tensor.dims) == [1]}
        names = [spec.name for spec in specs if len(spec.shape) == 1 and spec.name in columns]
        if names:
            config.parameters[SCALARS[side]].string_value = json.dumps(names)


def _as_served(chain: Chain, interfaces: Mapping[str, Interface]) -> Graph:
    """The graph with the models and their tensors under the names that they are served under."""
    steps = []
    for step in (chain.graph.steps[index] for index in order(chain.graph)):
        model = chain.models[step.model]
        signature = model.artifact.signature
        names = ensembles.served_names(signature, interfaces[model.published]) if signature else {}
        inputs = {names.get(name, name): tensor for name, tensor in step.inputs.items()}
        outputs = {names.get(name, name): tensor for name, tensor in step.outputs.items()}
        steps.append(Step(model.published, inputs, outputs))
    return replace(chain.graph, steps=tuple(steps))


SECTIONS: tuple[Section, ...] = (scheduling, policies)
describe = describer(ABILITIES, SECTIONS)


def placed_files(artifact: Artifact) -> dict[str, Path]:
    return {FILENAME: artifact.path}


def signature_of(artifact: Artifact) -> Signature:
    return _signature(chain_of(artifact), artifact.path)


def published_signature(version_folder: Path, config: Any | None = None) -> Signature | None:  # noqa: ARG001
    """What the ensemble of a version takes and gives, with its steps; None where it is not one of ours."""
    path = version_folder / FILENAME
    return _signature(read(path), path) if path.is_file() else None


def _signature(chain: Chain, path: Path) -> EnsembleSignature:
    if chain.signature is None:
        raise RepositoryInvalid("the ensemble does not say what it takes and gives", where=str(path))
    steps = (
        _edge(chain.models[step.model].published, step.inputs.values(), step.outputs.values())
        for step in chain.graph.steps
    )
    return EnsembleSignature(chain.signature.inputs, chain.signature.outputs, tuple(sorted(steps)))


def _edge(model: str, inputs: Any, outputs: Any) -> Edge:
    return model, tuple(sorted(inputs)), tuple(sorted(outputs))


def misfits(config: Any, signature: Signature, name: str) -> list[Contradiction]:
    """Where a configuration is not that of the ensemble: its inputs, outputs and steps."""
    found = []
    if config.name and config.name != name:
        found.append(Contradiction("name", f"'{config.name}'", f"'{name}'"))
    if not ensembles.is_ensemble(config):
        found.append(Contradiction("platform", f"'{config.platform or config.backend}'", f"'{ensembles.PLATFORM}'"))
        return found
    own = ensembles.interface_of(config)
    for side, specs, configured in (
        ("input", signature.inputs, own.inputs),
        ("output", signature.outputs, own.outputs),
    ):
        if set(configured) != {spec.name for spec in specs}:
            names = ", ".join(sorted(spec.name for spec in specs))
            found.append(Contradiction(side, ", ".join(sorted(configured)) or "none", names))
            continue
        for spec in specs:
            tensor, dims = configured[spec.name], _dims(spec, batches=config.max_batch_size > 0)
            if tensor.dtype != spec.dtype:
                found.append(Contradiction(f"{side} '{spec.name}' data_type", tensor.dtype, spec.dtype))
            fits = len(dims) == len(tensor.dims) and all(
                a == b or -1 in (a, b) for a, b in zip(tensor.dims, dims, strict=True)
            )
            if not fits:
                found.append(Contradiction(f"{side} '{spec.name}' dims", str(list(tensor.dims)), str(dims)))
    if isinstance(signature, EnsembleSignature):
        there = sorted(
            _edge(step.model_name, step.input_map.values(), step.output_map.values())
            for step in config.ensemble_scheduling.step
        )
        if tuple(there) != signature.steps:
            found.append(Contradiction("ensemble_scheduling", _told(there), _told(signature.steps)))
    return found


def _dims(spec: TensorSpec, *, batches: bool) -> list[int]:
    return (cfg.shape_of(spec)[1:] if batches else cfg.shape_of(spec)) or [1]


def _told(steps: Any) -> str:
    return " ".join(f"{model}({', '.join(inputs)} -> {', '.join(outputs)})" for model, inputs, outputs in steps)
