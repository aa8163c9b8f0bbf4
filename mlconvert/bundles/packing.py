"""Making a bundle of a recipe: planned as a run of another machine, its files gathered, written as one archive."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact
from mlconvert.bundles import archive
from mlconvert.bundles.manifest import RECIPE, SCHEMA
from mlconvert.bundles.recipes import (
    MARK,
    Keys,
    models_of,
    needs_trust,
    option_files_of,
    publications_in,
    rewritten,
    targets_of,
)
from mlconvert.converter import Converter, Runner
from mlconvert.errors import UsageError
from mlconvert.execution import outputs
from mlconvert.execution.planned import PlannedRun, plan_run
from mlconvert.execution.planned_targets import planned_source
from mlconvert.execution.versions import versions_for
from mlconvert.recipe import Recipe, load_recipe
from mlconvert.recipe.document import read_document
from mlconvert.registry import registry
from mlconvert.report.contents import shown

REPORT = "report.json"
OWN_NAMES = (archive.MANIFEST, archive.DIGEST, REPORT)  # in what is built, beside the targets


@dataclass(frozen=True)
class Bundle:
    """What was bundled, for a reader. `missing`: packages that the steps need and that are not installed here.

    `needs_trust`: what whoever builds it has to allow.
    """

    path: Path
    sha256: str
    manifest: dict[str, Any]
    hardware: list[str]  # that its targets name
    missing: list[str]
    needs_trust: list[str]

    def as_json(self) -> dict[str, Any]:
        return {
            "path": shown(self.path),
            "sha256": self.sha256,
            "bytes": self.path.stat().st_size,
            "manifest": self.manifest,
            "hardware": self.hardware,
            "missing": self.missing,
            "needs_trust": self.needs_trust,
        }


def bundle(recipe_file: Path, out: Path, names: tuple[str, ...] = ()) -> Bundle:
    """Write the bundle of a recipe (or of some of its targets): for one content always the same bytes.

    Raises what planning the run raises, the packages and GPUs apart that only the building machine needs; UsageError
    for a model that is the user's own code, for links that lead out of a model's folder, and for an output that is
    something else than a bundle.
    """
    recipe = load_recipe(recipe_file)
    check_free(out)
    with outputs.claimed(out) as scratch:
        planned = plan_run(recipe, scratch / "out", names=names, elsewhere=True)
        _check_names(planned)
        document = read_document(recipe_file).value
        models, files = _models(recipe)
        samples = None
        if recipe.samples.file is not None:
            samples = f"samples/{recipe.samples.file.name}"
            files[samples] = recipe.samples.file
        others, more = _option_files(planned)
        files |= more
        files[RECIPE] = scratch / RECIPE
        files[RECIPE].write_text(rewritten(document, planned.names, models, samples, others), encoding="utf-8")
        load_recipe(files[RECIPE])  # a name that no recipe can have is told here, not where it is built
        rows = rows_of(planned)
        versions = versions_for(rows)
        manifest = {
            "schema": SCHEMA,
            "name": recipe.name,
            "targets": planned.names,
            "versions": versions.as_json(),
            "not_published": publications_in(document, planned.names),
        }
        digest = archive.write(scratch / "bundle", manifest, files)
        (scratch / "bundle").replace(out)
    missing = {row.distributions[0] for each in rows for row in each.packages} - set(versions.packages)
    hardware = sorted({target.spec.hardware for target in planned.targets if target.spec.hardware})
    told = {**manifest, "files": sorted(files)}
    return Bundle(out, digest, told, hardware, sorted(missing), needs_trust(planned))


def check_free(out: Path) -> None:
    """Raise UsageError unless an archive may be written there: over nothing that is not one."""
    if out.is_dir():
        raise UsageError(f"{out} is a folder", hint=f"-o {out / 'job.tar'}")
    if out.suffix != ".tar":
        raise UsageError(f"'{out}' is no name for a bundle: it is a tar", hint=f"-o {out.with_suffix('.tar')}")
    if (out.exists() or out.is_symlink()) and not archive.is_archive(out):
        what = f"{out} is there already, and is no bundle: it would be lost"
        raise UsageError(what, hint="choose another -o, or move it away")


def rows_of(planned: PlannedRun) -> list[Converter | Runner]:
    """The converters and runners that a run works with."""
    rows: dict[str, Converter | Runner] = {}
    runners = {row.format: row for row in registry().runners}
    for target in targets_of(planned):
        formats = [target.plan.source_format]
        for step in target.plan.steps:
            rows[step.converter.id] = step.converter
            formats.append(step.converter.target)
        rows |= {f"runner {name}": runners[name] for name in formats if name in runners}
    return list(rows.values())


def _check_names(planned: PlannedRun) -> None:
    taken = next((name for name in planned.names if name in OWN_NAMES), None)
    if taken is not None:
        what = f"a target of a bundle cannot be called '{taken}': a file beside the targets has that name"
        raise UsageError(what, hint="give the target another name")


def _models(recipe: Recipe) -> tuple[dict[Keys, str], dict[str, Path]]:
    """Where the bundle has each model of the recipe, and all their files by their names in the bundle."""
    places: dict[Keys, str] = {}
    files: dict[str, Path] = {}
    for keys, spec in models_of(recipe).items():
        source = planned_source(spec)
        if source.format == "torch":
            raise _own_code(source)
        top = "/".join(("models", *keys[1:]))
        places[keys] = f"{top}/{source.path.name}"
        for path, name in _files_of(source):
            files[f"{top}/{name}"] = path
    return places, files


def _option_files(planned: PlannedRun) -> tuple[dict[str, str], dict[str, Path]]:
    """What stands in the bundle's recipe for each file that an option names, and those files."""
    places: dict[str, str] = {}
    files: dict[str, Path] = {}
    for number, path in enumerate(option_files_of(planned)):
        top, beside = path.parent, []
        if found := records.find(path):  # an engine's, for instance: without all its files it would not hold
            record, at = found
            top, beside = at.parent, [at, *(at.parent / row["path"] for row in record["files"])]
        for file in (path, *beside):
            _check_inside(file, top, path)
            files[f"files/{number}/{file.relative_to(top).as_posix()}"] = file
        places[str(path)] = f"{MARK}files/{number}/{path.relative_to(top).as_posix()}"
    return places, files


def _own_code(source: Artifact) -> UsageError:
    what = f"{shown(source.location)} is code of yours, which no bundle takes along"
    weights = f" --weights {shlex.quote(shown(source.files[0]))}" if source.files else ""
    convert = f"mlconvert convert {shlex.quote(shown(source.location))}{weights} --to exported-program -o model.pt2"
    return UsageError(what, hint=f"{convert}; then let the recipe say `model: model.pt2`")


def _files_of(source: Artifact) -> Iterator[tuple[Path, str]]:
    """The files of a model with their names relative to where the model lies.

    Raises UsageError for a link out of there. What the user named may be a link itself.
    """
    for file in source.files:
        _check_inside(file, source.folder, source.path)
        yield file, file.relative_to(source.path.parent).as_posix()


def _check_inside(file: Path, folder: Path, main: Path) -> None:
    if file != main and not file.resolve().is_relative_to(folder.resolve()):
        what = f"{shown(file)} is a link out of the model's folder: what it leads to would be in the bundle"
        copied = f"cp -rL {shlex.quote(shown(folder))} copied"
        raise UsageError(what, where=shown(main), hint=f"{copied}, and let the recipe name that")
