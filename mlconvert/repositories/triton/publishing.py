"""Publishing to a Triton model repository.

Nothing that a server may be reading is ever written to: a version is made whole beside the repository and renamed in,
and so is the folder of a new model. `STEPS` is what publishing does to the disk, in order; after any of them the
process may die, and the repository is as it was or as it should be.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from mlconvert import records
from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.converter import check_options, options_of
from mlconvert.errors import ConversionFailed, RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.layout import backend_for, check_repository
from mlconvert.repositories.versions import (
    PublishedVersion,
    VersionFolder,
    choose_version,
    model_files,
    plain_versions,
    record_path,
    version_folders,
)
from mlconvert.signature import Signature


@dataclass(frozen=True)
class Publication:
    """One publishing, decided: what the steps need, and nothing that they would have to find out."""

    artifact: Artifact
    repository: Path
    name: str
    number: int
    work: Path  # the empty staging folder, ours alone
    files: Mapping[str, Path]  # path in the version folder -> source, the main file first
    digests: Mapping[str, str]  # path in the version folder -> sha256
    record: Mapping[str, Any] | None
    config_text: str
    config: Literal["written", "kept", "replaced"]
    new_model: bool  # the whole folder of the model is renamed in
    new_version: bool
    newest_mtime_ns: int  # in the model's folder before anything was done
    options: Mapping[str, Any]
    live: bool

    @property
    def model_folder(self) -> Path:
        return self.repository / self.name

    @property
    def staged_model(self) -> Path:
        return self.work / "model"

    @property
    def staged_version(self) -> Path:
        return self.staged_model / str(self.number)

    def placed(self, version_folder: Path) -> Artifact:
        """The artifact as it lies in that version folder."""
        paths = tuple(version_folder / name for name in self.files)
        return replace(self.artifact, location=str(paths[0]), files=paths)


def publish(
    artifact: Artifact,
    repository: Path,
    name: str,
    *,
    version: int | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
    record: Mapping[str, Any] | None = None,
    wait_seconds: float = staging.WAIT_SECONDS,
) -> PublishedVersion:
    """Make the artifact the next (or the given) version of model `name`, and say what was done.

    `options` are the backend's (see `options`), as text or typed. `record` is the artifact's record; by default the
    one that lies beside it. A model that is the newest version already is not published again. An existing
    config.pbtxt stays as it is, unless options ask for another one.

    Raises UsageError (a wrong option or version number), ConversionFailed (the model cannot be read),
    RepositoryInvalid (the server would refuse it, the version exists, the folder is not a repository, the disk is
    read-only), OutOfResources (a full disk; another publisher at work), MissingPackage. Nothing is left behind then.
    """
    cfg.check_name(name)
    backend = backend_for(artifact.format)
    repository = repository.resolve()
    check_repository(repository)
    checked = check_options("publish", options_of(backend.describe), options)
    files: Mapping[str, Path] = backend.placed_files(artifact)
    digests = {placed: file_sha256(source) for placed, source in files.items()}
    record = _checked_record(artifact, record, files, digests)
    if version is None and (before := _published_before(artifact, repository / name, files, digests, checked)):
        return before
    signature: Signature = backend.signature_of(artifact)
    wanted, comments = backend.describe(signature, name, **checked)

    with (
        staging.disk_errors(f"cannot publish '{name}'", repository),
        staging.exclusive(repository, name, wait_seconds=wait_seconds) as work,
    ):
        model_folder = repository / name
        if model_folder.exists() and not model_folder.is_dir():
            raise RepositoryInvalid("a file has the model's name", where=str(model_folder))
        newest = next(iter(plain_versions(model_folder)[::-1]), None)
        repeated = version is None and newest is not None and _holds(newest, files, digests)
        state = _config_state(model_folder, backend, wanted, signature, rewrite=bool(checked))
        if state != "kept" and newest is not None and not repeated:
            _check_that_newest_fits(newest, backend, wanted, name)
        if newest is not None and repeated:
            number = newest.number
        else:
            retired = version_folders(staging.rolled_back_folder(repository, name))
            number = choose_version(version, version_folders(model_folder), [folder.number for folder in retired])
        publication = Publication(
            artifact=replace(artifact, signature=signature),
            repository=repository,
            name=name,
            number=number,
            work=work,
            files=files,
            digests=digests,
            record=record,
            config_text=cfg.as_text(wanted, comments),
            config=state,
            new_model=not model_folder.exists() or not any(model_folder.iterdir()),
            new_version=not repeated,
            newest_mtime_ns=staging.newest_mtime_ns(model_folder),
            options=checked,
            live=_goes_live(number, model_folder, wanted if state != "kept" else None),
        )
        changes = not repeated or state != "kept"
        if changes:
            if publication.new_version:
                staging.check_space(work, sum(source.stat().st_size for source in files.values()))
            for _, step in STEPS:
                step(publication)
        return _published(publication, unchanged=not changes)


def _stage(publication: Publication) -> None:
    """Write everything that is new into the staging folder."""
    publication.staged_model.mkdir()
    publication.staged_model.chmod(staging.FOLDER_MODE)
    if publication.config != "kept":
        staging.write_text(publication.config_text, publication.staged_model / cfg.CONFIG)
    if not publication.new_version:
        return
    for placed, source in publication.files.items():
        target = publication.staged_version / placed
        staging.make_folders(target.parent)
        if staging.copy_file(source, target) != publication.digests[placed]:
            raise RepositoryInvalid("the model's file changed while it was being published", where=str(source))
    if publication.record is not None:
        artifact = publication.placed(publication.staged_version)
        by_name = {
            path.relative_to(artifact.folder).as_posix(): publication.digests[placed]
            for path, placed in zip(artifact.files, publication.files, strict=True)
        }
        rows = records.described_files(artifact, by_name)
        published = {
            "options": publication.options,
            "config_sha256": _config_sha256(publication),
            "live": publication.live,
        }
        record = {**publication.record, "path": artifact.path.name, "files": rows, "published": published}
        if "sha256" in record:
            record["sha256"] = records.total_sha256(rows)
        records.write_json(artifact.folder / records.IN_FOLDER, record)


def _sync(publication: Publication) -> None:
    """Give all of it one time, newer than any in the repository's copy of the model, and put it on the disk."""
    staging.stamp(publication.staged_model, publication.newest_mtime_ns)


