"""Publishing to a TensorFlow Serving repository: what is decided before anything is written.

`mlconvert.repositories.tf_serving.publication` has the steps that write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlconvert.artifact import Artifact, file_sha256
from mlconvert.converter import check_options, options_of
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories import staging
from mlconvert.repositories.arriving import Sign, checked_record, holds
from mlconvert.repositories.batch_axes import reasons_not_to_batch
from mlconvert.repositories.keeping import check_keep
from mlconvert.repositories.tf_serving import layout, models_config, server_files
from mlconvert.repositories.tf_serving.models_config import CONFIG, Entry
from mlconvert.repositories.tf_serving.publication import Publication, outcome, run
from mlconvert.repositories.tf_serving.saved_models import WARMUP, placed_files, served_signature
from mlconvert.repositories.tf_serving.warmup import warmup
from mlconvert.repositories.trials import Change, Server
from mlconvert.repositories.versions import (
    PublishedVersion,
    VersionFolder,
    choose_version,
    plain_versions,
    record_of,
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

    `options` are those of `layout.options`, as text or typed. `record` is the artifact's record; by default the one
    that lies beside it. A model that is the newest version already is not published again. The model's entry in
    models.config stays as it is, unless options ask for another one; those of other models always do. With `keep`,
    versions beyond that many are removed, save those that are needed. With `server`, that server has to take the
    version, or it is taken out again. `sign` signs the version before anything sees it.

    Raises UsageError (a wrong option or version number), RepositoryInvalid (the server would refuse it, or did; the
    version exists, the folder is not a repository, the disk is read-only, a file was changed by hand), ParityFailed and
    NotVerified (with a server), OutOfResources (a full disk; another publisher at work). Nothing is left behind then.
    """
    layout.check_model_name(name)
    check_keep(keep)
    repository = repository.resolve()
    layout.check_repository(repository)
    checked = check_options("publish", layout.options(artifact.format), options)
    files: Mapping[str, Path] = placed_files(artifact)
    digests = {placed: file_sha256(source) for placed, source in files.items()}
    record = checked_record(artifact, record, files, digests)
    signature = served_signature(artifact)
    made, remark = _made(name, signature, record, files, checked)
    wanted = {
        server_files.MONITORING: server_files.monitoring(**_given(server_files.monitoring, checked)),
        server_files.BATCHING: server_files.batching(**_given(server_files.batching, checked)),
    }
    with (
        staging.disk_errors(f"cannot publish '{name}'", repository),
        staging.exclusive(repository, name, wait_seconds=wait_seconds) as work,
    ):
        model_folder = repository / name
        if model_folder.exists() and not model_folder.is_dir():
            raise RepositoryInvalid("a file has the model's name", where=str(model_folder))
        entries = layout.entries_in(repository)
        entry_before = entries.get(name)
        entry = _entry(repository, name, entries, checked)
        _check_text(repository, entry)
        folders = version_folders(model_folder)
        there = frozenset(folder.number for folder in folders)
        newest = next(iter(plain_versions(model_folder)[::-1]), None)
        repeated = version is None and newest is not None and holds(newest, files, digests, made)
        if newest is not None and repeated:
            if sign is not None:
                sign.confirm(newest.path)
            number = newest.number
        else:
            retired = version_folders(staging.rolled_back_folder(repository, name))
            number = choose_version(version, folders, [folder.number for folder in retired])
        live = _goes_live(entry, there | {number}, number, repository)
        before = frozenset(layout.policy_in(repository, name).live(there))
        publication = Publication(
            artifact=replace(artifact, signature=signature or artifact.signature),
            repository=repository,
            name=name,
            number=number,
            work=work,
            files=files,
            digests={**digests, **{placed: hashlib.sha256(content).hexdigest() for placed, content in made.items()}},
            made=made,
            record=record,
            entry=entry,
            entry_before=entry_before,
            server_files=server_files.changed_files(repository, wanted),
            new_model=not model_folder.exists() or not any(model_folder.iterdir()),
            new_version=not repeated,
            newest_mtime_ns=staging.newest_mtime_ns(model_folder),
            options=checked,
            live=live,
            warnings=(
                *_warnings(repository, name, entries, signature, newest, remark),
                *_batching_warnings(repository, name, signature, asked=wanted[server_files.BATCHING] is not None),
            ),
            before=before,
            keep=keep,
            server=server,
            sign=sign,
            to_serve=_to_serve(model_folder, number, record, entry, there, before, repeated=repeated),
        )
        if server is not None:
            _check_served(publication)
            server.look(publication.to_serve)
        if publication.new_version:
            needed = sum(source.stat().st_size for source in files.values()) + sum(map(len, made.values()))
            staging.check_space(work, needed)
        run(publication)
        return outcome(publication)


# --- what is decided before anything is written ---


