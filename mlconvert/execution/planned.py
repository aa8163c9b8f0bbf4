"""A run, planned whole: the source recognised, every target's route, outputs and tolerances checked; nothing done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert import packages
from mlconvert.artifact import Artifact
from mlconvert.converter import check_options, options_of
from mlconvert.errors import UsageError
from mlconvert.execution import outputs
from mlconvert.execution.planned_ensembles import PlannedEnsemble, ensemble_as_json, plan_ensemble
from mlconvert.execution.planned_targets import PlannedTarget, plan_target, planned_source, written
from mlconvert.execution.verification import require_samples
from mlconvert.operations.signing import Signer
from mlconvert.recipe import PublishSpec, Recipe
from mlconvert.report.contents import shown
from mlconvert.repositories import Repository, check_store, repository_named
from mlconvert.repositories.remote import located


@dataclass(frozen=True)
class Publication:
    """What is to be published of a run, and as what."""

    target: str
    format: str
    destination: outputs.Destination
    spec: PublishSpec


@dataclass(frozen=True)
class PlannedRun:
    """`source` is None for an ensemble of models that each have a source of their own."""

    recipe: Recipe
    source: Artifact | None
    targets: tuple[PlannedTarget, ...]
    out: Path  # what is claimed while the run works
    single: bool  # whether that is the output of the only target, or holds the outputs of all
    ensemble: PlannedEnsemble | None = None

    @property
    def names(self) -> list[str]:
        """Of the results, in the report's order."""
        whole = [self.ensemble.name] if self.ensemble and self.ensemble.whole else []
        return [*(target.spec.name for target in self.targets), *whole]

    @property
    def destinations(self) -> list[outputs.Destination]:
        whole = [self.ensemble.destination] if self.ensemble and self.ensemble.whole else []
        return [*(target.destination for target in self.targets), *whole]

    @property
    def source_files(self) -> list[Path]:
        sources = [self.source] if self.source else []
        if self.ensemble:
            sources += [member.source for member in self.ensemble.members if member.source]
        return [file for source in sources for file in source.files]

    @property
    def publications(self) -> list[Publication]:
        """What is to be published, in order: an ensemble after its models, and they only with it."""
        return list(self._publications())

    def _publications(self) -> Iterator[Publication]:
        if self.ensemble and not self.ensemble.whole:
            return
        for target in self.targets:
            if target.spec.publish:
                yield Publication(target.spec.name, target.plan.target_format, target.destination, target.spec.publish)
        if self.ensemble and self.ensemble.publish:
            whole = self.ensemble
            assert whole.publish is not None
            yield Publication(whole.name, whole.format, whole.destination, whole.publish)

    def repository_of(self, spec: PublishSpec) -> Path | str:
        return spec.repository or self.out / "repository"


def plan_run(
    recipe: Recipe,
    out: Path | None = None,
    *,
    single: bool = False,
    names: tuple[str, ...] = (),
    elsewhere: bool = False,
) -> PlannedRun:
    """Recognise the source, route every target, check options, packages and samples' file: before anything runs.

    `single`: a one-target recipe whose output is OUT itself; otherwise `<out>/<target>/`, out being
    `build/<recipe>` by default. `names` picks targets. `elsewhere`: the run is made on another machine, so neither what
    is installed here nor the hardware matters.
    """
    source = None
    if recipe.model is not None:
        with written(recipe, "model"):
            source = planned_source(recipe.model)
    with written(recipe, "samples"):
        require_samples(recipe.samples)
    base = (out or Path("build") / recipe.name).absolute()
    if recipe.ensemble is not None:
        ensemble = plan_ensemble(recipe, recipe.ensemble, source, base, names, elsewhere=elsewhere)
        targets = [member.target for member in ensemble.members if member.chosen]
        planned = PlannedRun(recipe, source, tuple(targets), base, single, ensemble)
    else:
        assert source is not None
        _check_names(names, [target.name for target in recipe.targets])
        targets = [
            plan_target(
                recipe,
                spec,
                source,
                base if single else base / spec.name,
                ("targets", spec.name),
                elsewhere=elsewhere,
            )
            for spec in recipe.targets
            if not names or spec.name in names
        ]
        planned = PlannedRun(recipe, source, tuple(targets), base, single)
    _check_publishing(planned, elsewhere=elsewhere)
    return planned


