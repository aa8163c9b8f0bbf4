"""Runs ensembles: each model by the runner of its own format, one after the other as the edges say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.ensembles.chain import FORMAT, Chain, chain_of, place_of
from mlconvert.ensembles.graph import Graph, order
from mlconvert.ensembles.values import shaped
from mlconvert.errors import ConversionFailed, RepositoryInvalid
from mlconvert.formats import source_artifact, source_sha256
from mlconvert.registry import registry
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np


def signature(artifact: Artifact) -> Signature | None:
    """What the ensemble takes and gives; None where one of the models that tell does not know."""
    chain = _located(artifact)
    if chain.signature is not None:
        return chain.signature
    models = {name: model.artifact for name, model in chain.models.items()}
    known = {
        name: model.signature or registry().runner(model.format).signature(model) for name, model in models.items()
    }
    return signature_along(chain.graph, known)


def load(artifact: Artifact) -> Session:
    """All models of the ensemble, loaded, and one function that runs them.

    Raises what the models' own runners raise, and RepositoryInvalid for a model that is missing or not the one that
    the ensemble was made of.
    """
    chain = _located(artifact)
    sessions: dict[str, Session] = {}
    for name, model in chain.models.items():
        runner = registry().runner(model.artifact.format)
        runner.require(f"for the model '{name}'")
        sessions[name] = runner.load(model.artifact)
    steps = [chain.graph.steps[index] for index in order(chain.graph)]

    def run(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = dict(batch)
        for step in steps:
            session = sessions[step.model]
            given = {name: tensors[tensor] for name, tensor in step.inputs.items()}
            answers = session.run(_as_taken(given, session.signature))
            for name, tensor in step.outputs.items():
                if name not in answers:
                    what = f"the model '{step.model}' gives no output '{name}'"
                    raise ConversionFailed(what, hint=f"its outputs: {', '.join(answers)}")
                tensors[tensor] = answers[name]
        return {name: tensors[name] for name in chain.graph.outputs}

    known = {name: session.signature for name, session in sessions.items()}
    return Session(chain.signature or signature_along(chain.graph, known), run)


def check_models(artifact: Artifact) -> None:
    """Raise RepositoryInvalid unless the models of an ensemble are those that it was made of; other artifacts pass.

    What is known of an ensemble is known by the digest of its file, which has those of its models.
    """
    if artifact.format == FORMAT:
        _located(artifact)


def boundary_samples(
    artifact: Artifact, samples: Mapping[str, np.ndarray], *, count: int, seed: int
) -> dict[str, np.ndarray] | None:
    """Rows at the thresholds of the models that take nothing but the ensemble's inputs; None where none has trees.

    Inputs that such a model does not take are filled with those of the samples, from the first row on again and again.
    """
    import numpy as np

    chain = _located(artifact)
    first = [step for step in chain.graph.steps if set(step.inputs.values()) <= set(chain.graph.inputs)]
    found: list[dict[str, np.ndarray]] = []
    for step in first:
        model = chain.models[step.model].artifact
        given = {name: samples[tensor] for name, tensor in step.inputs.items() if tensor in samples}
        if samples and len(given) < len(step.inputs):
            continue
        rows = registry().runner(model.format).boundary_samples(model, given, count=count // len(first), seed=seed)
        if rows is None or set(rows) != set(step.inputs):
            continue
        length = len(next(iter(rows.values())))
        made = {tensor: rows[name] for name, tensor in step.inputs.items()}
        others = [name for name in chain.graph.inputs if name not in made]
        if others and not samples:
            continue
        found.append(made | {name: np.resize(samples[name], (length, *samples[name].shape[1:])) for name in others})
    if not found:
        return None
    return {name: np.concatenate([rows[name] for rows in found]) for name in chain.graph.inputs}


def signature_along(graph: Graph, models: Mapping[str, Signature | None]) -> Signature | None:
    """What a graph takes and gives, by the first that takes an input and by what gives an output; None: not known."""
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for step in graph.steps:
        model = models[step.model]
        for side, edges, known in (("inputs", step.inputs, inputs), ("outputs", step.outputs, outputs)):
            specs = {spec.name: spec for spec in getattr(model, side)} if model is not None else {}
            for name, tensor in edges.items():
                if name in specs:
                    known.setdefault(tensor, replace(specs[name], name=tensor))
    if not known_all(graph, inputs, outputs):
        return None
    return Signature(
        tuple(inputs[name] for name in graph.inputs), tuple((inputs | outputs)[name] for name in graph.outputs)
    )


def known_all(graph: Graph, inputs: Mapping[str, TensorSpec], outputs: Mapping[str, TensorSpec]) -> bool:
    return all(name in inputs for name in graph.inputs) and all(name in {**inputs, **outputs} for name in graph.outputs)


def _as_taken(given: Mapping[str, np.ndarray], signature: Signature | None) -> dict[str, np.ndarray]:
    from mlconvert.inference import cast_to_contract

    return cast_to_contract(shaped(given, signature), signature)


def _located(artifact: Artifact) -> Chain:
    """The chain with its models where they lie, and, of a file's, with the digests that the file says."""
    chain = chain_of(artifact)
    if FORMAT in artifact.facts:
        return chain
    models = {}
    for name, model in chain.models.items():
        place = place_of(model, artifact.path)
        if not place.exists():
            what = f"the model '{name}' of the ensemble is not there"
            raise RepositoryInvalid(what, where=str(place), hint="keep an ensemble's folder beside those of its models")
        found = source_artifact(
            str(place), format=model.artifact.format, trusted=artifact.trusted, formats=registry().formats
        )
        if source_sha256(found) != model.sha256:
            what = f"the model '{name}' is not the one that the ensemble was made and verified with (sha256 differs)"
            raise RepositoryInvalid(what, where=found.location, hint="run the recipe again")
        own = model.artifact
        placed = replace(found, signature=own.signature, renamed=own.renamed)
        models[name] = replace(model, artifact=placed)
    return replace(chain, models=models)