def _given(section: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    return {option: options[option] for option in options_of(section) if option in options}


def _made(
    name: str,
    signature: Signature | None,
    record: Mapping[str, Any] | None,
    files: Mapping[str, Path],
    options: Mapping[str, Any],
) -> tuple[dict[str, bytes], str | None]:
    """The warm-up requests, and a remark where there are none; those that a model brings itself are left alone."""
    given = _given(warmup, options)
    if WARMUP in files:
        if any(given.values()):
            raise UsageError(
                "the model has warm-up requests of its own, which are not replaced",
                hint=f"leave warmup out, or remove {WARMUP} from the model",
            )
        return {}, None
    content, remark = warmup(name, signature, record, **given)
    return ({WARMUP: content} if content else {}), remark


def _entry(repository: Path, name: str, entries: dict[str, Entry], options: Mapping[str, Any]) -> Entry:
    before = entries.get(name)
    given = _given(layout.entry, options)
    if before is not None and before.labels and "version_policy" in given:
        raise UsageError(
            f"the labels of '{name}' ({', '.join(before.labels)}) decide which versions are served",
            hint=f"mlconvert labels {repository} {name} LABEL=VERSION",
        )
    return layout.entry(name, before, layout.mount_of(entries), **given)


def _check_text(repository: Path, entry: Entry) -> None:
    """Raise RepositoryInvalid where models.config cannot take the entry: before anything is written."""
    models_config.with_entry(models_config.read(repository), entry, where=str(repository / CONFIG))


def _goes_live(entry: Entry, numbers: frozenset[int], number: int, repository: Path) -> bool:
    """Whether the version policy serves that version. RepositoryInvalid where it would serve none at all."""
    live = entry.policy.live(numbers)
    if not live:
        raise RepositoryInvalid(
            f"the version policy of '{entry.name}' ({entry.policy}) would serve none of its "
            f"versions: {', '.join(map(str, sorted(numbers)))}",
            where=str(repository / CONFIG),
            hint=f"name one that there is, such as --set version_policy={number}",
        )
    return number in live


def _warnings(
    repository: Path,
    name: str,
    entries: Mapping[str, Entry],
    signature: Signature | None,
    newest: VersionFolder | None,
    remark: str | None,
) -> list[str]:
    found = [remark] if remark else []
    if signature is None:
        found.append(
            "the model has no signature 'serving_default' with tensors of known rank: requests have to name another"
        )
    if newest is not None and signature is not None:
        record = record_of(repository / name, newest.number)
        old = Signature.from_json(record["signature"]) if record and record.get("signature") else None
        changed = _changed_names(old, signature) if old else []
        if changed:
            found.append(
                f"the interface is not that of version {newest.number} ({', '.join(changed)}): clients that send "
                "what that took are refused"
            )
    if not entries and repository.is_dir():
        others = [other for other in layout.model_names(repository) if other != name]
        if others:
            found.append(
                f"{CONFIG} is new and names '{name}' alone: a server that reads it does not serve {', '.join(others)}"
            )
    return found


def _batching_warnings(repository: Path, name: str, signature: Signature | None, *, asked: bool) -> list[str]:
    """The settings of batches are for all models of the server, so a model that cannot batch is in them, too."""
    if signature is None or not (asked or (repository / server_files.BATCHING).is_file()):
        return []
    reasons, _ = reasons_not_to_batch(signature)
    return [
        f"a server with {server_files.BATCHING} cannot answer '{name}': {reason}, so requests cannot be joined"
        for reason in reasons[:1]
    ]


def _changed_names(old: Signature, new: Signature) -> list[str]:
    found = []
    for side, before, now in (("input", old.inputs, new.inputs), ("output", old.outputs, new.outputs)):
        was = {(spec.name, spec.dtype, len(spec.shape)) for spec in before}
        found += sorted(f"{side} '{key[0]}'" for key in was ^ {(s.name, s.dtype, len(s.shape)) for s in now})
    return list(dict.fromkeys(found))


def _to_serve(
    model_folder: Path,
    number: int,
    record: Mapping[str, Any] | None,
    entry: Entry,
    there: frozenset[int],
    before: frozenset[int],
    *,
    repeated: bool,
) -> Change:
    return Change(
        name=model_folder.name,
        there=there,
        served=frozenset(entry.policy.live(there | {number})),
        checked=(number,),
        record_of=lambda asked: record if asked == number else record_of(model_folder, asked),
        back=None if repeated else before,
    )


def _check_served(publication: Publication) -> None:
    """Raise RepositoryInvalid where the policy would not serve the version: a server could not be asked for it."""
    if publication.live:
        return
    number, name, labels = publication.number, publication.name, publication.entry.labels
    hint = f"give it a number above {max(publication.to_serve.there)}, or leave the number out"
    if labels:
        again = f"mlconvert labels {publication.repository} {name} {next(iter(labels))}={number} --load URL"
        hint = f"publish it without --load, then: {again}"
    raise RepositoryInvalid(
        f"the version policy of '{name}' ({publication.entry.policy}) would not serve version {number}: "
        "no server could be asked for it",
        where=str(publication.repository / CONFIG),
        hint=hint,
    )
