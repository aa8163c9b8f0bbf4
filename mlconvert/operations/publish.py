"""Publishing an artifact that a user names, and looking after what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mlconvert import packages, records
from mlconvert.artifact import Artifact
from mlconvert.errors import HardwareMismatch, RepositoryInvalid, UsageError
from mlconvert.formats import hint_for, source_artifact
from mlconvert.hardware.fingerprint import take
from mlconvert.hardware.rules import judge_machine, own_findings
from mlconvert.operations.live import LiveServer
from mlconvert.operations.live_servers import WAIT_SECONDS, live_server, states_at
from mlconvert.operations.live_tf_serving import LiveTfServing
from mlconvert.operations.signing import Signer
from mlconvert.readers.hardware_builds import build_of, refusals
from mlconvert.registry import registry
from mlconvert.report.contents import shown
from mlconvert.repositories import REPOSITORIES, Repository, check_store, repository_in, repository_named
from mlconvert.repositories.places import MARKER
from mlconvert.repositories.versions import plain_versions

if TYPE_CHECKING:
    from mlconvert.repositories.versions import Labelled, RolledBack, Version


def publish(
    model: str | Path,
    repository: str | Path,
    *,
    to: str,
    name: str,
    version: int | None = None,
    options: Mapping[str, Any] | None = None,
    keep: int | None = None,
    load: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
    verify: bool = True,
    sign: str | Path | None = None,
) -> dict[str, Any]:
    """Publish a model file, or the folder or repository version that holds one; what was done, for a report.

    `load` is the URL of a running server that has to load the version and, with `verify`, to answer the rows of its
    record as its source did; else the version is taken out again. `sign` is the file of a private key, with which the
    version is signed.

    Raises UsageError (not publishable there, a key of no use), HardwareMismatch (a server on this machine is to load
    what this machine cannot run), RepositoryInvalid (the files changed since their record was written, or the server
    would refuse them, or did), ParityFailed and NotVerified (with `load`), MissingPackage, OutOfResources.
    """
    row = repository_named(to)
    place = located(repository)
    artifact = source_artifact(str(model), formats=registry().formats)
    if artifact.format not in row.formats:
        raise UsageError(
            f"{model} is {artifact.format}; {row.title} takes {', '.join(row.formats)}",
            hint=hint_for(artifact.format, str(model), registry().formats)
            or f"mlconvert convert {model} --to {row.formats[0]}",
        )
    packages.require(row.packages, f"publishing to {row.title}")
    described, record = records.with_record(artifact)
    layout = _layout(row, place)
    _check_same(row, place)
    signer = Signer(sign) if sign is not None else None
    elsewhere = _hardware(described, record, load)
    with live_server(load, row.name, place, wait_seconds=wait_seconds, verify=verify) as server:
        published = layout.publish(
            described,
            place,
            name,
            version=version,
            options=options or {},
            record=record,
            keep=keep,
            server=server,
            sign=signer,
        )
    done = published.as_json()
    return {
        "to": to,
        "repository": shown(place),
        **done,
        "warnings": [*done["warnings"], *elsewhere],
        "path": shown(done["path"]),
        "files": [shown(path) for path in done["files"]],
        "config": {**done["config"], "path": shown(done["config"]["path"])},
        "signed": signer is not None,
        "verified": bool(record and record.get("parity")),
        "server": _answered(server, load, published.version),
    }


def versions(repository: str | Path, name: str, *, at: str | None = None) -> tuple[tuple[Version, ...], dict[int, str]]:
    """The versions of a model, oldest first, and what the server at the URL `at` has of it: version -> state."""
    place = located(repository)
    row = row_of(place)
    found: tuple[Version, ...] = _layout(row, place).versions(place, name)
    return found, states_at(at, row.name, name) if at is not None else {}


def rollback(
    repository: str | Path,
    name: str,
    version: int | None = None,
    *,
    load: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
    verify: bool = True,
) -> tuple[RolledBack, dict[str, Any] | None]:
    """Make an older version the newest again; what was done, and what the server at the URL `load` did about it."""
    place = located(repository)
    row = row_of(place)
    layout = _layout(row, place)
    with live_server(load, row.name, place, wait_seconds=wait_seconds, verify=verify) as server:
        done: RolledBack = layout.rollback(place, name, version, server=server)
        return done, _answered(server, load, done.version)


def label(
    repository: str | Path,
    name: str,
    put: Mapping[str, int],
    remove: Sequence[str] = (),
    *,
    every: bool = False,
    load: str | None = None,
    wait_seconds: float = WAIT_SECONDS,
    verify: bool = True,
) -> tuple[Labelled, dict[str, Any] | None]:
    """Set and remove labels of versions; what there is then, and what the server at the URL `load` did about it."""
    place = located(repository)
    row = row_of(place)
    layout = _layout(row, place)
    with live_server(load, row.name, place, wait_seconds=wait_seconds, verify=verify) as server:
        done: Labelled = layout.label(place, name, put, remove, every=every, server=server)
        return done, _answered(server, load, *sorted(done.live))


def located(repository: str | Path) -> Any:
    """A repository as its layout takes it: a folder's path, or a place in an object store."""
    if isinstance(repository, str) and "://" in repository:
        from mlconvert.repositories import remote

        return remote.located(repository)
    return Path(repository)