def _check_names(names: tuple[str, ...], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise UsageError(f"the recipe has no target '{name}'", hint=f"its targets: {', '.join(known)}")


def _check_publishing(planned: PlannedRun, *, elsewhere: bool) -> None:
    """Refuse what could never be published, before the work rather than after it."""
    taken: dict[tuple[Path | str, str], str] = {}
    kinds: dict[Path | str, Repository] = {}
    for publication in planned.publications:
        spec, name = publication.spec, publication.target
        row = repository_named(spec.to)
        if publication.format not in row.formats:
            what = f"target '{name}' ends in {publication.format}; {row.title} takes {', '.join(row.formats)}"
            raise UsageError(what, hint=f"end its steps with {row.formats[0]}, or do not publish it")
        if not elsewhere:
            packages.require(row.packages, f"publishing to {row.title}")
        check_options("publish", row.load().options(publication.format), spec.options)
        if spec.sign is not None and not elsewhere:
            Signer(spec.sign)  # raises for a key that could not be used
        repository = planned.repository_of(spec)
        _check_place(planned, repository)
        check_store(row, located(str(repository)))
        first = kinds.setdefault(repository, row)
        if first is not row:
            what = f"{repository} would be a repository of {first.title} and of {row.title}"
            raise UsageError(what, hint="say where each is to be: publish.repository")
        places = {
            each: destination.out
            for each, destination in zip(planned.names, planned.destinations, strict=True)
            if destination.whole
        }
        above = (repository, *repository.parents) if isinstance(repository, Path) else ()
        clash = next((each for each, out in places.items() if out in above), None)
        if clash is not None:
            what = f"target '{clash}' lies where the repository of '{name}' would be: {repository}"
            raise UsageError(what, hint="give the target another name, or say where: publish.repository")
        other = taken.setdefault((repository, spec.name), name)
        if other != name:
            what = f"the targets '{other}' and '{name}' are both published as '{spec.name}' in {repository}"
            raise UsageError(what, hint="give each a name of its own")


def _check_place(planned: PlannedRun, repository: Path | str) -> None:
    """Refuse a repository's URL that is none, and one for an ensemble, which is checked against what lies beside it."""
    if isinstance(repository, str) and not isinstance(located(repository), Path) and planned.ensemble is not None:
        with written(planned.recipe, "ensemble", "publish", "repository"):
            what = f"an ensemble is published into a folder: {repository} is in an object store"
            raise UsageError(what, hint="publish into a folder, and copy that")


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
        member = planned.ensemble.named(target.spec.name) if planned.ensemble else None
        targets.append(
            {
                "name": target.spec.name,
                "steps": steps,
                "verify": target.spec.parity.verify,
                "path": shown(target.destination.main),
                "publish": f"{publish.to}: {publish.name}" if publish else None,
                **({"source": shown(member.source.location)} if member and member.source else {}),
            }
        )
    source = planned.source
    data: dict[str, Any] = {
        "schema": "mlconvert.plan/1",
        "source": {"path": shown(source.location), "format": source.format} if source else _recipe_as_source(planned),
        "targets": targets,
    }
    if planned.ensemble is not None and planned.ensemble.whole:
        data["ensemble"] = ensemble_as_json(planned.ensemble)
    return data


def _recipe_as_source(planned: PlannedRun) -> dict[str, str]:
    assert planned.ensemble is not None
    return {"path": shown(planned.recipe.file or planned.recipe.name), "format": planned.ensemble.format}
