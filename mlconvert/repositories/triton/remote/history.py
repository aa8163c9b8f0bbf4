"""The versions of a model in an object store, the way back, and labels: one write of config.pbtxt each."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlconvert.artifact import combine_sha256
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories.labels import check_wishes
from mlconvert.repositories.remote import RemoteRepository, connect
from mlconvert.repositories.trials import Server
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.labels import labels_of, relabelled
from mlconvert.repositories.triton.remote import claims
from mlconvert.repositories.triton.remote.files import (
    check_version,
    digests_of,
    record_of,
    refuse_server,
    write_config,
)
from mlconvert.repositories.triton.remote.results import RemoteVersion
from mlconvert.repositories.triton.remote.state import (
    RemoteModel,
    alike,
    as_meant,
    existing,
    is_beside,
    is_record,
    pinned,
    policy_of,
)
from mlconvert.repositories.versions import Labelled, RolledBack


def versions(repository: RemoteRepository, name: str) -> tuple[RemoteVersion, ...]:
    """The versions of a model, oldest first. Raises UsageError for an unknown model, RepositoryInvalid."""
    model = existing(connect(repository), name)
    labels: dict[int, list[str]] = {}
    for label_name, number in labels_of(model.config).items():
        labels.setdefault(number, []).append(label_name)
    return tuple(_described(model, number, tuple(labels.get(number, ()))) for number in sorted(model.whole))


def rollback(
    repository: RemoteRepository, name: str, version: int | None = None, *, server: Server | None = None
) -> RolledBack:
    """Take the versions above `version` (by default, above the one before the newest) out of service.

    Nothing is moved or removed. Raises RepositoryInvalid when there is no older version or the configuration does not
    fit it, UsageError for an unknown model or version.
    """
    refuse_server(server)
    model = existing(connect(repository), name)
    claims.finish(model)
    if labels_of(model.config):
        raise RepositoryInvalid(
            f"the labels of '{name}' decide which versions are served",
            where=f"{model.where}/{cfg.CONFIG}",
            hint=f"mlconvert labels {repository} {name} LABEL=VERSION",
        )
    newest = max(model.live, default=0)
    target = _rollback_target(model, newest, version)
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
        check_version(model, target, Path(scratch))

    def back(current: RemoteModel) -> Any:
        if not alike(current.config, model.config) or target not in current.whole:
            raise RepositoryInvalid(f"'{name}' was changed meanwhile", where=current.where, hint="run it again")
        live = {number for number in current.live if number < target} | {target}
        policy = policy_of(current.config)
        if policy.startswith("latest "):
            live = set(sorted(live)[-int(policy.split()[1]) :])
        return pinned(current.config, live, policy, current.whole)

    write_config(model, back)
    return RolledBack(name, target, newest, ())


def label(
    repository: RemoteRepository,
    name: str,
    put: Mapping[str, int],
    remove: Sequence[str] = (),
    *,
    every: bool = False,
    server: Server | None = None,
) -> Labelled:
    """Set labels of versions and remove others; without either, say which there are. One write of config.pbtxt.

    Raises UsageError for an unknown model, version or label, RepositoryInvalid when a labelled version does not fit
    the configuration.
    """
    refuse_server(server)
    model = existing(connect(repository), name)
    check_wishes(put, remove)
    if not put and not remove and not every:
        return Labelled(name, labels_of(model.config), model.live, model.live)
    claims.finish(model)
    wanted = relabelled(as_meant(model.config), name, model.whole, put=put, remove=remove, every=every)
    coming = frozenset(cfg.live_versions(wanted, model.whole))
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
        for number in sorted(coming - model.live):
            check_version(model, number, Path(scratch))

    def labelled(current: RemoteModel) -> Any:
        if not alike(current.config, model.config) or not coming <= current.whole:
            raise RepositoryInvalid(f"'{name}' was changed meanwhile", where=current.where, hint="run it again")
        return pinned(wanted, coming, policy_of(wanted), current.whole)

    before, after = write_config(model, labelled)
    return Labelled(name, labels_of(wanted), after.live, before.live)


def _described(model: RemoteModel, number: int, labels: tuple[str, ...]) -> RemoteVersion:
    files = model.files(number)
    record = record_of(model, number)
    names = [name for name in files if not is_beside(name)]
    found = next((name for name in files if is_record(name)), None)
    return RemoteVersion(
        number=number,
        path=f"{model.where}/{number}",
        files=tuple(names),
        bytes=sum(files[name].size for name in names),
        sha256=combine_sha256(digests_of(model, number, record).items()),
        published=max(found.modified for found in files.values()),
        live=number in model.live,
        record=f"{model.where}/{number}/{found}" if found and record is not None else None,
        labels=labels,
    )


def _rollback_target(model: RemoteModel, newest: int, version: int | None) -> int:
    older = sorted(number for number in model.whole if number < newest)
    listed = ", ".join(map(str, sorted(model.whole))) or "none"
    if version is None:
        if not older:
            raise RepositoryInvalid(f"'{model.name}' has no older version to go back to (versions: {listed})")
        return older[-1]
    if version not in model.whole:
        raise UsageError(f"'{model.name}' has no version {version}", hint=f"its versions: {listed}")
    if version == newest:
        raise RepositoryInvalid(f"version {version} of '{model.name}' is the newest one in service already")
    return version
