"""The sources of an ensemble: of each model, of the whole as a chain, and the samples that reach each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.ensembles.chain import Chain, Model
from mlconvert.ensembles.graph import Graph, before
from mlconvert.errors import UsageError
from mlconvert.execution import cache
from mlconvert.execution.cached_jobs import CachedJobs, Made, code_versions
from mlconvert.execution.planned import PlannedRun
from mlconvert.execution.planned_ensembles import PlannedEnsemble, PlannedMember
from mlconvert.execution.planned_targets import place_in
from mlconvert.execution.targets import step_entry
from mlconvert.execution.verification import Base, Reference, make_answers, make_samples
from mlconvert.formats import source_sha256
from mlconvert.recipe import ENSEMBLE, PARTS
from mlconvert.registry import registry
from mlconvert.report.contents import source_of


@dataclass(frozen=True)
class Origin:
    """Where a model comes from: its source, what its record says of that, and the steps that led to it."""

    source: Artifact
    sha256: str
    told: Mapping[str, Any]
    steps: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Started:
    """A run of an ensemble with what all its models need."""

    run: CachedJobs
    planned: PlannedRun
    ensemble: PlannedEnsemble
    origins: Mapping[str, Origin]
    source: Artifact  # of the whole: the chain of the sources, or the pipeline
    sha256: str
    between: str = ""  # of a split pipeline: the output of the first part

    def samples(self) -> Made:
        """Those of the ensemble's inputs."""
        return make_samples(self.run, self.ensemble.name, self.source, self.sha256, self.planned.recipe.samples)


def sources_of(planned: PlannedRun, ensemble: PlannedEnsemble) -> tuple[Artifact, str, dict[str, Origin]]:
    """The source of the whole with its digest, and the origins of the models, where the run has not to make them."""
    if ensemble.graph is None:
        assert planned.source is not None
        return planned.source, source_sha256(planned.source), {}
    origins = {}
    for member in ensemble.members:
        assert member.source is not None
        digest = source_sha256(member.source)
        origins[member.name] = Origin(member.source, digest, source_of(member.source, digest))
    chain = _source_chain(ensemble.graph, origins)
    return chain.artifact(str(planned.recipe.file or planned.recipe.name)), digest_of(chain), origins


def split_pipeline(started: Started) -> Started:
    """Make the two parts of the pipeline. They are taken to be what the pipeline's file and the step's name say."""
    run, ensemble, pipeline, digest = started.run, started.ensemble, started.source, started.sha256
    key = {
        "job": "split",
        "source": digest,
        "trusted": pipeline.trusted,
        "before": ensemble.split,
        "versions": code_versions(registry().runner(pipeline.format)),
    }
    request = {"job": "split", "source": pipeline.as_json(), "before": ensemble.split, "parts": list(PARTS)}
    made = run.get(ensemble.name, "split", key, lambda: request)
    origins = {}
    for part, place in made.result["parts"].items():
        path = made.folder / place
        # Trusted as the pipeline is: its parts hold nothing that it does not.
        source = Artifact(pipeline.format, str(path), (path,), trusted=pipeline.trusted)
        own = cache.content_key({"pipeline": digest, "before": ensemble.split, "part": part})
        row = step_entry(f"{pipeline.format}:split", {"before": ensemble.split, "part": part}, made)
        origins[part] = Origin(source, own, source_of(pipeline, digest), (row,))
    return replace(started, origins=origins, between=made.result["between"])


def _source_chain(graph: Graph, origins: Mapping[str, Origin]) -> Chain:
    used = {step.model for step in graph.steps}
    models = {name: Model(row.source, row.sha256, name) for name, row in origins.items() if name in used}
    return Chain(graph, models)


def digest_of(chain: Chain) -> str:
    """Of all that the answers of a chain depend on: its graph, its models and the libraries that run them."""
    data = chain.as_json()
    del data["models"]
    models = {
        name: {
            "sha256": model.sha256,
            "format": model.artifact.format,
            "renamed": dict(model.artifact.renamed),
            "versions": code_versions(registry().runner(model.artifact.format)),
        }
        for name, model in chain.models.items()
    }
    return cache.content_key({**data, "models": models})


def samples_of(started: Started, member: PlannedMember) -> Made:
    """The samples of one model: of the ensemble's inputs, and of what the sources before it make of them.

    Rows at the thresholds of its trees are added to them, as for any model.
    """
    run, name, graph = started.run, member.name, started.ensemble.graph
    samples = started.samples()
    base = Base((samples,), None)
    if graph is None and name != PARTS[0]:
        first = started.origins[PARTS[0]]
        answers = make_answers(run, name, Reference(first.source, first.sha256, samples), {})
        base = Base((answers,), {"input": started.between})
    elif graph is not None:
        index = next(index for index, step in enumerate(graph.steps) if step.model == name)
        earlier = before(graph, index)
        made = [samples]
        if earlier.steps:
            chain = _source_chain(earlier, started.origins)
            made.append(make_answers(run, name, Reference(chain.artifact(), digest_of(chain), samples), {}))
        base = Base(tuple(made), graph.steps[index].inputs)
    origin = started.origins[name]
    spec = replace(started.planned.recipe.samples, file=None, kind="random")
    try:
        return make_samples(run, name, origin.source, origin.sha256, spec, base)
    except UsageError as error:
        if graph is None:
            raise
        index = next(index for index, step in enumerate(graph.steps) if step.model == name)
        edges = ", ".join(f"'{tensor}' -> {name}.{own}" for own, tensor in graph.steps[index].inputs.items())
        place = place_in(started.planned.recipe, ENSEMBLE, "steps", index, "inputs")
        what = f"what comes along the edges ({edges}) does not fit the source of '{name}': {error.message}"
        raise UsageError(what, where=place() if place else error.where) from error