def _replace_config(publication: Publication) -> None:
    """Put a changed config.pbtxt in the place of the old one, before the version that needs it."""
    if publication.config != "kept" and not publication.new_model:
        (publication.staged_model / cfg.CONFIG).replace(publication.model_folder / cfg.CONFIG)


def _go_live(publication: Publication) -> None:
    """One rename, after which servers see the version (of a new model: the model)."""
    if publication.new_model:
        staging.make_folders(publication.repository)
        publication.staged_model.rename(publication.model_folder)
    elif publication.new_version:
        publication.staged_version.rename(publication.model_folder / str(publication.number))


def _settle(publication: Publication) -> None:
    """Put the renames on the disk, and make sure that a server that polls sees a newer time."""
    staging.touch(publication.model_folder, publication.newest_mtime_ns)
    staging.sync(publication.model_folder)
    staging.sync(publication.repository)


STEPS: tuple[tuple[str, Callable[[Publication], None]], ...] = (
    ("stage", _stage),
    ("sync", _sync),
    ("config", _replace_config),
    ("live", _go_live),
    ("settle", _settle),
)


def _published(publication: Publication, *, unchanged: bool) -> PublishedVersion:
    version_folder = publication.model_folder / str(publication.number)
    return PublishedVersion(
        name=publication.name,
        version=publication.number,
        path=version_folder,
        artifact=publication.placed(version_folder),
        config_path=publication.model_folder / cfg.CONFIG,
        config=publication.config,
        bytes=sum((version_folder / name).stat().st_size for name in publication.files),
        sha256=combine_sha256(publication.digests.items()),
        unchanged=unchanged,
        live=publication.live,
    )


def _config_sha256(publication: Publication) -> str:
    """Of the configuration as this publishing leaves it."""
    if publication.config == "kept":
        return file_sha256(publication.model_folder / cfg.CONFIG)
    return hashlib.sha256(publication.config_text.encode()).hexdigest()


# --- what is decided before anything is written ---


