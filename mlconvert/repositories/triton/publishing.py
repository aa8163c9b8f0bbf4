"""Publishing to a Triton model repository: what is decided before anything is written.

`mlconvert.repositories.triton.publication` has the steps that write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.converter import check_options
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories import staging
from mlconvert.repositories.arriving import Sign, checked_record, holds
from mlconvert.repositories.keeping import check_keep
from mlconvert.repositories.names import check_name
from mlconvert.repositories.trials import Change, Server, stand_in
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import backend_for
from mlconvert.repositories.triton.configuring import (
    check_that_newest_fits,
    config_change,
    config_state,
    files_beside,
    goes_live,
    stale_files,
)
from mlconvert.repositories.triton.description import Description
from mlconvert.repositories.triton.labels import carried, labels_of
from mlconvert.repositories.triton.layout import check_repository
from mlconvert.repositories.triton.layout import options as options_for
from mlconvert.repositories.triton.publication import Publication, outcome, run
from mlconvert.repositories.versions import (
    PublishedVersion,
    choose_version,
    plain_versions,
    record_of,
    record_path,
    version_folders,
)
from mlconvert.signature import Signature


def publish(
    artifact: Artifact,
    repository: Path,
    name: str,
    *,
    version: int | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
    record: Mapping[str, Any] | None = None,
    keep: int | None = None,
    server: Server | None = None,
    sign: Sign | None = None,
    wait_seconds: float = staging.WAIT_SECONDS,
) -> PublishedVersion:
    """Make the artifact the next (or the given) version of model `name`, and say what was done.

    `options` are the backend's (see `options`), as text or typed. `record` is the artifact's record; by default the
    one that lies beside it. A model that is the newest version already is not published again. An existing
    config.pbtxt stays as it is, unless options ask for another one. With `keep`, versions beyond that many are
    removed, save those that are needed. With `server`, that server has to take the version, or it is taken out again.
    `sign` signs the version before anything sees it.

    Raises UsageError (a wrong option or version number), ConversionFailed (the model cannot be read),
    RepositoryInvalid (the server would refuse it, or did; the version exists, the folder is not a repository, the disk
    is read-only), ParityFailed and NotVerified (with a server), OutOfResources (a full disk; another publisher at
    work), MissingPackage. Nothing is left behind then.
    """
    check_name(name)
    check_keep(keep)
    backend = backend_for(artifact.format).load()
    repository = repository.resolve()
    check_repository(repository)
    checked = check_options("publish", options_for(artifact.format), options)
    files: Mapping[str, Path] = backend.placed_files(artifact)
    digests = {placed: file_sha256(source) for placed, source in files.items()}
    record = checked_record(artifact, record, files, digests)
    # A file of labels may have other names in it than it had last time.
    plain = version is None and keep is None and server is None and sign is None and "class_labels" not in checked
    if plain and (done := _published_before(artifact, repository / name, files, digests, checked)):
        return done
    signature: Signature = backend.signature_of(artifact)
    wanted: Description = backend.describe(
        signature, name, artifact=artifact, record=record, repository=repository, **checked
    )

    with (
        staging.disk_errors(f"cannot publish '{name}'", repository),
        staging.exclusive(repository, name, wait_seconds=wait_seconds) as work,
    ):
        model_folder = repository / name
        if model_folder.exists() and not model_folder.is_dir():
            raise RepositoryInvalid("a file has the model's name", where=str(model_folder))
        config_before = _config_before(model_folder)
        wanted = _with_labels(model_folder, wanted, config_before, checked)
        there = frozenset(folder.number for folder in version_folders(model_folder))
        newest = next(iter(plain_versions(model_folder)[::-1]), None)
        repeated = version is None and newest is not None and holds(newest, files, digests)
        state = config_state(model_folder, backend, wanted, signature, rewrite=bool(checked))
        if state != "kept" and newest is not None and not repeated:
            check_that_newest_fits(newest, backend, wanted.config, name)
        if state == "replaced":
            _check_ensembles(repository, name, wanted.config)
        if newest is not None and repeated:
            if sign is not None:
                sign.confirm(newest.path)
            number = newest.number
        else:
            retired = version_folders(staging.rolled_back_folder(repository, name))
            number = choose_version(version, version_folders(model_folder), [folder.number for folder in retired])
        new_model = not model_folder.exists() or not any(model_folder.iterdir())
        arriving = {} if repeated else {f"{number}/{placed}": source for placed, source in files.items()}
        change = config_change(model_folder, wanted, state, arriving, new_model=new_model)
        before = _live(config_before, model_folder, there)
        publication = Publication(
            artifact=replace(artifact, signature=signature),
            repository=repository,
            name=name,
            number=number,
            work=work,
            files=files,
            digests=digests,
            record=record,
            change=change,
            new_model=new_model,
            new_version=not repeated,
            changes=not repeated or change.state != "kept" or bool(stale_files(model_folder, change.text)),
            newest_mtime_ns=staging.newest_mtime_ns(model_folder),
            options=checked,
            live=goes_live(number, model_folder, change.config),
            warnings=wanted.warnings,
            before=before,
            config_before=config_before,
            keep=keep,
            server=server,
            sign=sign,
            to_serve=_to_serve(model_folder, work, number, record, change.config, there, before, repeated=repeated),
        )
        if server is not None:
            _check_served(publication)
            server.look(publication.to_serve)
        if publication.changes:
            needed = sum(len(content) for content in change.files.values())
            if publication.new_version:
                needed += sum(source.stat().st_size for source in files.values())
            staging.check_space(work, needed)
        run(publication)
        return outcome(publication)


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
    if not same or published["config_sha256"] != file_sha256(config) or not holds(newest, files, digests):
        return None
    if published.get("beside", []) != files_beside(model_folder):
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


def _check_ensembles(repository: Path, name: str, config: Any) -> None:
    """Raise RepositoryInvalid where an ensemble of the repository would not load with the new configuration."""
    from mlconvert.repositories.triton.ensembles import ensembles_broken_by

    broken = ensembles_broken_by(repository, name, config)
    if broken:
        raise RepositoryInvalid(
            "; ".join(broken),
            where=str(repository),
            hint="publish the new model under another name, or change the ensemble first",
        )


def _config_before(model_folder: Path) -> bytes | None:
    path = model_folder / cfg.CONFIG
    return path.read_bytes() if path.is_file() else None


def _with_labels(
    model_folder: Path, wanted: Description, before: bytes | None, options: Mapping[str, Any]
) -> Description:
    """The description with the labels of the configuration that is there: they outlive a new one."""
    if before is None:
        return wanted
    existing = cfg.read(model_folder / cfg.CONFIG)
    labels = labels_of(existing)
    if labels and "version_policy" in options:
        raise UsageError(
            f"the labels of '{model_folder.name}' ({', '.join(labels)}) decide which versions are served",
            hint=f"mlconvert labels {model_folder.parent} {model_folder.name} LABEL=VERSION",
        )
    return replace(wanted, config=carried(existing, wanted.config))


def _live(config: bytes | None, model_folder: Path, numbers: frozenset[int]) -> frozenset[int]:
    if config is None:
        return numbers
    return frozenset(cfg.live_versions(cfg.read(model_folder / cfg.CONFIG), numbers))


def _to_serve(
    model_folder: Path,
    work: Path,
    number: int,
    record: Mapping[str, Any] | None,
    config: Any,
    there: frozenset[int],
    before: frozenset[int],
    *,
    repeated: bool,
) -> Change:
    return Change(
        name=model_folder.name,
        there=there,
        served=frozenset(cfg.live_versions(config, there | {number})),
        checked=(number,),
        record_of=lambda asked: record if asked == number else record_of(model_folder, asked),
        stand_in=stand_in(model_folder, work),
        back=None if repeated else before,
    )


def _check_served(publication: Publication) -> None:
    """Raise RepositoryInvalid where the policy would not serve the version: a server could not be asked for it."""
    if publication.live:
        return
    policy = cfg.policy_text(publication.change.config)
    number, name = publication.number, publication.name
    labels = labels_of(publication.change.config)
    hint = f"give it a number above {max(publication.to_serve.there)}, or leave the number out"
    if labels:
        again = f"mlconvert labels {publication.repository} {name} {next(iter(labels))}={number} --load URL"
        hint = f"publish it without --load, then: {again}"
    raise RepositoryInvalid(
        f"the version policy of '{name}' ({policy}) would not serve version {number}: no server could be asked for it",
        where=str(publication.model_folder / cfg.CONFIG),
        hint=hint,
    )
