"""An ensemble, planned: each of its models like a target, and what is made of them together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert import packages
from mlconvert.artifact import Artifact
from mlconvert.ensembles.chain import FORMAT
from mlconvert.ensembles.graph import Graph
from mlconvert.errors import UsageError, suggest
from mlconvert.execution import outputs
from mlconvert.execution.planned_targets import PlannedTarget, plan_target, planned_source, written
from mlconvert.execution.verification import tolerances_for
from mlconvert.formats import format_named
from mlconvert.recipe import ENSEMBLE, EnsembleSpec, ParitySpec, PublishSpec, Recipe
from mlconvert.report.contents import shown


@dataclass(frozen=True)
class PlannedMember:
    """A model of an ensemble. `source` is None for a part that the run makes of the pipeline.

    `chosen`: the run is to give it; another is there only for what it gives to those that are.
    """

    target: PlannedTarget
    source: Artifact | None
    chosen: bool

    @property
    def name(self) -> str:
        return self.target.spec.name


@dataclass(frozen=True)
class PlannedEnsemble:
    """`graph` is None for a pipeline that is split. `whole`: not only some of the models are asked for."""

    members: tuple[PlannedMember, ...]
    graph: Graph | None
    split: str | None
    parity: ParitySpec
    publish: PublishSpec | None
    destination: outputs.Destination
    whole: bool

    name: str = ENSEMBLE
    format: str = FORMAT

    def named(self, name: str) -> PlannedMember:
        return next(member for member in self.members if member.name == name)


def plan_ensemble(
    recipe: Recipe,
    spec: EnsembleSpec,
    whole: Artifact | None,
    base: Path,
    names: tuple[str, ...],
    *,
    elsewhere: bool = False,
) -> PlannedEnsemble:
    """Plan the models as targets in folders of their own, and the ensemble in one beside them.

    `whole` is the pipeline that is split, `names` picks some of the models, or the ensemble and with it all of them.
    Raises UsageError and MissingPackage.
    """
    known = [*(member.target.name for member in spec.members), ENSEMBLE]
    for name in names:
        if name not in known:
            raise UsageError(
                f"the recipe has no model '{name}'.{suggest(name, known)}", hint=f"it has: {', '.join(known)}"
            )
    everything = not names or ENSEMBLE in names
    if spec.split is not None:
        assert whole is not None
        if whole.format != "sklearn":
            with written(recipe, ENSEMBLE, "split"):
                what = f"{shown(whole.location)} is {format_named(whole.format).title}: only a pipeline can be split"
                raise UsageError(what, hint="convert it as one model, with `targets`")
        if not elsewhere:
            packages.require((packages.SKOPS,), "splitting a pipeline")
    members = []
    for member in spec.members:
        source = None
        if member.model is not None:
            with written(recipe, *member.keys):
                source = planned_source(member.model)
        start = source or whole
        assert start is not None
        target = plan_target(recipe, member.target, start, base / member.target.name, member.keys, elsewhere=elsewhere)
        members.append(PlannedMember(target, source, everything or member.target.name in names))
    with written(recipe, ENSEMBLE, "parity"):
        tolerances_for(spec.parity, "float32")  # raises for values that are no tolerances
    destination = outputs.Destination.of(base / ENSEMBLE, format_named(FORMAT))
    if everything:
        outputs.check(destination)
    return PlannedEnsemble(
        tuple(members), spec.graph, spec.split, spec.parity, spec.publish, destination, whole=everything
    )


def ensemble_as_json(ensemble: PlannedEnsemble) -> dict[str, Any]:
    """What `--dry-run` shows of an ensemble: its inputs, its outputs and every edge between."""
    graph = ensemble.graph
    edges = []
    if graph is not None:
        ends = {name: ("", name) for name in graph.inputs}
        ends |= {tensor: (step.model, name) for step in graph.steps for name, tensor in step.outputs.items()}
        for step in graph.steps:
            for name, tensor in step.inputs.items():
                edges.append({"tensor": tensor, "from": _end(*ends[tensor]), "to": _end(step.model, name)})
        edges += [{"tensor": name, "from": _end(*ends[name]), "to": name} for name in graph.outputs]
    publish = ensemble.publish
    return {
        "split": ensemble.split,
        "edges": edges,
        "verify": ensemble.parity.verify,
        "path": shown(ensemble.destination.main),
        "publish": f"{publish.to}: {publish.name}" if publish else None,
    }


def _end(model: str, name: str) -> str:
    return f"{model}.{name}" if model else name
