"""The edges of an ensemble, checked when all its models are made and nothing has been placed or published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converter import check_options
from mlconvert.ensembles.edges import Interface, Tensor, flaws_along
from mlconvert.ensembles.graph import Flaw, Graph
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.recipe import ENSEMBLE, Recipe, locate
from mlconvert.recipe.ensembles import keys_of
from mlconvert.repositories import repository_named
from mlconvert.repositories.remote import located
from mlconvert.signature import Axis, TensorSpec

if TYPE_CHECKING:
    from mlconvert.execution.planned import PlannedRun
    from mlconvert.execution.planned_ensembles import PlannedEnsemble


def check_edges(
    planned: PlannedRun, ensemble: PlannedEnsemble, graph: Graph, artifacts: Mapping[str, Artifact]
) -> None:
    """Raise UsageError that names every edge that does not fit, with the recipe's line; return where all do.

    Where the ensemble is to be published, its models are taken as they will be configured in the repository, batch
    sizes included; else as their files are.
    """
    publish = ensemble.publish
    if publish is None:
        models = {name: _interface(artifact) for name, artifact in artifacts.items()}
        wanted = None
    else:
        row = repository_named(publish.to)
        repository = located(str(planned.repository_of(publish)))
        assert isinstance(repository, Path)  # as planned
        layout = row.load()
        models = {}
        for name, artifact in artifacts.items():
            own = ensemble.named(name).target.spec.publish
            assert own is not None
            options = check_options("publish", layout.options(artifact.format), own.options)
            models[name] = layout.planned_interface(artifact, repository, own.name, options)
        options = check_options("publish", layout.options(ensemble.format), publish.options)
        wanted = options.get("max_batch_size")
    models = {name: _by_source(interface, artifacts[name]) for name, interface in models.items()}
    _raise(planned.recipe, flaws_along(graph, models, wanted))


def _interface(artifact: Artifact) -> Interface:
    if artifact.signature is None:
        what = f"a model of the format {artifact.format} does not say what it takes and gives"
        raise ConversionFailed(what, where=artifact.location, hint="convert it to onnx")
    return Interface(_tensors(artifact.signature.inputs), _tensors(artifact.signature.outputs))


def _tensors(specs: tuple[TensorSpec, ...]) -> dict[str, Tensor]:
    """With one number a row as the column that it is along an edge, and to a server's clients."""
    column = {1: (1,)}
    return {
        spec.name: Tensor(spec.dtype, (*map(_length, spec.shape), *column.get(len(spec.shape), ()))) for spec in specs
    }


def _length(axis: Axis) -> int:
    return axis if isinstance(axis, int) else -1


def _by_source(interface: Interface, artifact: Artifact) -> Interface:
    """By the names of the source's tensors, as recipes have them."""
    back = {new: old for old, new in artifact.renamed.items()}
    return Interface(
        {back.get(name, name): tensor for name, tensor in interface.inputs.items()},
        {back.get(name, name): tensor for name, tensor in interface.outputs.items()},
        interface.max_batch_size,
    )


def _raise(recipe: Recipe, found: list[Flaw]) -> None:
    if not found:
        return
    file = recipe.file
    places = [locate(file, keys_of(flaw)) if file else ENSEMBLE for flaw in found]
    hint = "; ".join(dict.fromkeys(flaw.hint for flaw in found if flaw.hint)) or None
    if len(found) == 1:
        raise UsageError(found[0].text, where=places[0], hint=hint)
    lines = [f"{place}: {flaw.text}" for place, flaw in zip(places, found, strict=True)]
    raise UsageError(
        f"{len(found)} edges of the ensemble do not fit\n" + "\n".join(lines), where=str(file or recipe.name), hint=hint
    )