def layout_of(repository: Any) -> ModuleType:
    """The module of the layout that a repository has; see `row_of`."""
    return _layout(row_of(repository), repository)


def row_of(repository: Any) -> Repository:
    """The row of the layout that a repository has, as its files tell.

    Raises UsageError where there is no folder, RepositoryInvalid where its files are of no layout, or of two.
    """
    if not isinstance(repository, Path):  # only Triton's layout can be in an object store
        return repository_named("triton")
    if not repository.is_dir():
        raise UsageError(f"{repository} is not a folder")
    row = repository_in(repository)
    if row is None:
        row = repository_named("triton")  # whose models need no configuration, so a folder may show nothing of it
        if not _holds_models(repository):
            titles = " or ".join(one.title for one in REPOSITORIES)
            raise RepositoryInvalid(
                f"this is no repository of {titles}: it has no models.config, no model with a config.pbtxt, and no "
                "folder with a version of a model",
                where=str(repository),
            )
    packages.require(row.packages, f"reading a repository of {row.title}")
    return row


def _holds_models(repository: Path) -> bool:
    folders = (repository, *repository.absolute().parents[:3], *repository.iterdir())
    return any((folder / MARKER).exists() or plain_versions(folder) for folder in folders)


def _layout(row: Repository, repository: Any) -> ModuleType:
    if isinstance(repository, Path):
        return row.load()
    check_store(row, repository)
    from mlconvert.repositories.triton import remote

    return remote


def _check_same(row: Repository, place: Any) -> None:
    """Raise RepositoryInvalid where the folder is a repository of another server."""
    there = repository_in(place) if isinstance(place, Path) and place.is_dir() else None
    if there is not None and there is not row:
        raise RepositoryInvalid(
            f"this is a repository of {there.title}, not of {row.title}",
            where=str(place),
            hint=f"choose another folder, or publish --to {there.name}",
        )


def _hardware(artifact: Artifact, record: Mapping[str, Any] | None, load: str | None) -> list[str]:
    """Warnings of an artifact that is bound to other hardware than this machine's, which may not be the server's.

    Raises RepositoryInvalid for one that runs nowhere, HardwareMismatch where a server on this machine is to load it.
    """
    build = build_of(artifact.format, artifact.path, record)
    if build is None:
        return []
    for found in own_findings(build):
        if found.level == "refuse":
            hint = f"{found.fix or 'build it again'}, and publish what comes out"
            raise RepositoryInvalid(f"no server loads it: {found.sentence}", where=artifact.location, hint=hint)
    told = refusals(judge_machine(build, take()))
    if told is None:
        return []
    if load is not None and urlsplit(load).hostname in ("localhost", "127.0.0.1", "::1"):
        hint = f"mlconvert check {artifact.location} shows all that differs"
        raise HardwareMismatch(f"this machine does not run it: {told}", where=artifact.location, hint=hint)
    ask = f"mlconvert check {shown(artifact.location)} --on FINGERPRINT"
    return [f"it was built for {build.described()}, and does not run on this machine; for the server's: {ask}"]


def _answered(server: LiveServer | LiveTfServing | None, url: str | None, *numbers: int) -> dict[str, Any] | None:
    """What a server did, for a report: the rows that each version answered as it should (none: it was not asked)."""
    if server is None:
        return None
    return {"url": url, "versions": [{"version": number, "rows": server.rows.get(number)} for number in numbers]}
