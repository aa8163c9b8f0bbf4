"""`mlconvert check`: whether hardware-bound artifacts will run on a machine, before anything is loaded.

Nothing here needs a GPU or a framework: files are read, and rules compare what built them with the machine.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, HardwareMismatch, RepositoryInvalid, UsageError
from mlconvert.formats.locations import resolve
from mlconvert.hardware.comparing import Build
from mlconvert.hardware.fingerprint import Fingerprint, from_json, take
from mlconvert.hardware.rules import VERDICTS, Judgement, Verdict, judge_machine, worst
from mlconvert.readers.hardware_builds import build_of
from mlconvert.report.contents import shown
from mlconvert.repositories import staging
from mlconvert.repositories.triton.config import CONFIG
from mlconvert.repositories.triton.engines import PLANS, BoundFile, Placement, bound_files
from mlconvert.repositories.versions import plain_versions

SCHEMA = "mlconvert.check/1"
HERE = "this machine"


def check_location(location: str, *, on: Path | None = None, config_name: str | None = None) -> dict[str, Any]:
    """The report on an artifact, or on every hardware-bound one of a repository; `exit_code` is 7 where one is refused.

    `on` is a fingerprint's file; by default this machine is looked at. Versions that the version policy does not serve
    are judged, and do not count. `config_name` is what the server is started with (--model-config-name): models that
    have such a configuration are judged by it. Raises UsageError (no such file, an unknown format, no fingerprint),
    RepositoryInvalid (a folder without a model).
    """
    machine = read_fingerprint(on) if on is not None else take()
    with _folder(location) as place:
        if place is not None:
            with staging.disk_errors("cannot read the repository", place):
                rows, free = _repository(place, machine, config_name)
        else:
            rows, free = _artifact(location, machine)
    verdict = worst(row["verdict"] for row in rows if row["served"])
    code = HardwareMismatch.exit_code if verdict == "refuse" else 0
    return {
        "schema": SCHEMA,
        "ok": code == 0,
        "exit_code": code,
        "verdict": verdict,
        "location": location,
        "on": {"source": shown(on) if on is not None else HERE, **_told(machine)},
        "artifacts": rows,
        "unbound": free,
    }


def read_fingerprint(path: Path) -> Fingerprint:
    """The fingerprint in a file. Raises UsageError where there is none."""
    hint = f"mlconvert fingerprint -o {path}, on the machine that is meant"
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", where=str(path), hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}", where=str(path), hint=hint) from error
    return from_json(data, where=str(path))


def _told(machine: Fingerprint) -> dict[str, Any]:
    """What a reader has to know of the machine to see whom the verdicts are about."""
    return {
        "gpus": [gpu.name for gpu in machine.gpus],
        "tensorrt": machine.tensorrt.version,
        "driver": machine.driver.version,
        "os": machine.host.os,
        "architecture": machine.host.architecture,
    }


# --- a repository ---


@contextlib.contextmanager
def _folder(location: str) -> Iterator[Path | None]:
    """The repository's folder, downloaded where it is in an object store; None where the location is an artifact."""
    if "://" in location:
        from mlconvert.repositories.remote import RemoteRepository, downloaded, located

        place = located(location)
        if isinstance(place, RemoteRepository):
            with downloaded(place, ()) as folder:
                yield folder
            return
    path = Path(location)
    yield path if path.is_dir() and _models(path) and not _is_model(path) else None


def _is_model(folder: Path) -> bool:
    return bool(plain_versions(folder)) or (folder / CONFIG).is_file() or (folder / records.IN_FOLDER).is_file()


def _models(repository: Path) -> list[str]:
    return sorted(
        path.name
        for path in repository.iterdir()
        if path.is_dir() and not path.name.startswith(".") and ((path / CONFIG).is_file() or plain_versions(path))
    )


def _repository(
    repository: Path, machine: Fingerprint, config_name: str | None = None
) -> tuple[list[dict[str, Any]], int]:
    names = _models(repository)
    if not names:
        raise RepositoryInvalid("there is no model in the repository", where=str(repository))
    rows, free = [], 0
    for name in names:
        custom = f"configs/{config_name}.pbtxt"
        there = config_name is not None and (repository / name / custom).is_file()
        files, more = bound_files(repository, name, custom if there else CONFIG)
        free += more
        rows += [_row_of(file, machine) for file in files]
    return rows, free


def _row_of(file: BoundFile, machine: Fingerprint) -> dict[str, Any]:
    build = build_of(file.format, file.path, file.record)
    if build is None:  # only a record of ours makes an ONNX file a bound one, and it has a kind then
        raise HardwareMismatch("the record names no kind of hardware", where=str(file.path))
    if file.fault is not None:
        build = replace(build, faults=(*build.faults, ("record", file.fault)))
    judgements = judge_machine(build, machine, _gpus(file, machine))
    return _row(file.path, file.format, build, judgements, model=file.model, version=file.version, served=file.served)


def _gpus(file: BoundFile, machine: Fingerprint) -> Sequence[int] | None:
    """The GPUs on which the server loads this file; None: all of them; none: it loads another one on every GPU here."""
    placement: Placement = file.placement
    if not placement.by_capability or not machine.gpus:
        return placement.gpus
    wanted = placement.gpus if placement.gpus is not None else range(len(machine.gpus))
    known = [machine.gpus[number].compute_capability if number < len(machine.gpus) else None for number in wanted]
    if file.capabilities is None:
        return [number for number, one in zip(wanted, known, strict=True) if one not in placement.by_capability]
    return [number for number, one in zip(wanted, known, strict=True) if one in file.capabilities]


# --- an artifact ---


def _artifact(location: str, machine: Fingerprint) -> tuple[list[dict[str, Any]], int]:
    artifact, fault = _recognised(location)
    found = records.find(artifact.path)
    record = None
    if found is not None:
        try:
            artifact, record = records.with_record(artifact)
        except RepositoryInvalid as error:
            record, fault = found[0], error.message
    build = build_of(artifact.format, artifact.path, record)
    if build is None:
        return [], 1
    if fault is not None and not build.faults:
        build = replace(build, faults=(("record", fault),))
    return [_row(artifact.path, artifact.format, build, judge_machine(build, machine))], 0


def _recognised(location: str) -> tuple[Artifact, str | None]:
    """The artifact; a plan that is damaged is one all the same, and so is judged and not only reported."""
    from mlconvert.formats import source_artifact
    from mlconvert.registry import registry

    try:
        return source_artifact(location, formats=registry().formats), None
    except ConversionFailed as error:
        path = resolve(location).absolute()
        if path.suffix in PLANS:
            return Artifact("tensorrt", str(path), (path,)), error.message
        raise


def _row(
    path: Path,
    format_name: str,
    build: Build,
    judgements: Sequence[Judgement],
    *,
    model: str | None = None,
    version: int | None = None,
    served: bool = True,
) -> dict[str, Any]:
    return {
        "path": shown(path),
        "format": format_name,
        "kind": build.kind,
        "model": model,
        "version": version,
        "served": served,
        "verdict": worst(one.verdict for one in judgements),
        "judgements": [one.as_json() for one in judgements],
    }


def counted(rows: Sequence[dict[str, Any]]) -> dict[Verdict, int]:
    """How many artifacts have each verdict."""
    return {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in VERDICTS}