def _published_before(
    artifact: Artifact,
    model_folder: Path,
    files: Mapping[str, Path],
    digests: Mapping[str, str],
    options: Mapping[str, Any],
) -> PublishedVersion | None:
    """What the very same publishing did before, when nothing has changed since: then not even protobuf is imported."""
    newest = next(iter(plain_versions(model_folder)[::-1]), None)
    found = record_path(newest.path) if newest else None
    record = records.read(found) if found else None
    config = model_folder / cfg.CONFIG
    if newest is None or record is None or "published" not in record or not config.is_file():
        return None
    published = record["published"]
    same = published["options"] == json.loads(json.dumps(options))
    if not same or published["config_sha256"] != file_sha256(config) or not _holds(newest, files, digests):
        return None
    paths = tuple(newest.path / name for name in files)
    return PublishedVersion(
        name=model_folder.name,
        version=newest.number,
        path=newest.path,
        artifact=replace(artifact, location=str(paths[0]), files=paths),
        config_path=config,
        config="kept",
        bytes=sum(path.stat().st_size for path in paths),
        sha256=combine_sha256(digests.items()),
        unchanged=True,
        live=published["live"],
    )


def _goes_live(number: int, model_folder: Path, config: Any | None) -> bool:
    """Whether the version policy serves that version; `config` None: the one that is there stays."""
    numbers = {folder.number for folder in version_folders(model_folder)} | {number}
    return number in cfg.live_versions(config or cfg.read(model_folder / cfg.CONFIG), numbers)


def _checked_record(
    artifact: Artifact, record: Mapping[str, Any] | None, files: Mapping[str, Path], digests: Mapping[str, str]
) -> Mapping[str, Any] | None:
    """The record to publish, after a check that it is of these very files."""
    where = artifact.location
    if record is None:
        found = records.find(artifact.path)
        if found is None:
            return None
        record, path = found
        where = str(path)
    recorded = {row["sha256"] for row in record.get("files", [])}
    changed = [source for placed, source in files.items() if digests[placed] not in recorded]
    if changed:
        raise RepositoryInvalid(
            f"{changed[0]} was changed after its record was written (sha256 differs)",
            where=where,
            hint="convert the model again, or remove the record if the new file is meant",
        )
    return record


def _holds(folder: VersionFolder, files: Mapping[str, Path], digests: Mapping[str, str]) -> bool:
    """Whether the version has exactly these files; sizes are looked at before anything is read."""
    there = model_files(folder.path)
    return (
        there.keys() == files.keys()
        and all(there[name].stat().st_size == source.stat().st_size for name, source in files.items())
        and all(file_sha256(there[name]) == digests[name] for name in files)
    )


def _config_state(
    model_folder: Path, backend: Any, wanted: Any, signature: Signature, *, rewrite: bool
) -> Literal["written", "kept", "replaced"]:
    """What becomes of config.pbtxt. Raises RepositoryInvalid where the one that is there does not fit the model."""
    path = model_folder / cfg.CONFIG
    if not path.is_file():
        return "written"
    existing = cfg.read(path)
    if existing == wanted:
        return "kept"
    found = backend.misfits(existing, signature, model_folder.name)
    wrong = [problem for problem in found if not problem.omitted]
    if wrong:
        raise RepositoryInvalid(
            f"the new model does not fit the configuration of '{model_folder.name}': {'; '.join(map(str, wrong))}",
            where=str(path),
            hint="publish it under another name: clients of this one expect what they have now",
        )
    if rewrite:
        return "replaced"
    if found:
        raise RepositoryInvalid(
            f"the configuration of '{model_folder.name}' is incomplete: {'; '.join(map(str, found))}",
            where=str(path),
            hint="complete it, or have it written anew with an option, such as --set instances=1",
        )
    return "kept"


def _check_that_newest_fits(newest: VersionFolder, backend: Any, wanted: Any, name: str) -> None:
    """A new configuration must do for the version that serves until the new one is ready, and after a rollback."""
    with contextlib.suppress(ConversionFailed):  # one that cannot be read serves nothing that could be broken
        signature = backend.published_signature(newest.path)
        found = backend.misfits(wanted, signature, name) if signature else []
        if found:
            raise RepositoryInvalid(
                f"version {newest.number} of '{name}' does not fit the new configuration: {'; '.join(map(str, found))}",
                where=str(newest.path),
                hint="publish the new model under another name",
            )
