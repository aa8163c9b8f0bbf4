"""Building a bundle: checked to the last byte, its recipe run, and what that made written as one archive."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.bundles import archive
from mlconvert.bundles.manifest import BUILT, RECIPE, SCHEMA, require_sound
from mlconvert.bundles.packing import REPORT, check_free, rows_of
from mlconvert.bundles.recipes import needs_trust, placed, require_inside
from mlconvert.errors import HardwareMismatch, MlconvertError, UsageError
from mlconvert.execution import outputs
from mlconvert.execution.cached_jobs import Observer, unwatched
from mlconvert.execution.execute import execute
from mlconvert.execution.planned import PlannedRun, plan_run
from mlconvert.execution.versions import Versions, require_same, versions_for
from mlconvert.recipe import load_recipe
from mlconvert.report.contents import shown
from mlconvert.version import __version__


@dataclass(frozen=True)
class Job:
    """A bundle, unpacked and checked, with the run that it asks for; nothing of that is done."""

    path: Path
    sha256: str
    manifest: Mapping[str, Any]
    folder: Path  # of the bundle's files
    planned: PlannedRun
    scratch: Path
    out: Path  # where the archive of the results goes


@contextlib.contextmanager
def unpacked(path: Path, out: Path, *, sha256: str | None = None, trust: bool = False) -> Iterator[Job]:
    """Check a bundle, unpack it beside the output, and plan its run; what was unpacked is gone at the end.

    Raises UsageError for a file that is no bundle, was changed or cut off, is not the one that `sha256` names, or asks
    for what `trust` did not allow; MissingPackage for other versions than it was made with; HardwareMismatch; and what
    planning raises.
    """
    if sha256 is not None and not (len(sha256) == 64 and set(sha256.lower()) <= set("0123456789abcdef")):
        raise UsageError(f"--sha256 {sha256}: not 64 hexadecimal digits", hint=f"sha256sum {path}")
    check_free(out)
    if path.resolve() == out.resolve():
        raise UsageError("the result would replace the bundle", where=str(out), hint="choose another -o")
    with outputs.claimed(out) as scratch:
        folder = scratch.resolve() / "job"
        folder.mkdir()
        manifest, digest = archive.unpack(path, folder, schema=SCHEMA, sha256=sha256)
        with _told_of(path, folder):
            planned = _planned(manifest, path, folder, scratch.resolve() / "built", trust)
        yield Job(path, digest, manifest, folder, planned, scratch, out)


def _planned(manifest: Mapping[str, Any], path: Path, folder: Path, built: Path, trust: bool) -> PlannedRun:
    """The run that an unpacked bundle asks for, checked as `unpacked` says."""
    what = f"the bundle {path.name}"
    require_sound(manifest, path)
    wanted = Versions.from_json(manifest["versions"])
    require_same(replace(wanted, packages={}), versions_for(()), what)  # before its recipe is read by other rules
    files = {folder / row["path"] for row in manifest["files"]}
    recipe = placed(replace(load_recipe(folder / RECIPE), name=manifest["name"]), files)
    require_inside(recipe, files)
    try:
        planned = plan_run(recipe, built, names=tuple(manifest["targets"]))
    except HardwareMismatch as error:
        error.hint = f"build {path.name} on a machine that has it"
        raise
    require_same(wanted, versions_for(rows_of(planned)), what)
    if not trust and (asked := needs_trust(planned)):
        what = f"building {path.name} would {'; '.join(asked)}"
        raise UsageError(what, hint="--trust, if you know who made it and trust them as you would a program")
    return planned


@contextlib.contextmanager
def _told_of(path: Path, folder: Path) -> Iterator[None]:
    """Say of an error about an unpacked file where it is in the bundle: there it can still be found afterwards."""
    try:
        yield
    except MlconvertError as error:
        places = {f"{folder}/": "", f"{shown(folder)}/": "", f"{folder.parent}/": "../"}
        for before, after in places.items():
            error.message = error.message.replace(before, after)
            error.where = error.where and error.where.replace(before, after)
        if error.where and not error.where.startswith(str(path)):
            error.where = f"{path}: {error.where}"
        raise


def build(job: Job, *, jobs: int = 1, observer: Observer = unwatched) -> dict[str, Any]:
    """Run the job and, where all of it held, write the archive of its results; the report, with paths in that.

    Raises what `execute` raises; the failures of targets are in the report.
    """
    report = execute(job.planned, jobs=jobs, observer=observer)
    report = _told(report, job)
    if report["ok"]:
        _write_built(job, report)
    return report


def publish_commands(job: Job) -> list[str]:
    """What publishes the results where the repository is, as the recipe said it: one command for each."""
    commands = []
    for name, how in job.manifest["not_published"].items():
        repository = how.get("repository", "models")
        words = ["mlconvert", "publish", f"{job.out.stem}/{name}", repository, "--to", how["to"]]
        words += ["--name", how["name"]]
        words += ["--version", str(how["version"])] if "version" in how else []
        words += ["--sign", how["sign"]] if "sign" in how else []
        for option, value in how.get("options", {}).items():
            words += ["--set", f"{option}={value if isinstance(value, str) else json.dumps(value)}"]
        commands.append(shlex.join(words))
    return commands


def _told(data: dict[str, Any], job: Job) -> dict[str, Any]:
    """A report or a record with paths as in the unpacked archive; those of sources as in the bundle."""
    built, folder = job.planned.out, job.folder
    places = {f"{folder}/": "", f"{built}/": f"{job.out.stem}/"}
    places |= {f"{shown(place)}/": name for place, name in ((folder, ""), (built, f"{job.out.stem}/"))}

    def renamed(value: Any) -> Any:
        if isinstance(value, str):
            for before, after in places.items():
                value = value.replace(before, after)
            return value
        if isinstance(value, list):
            return [renamed(each) for each in value]
        return {key: renamed(each) for key, each in value.items()} if isinstance(value, dict) else value

    told: dict[str, Any] = renamed(data)
    return told


def _write_built(job: Job, report: Mapping[str, Any]) -> None:
    for destination in job.planned.destinations:
        record = records.read(destination.record)
        assert record is not None, destination.record
        records.write_json(destination.record, _told(record, job))
    records.write_json(job.planned.out / REPORT, report)
    files = {
        path.relative_to(job.planned.out).as_posix(): path
        for path in sorted(job.planned.out.rglob("*"))
        if path.is_file()
    }
    about = {
        "schema": BUILT,
        "name": job.manifest["name"],
        "targets": job.planned.names,
        "bundle": job.sha256,
        "mlconvert": __version__,
        "not_published": job.manifest["not_published"],
    }
    archive.write(job.scratch / "archive", about, files, top=job.out.stem)
    (job.scratch / "archive").replace(job.out)
