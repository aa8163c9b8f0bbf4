"""The versions of a model in a Triton repository, and the way back to an older one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.labels import check_none_leaves
from mlconvert.repositories.leaving import bring_back, move_aside, rollback_target, settle
from mlconvert.repositories.trials import Change, Server, stand_in, try_out
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import backend_of
from mlconvert.repositories.triton.configuring import drop_checksums, put_config
from mlconvert.repositories.triton.labels import labels_of
from mlconvert.repositories.triton.layout import existing_model
from mlconvert.repositories.versions import (
    RolledBack,
    Version,
    VersionFolder,
    describe,
    model_files,
    plain_versions,
    record_of,
    version_folders,
)


def versions(repository: Path, name: str) -> tuple[Version, ...]:
    """The versions of a model, oldest first.

    Raises UsageError for an unknown model, RepositoryInvalid, MissingPackage.
    """
    repository, model_folder = existing_model(repository, name)
    with staging.disk_errors(f"cannot read '{name}'", repository):
        config = config_of(model_folder)
        live = cfg.live_versions(config, [folder.number for folder in version_folders(model_folder)])
        labels = labels_of(config)
        return tuple(describe(folder, live, labels) for folder in plain_versions(model_folder))


def rollback(
    repository: Path,
    name: str,
    version: int | None = None,
    *,
    server: Server | None = None,
    wait_seconds: float = staging.WAIT_SECONDS,
) -> RolledBack:
    """Make `version` (by default the one before the newest) the newest again.

    The newer ones are renamed away, the newest last, so that nothing in between is ever served; the result says
    where they are. With `server`, that server has to serve the older version, or the newer ones come back.

    Raises RepositoryInvalid when there is no older version or the version policy would not serve it, UsageError for
    an unknown model or version, and what the server raises.
    """
    repository, model_folder = existing_model(repository, name)
    with (
        staging.disk_errors(f"cannot roll '{name}' back", repository),
        staging.exclusive(repository, name, wait_seconds=wait_seconds) as work,
    ):
        folders = version_folders(model_folder)
        target = rollback_target(folders, name, version)
        config = config_of(model_folder)
        labels = labels_of(config)
        left = [folder.number for folder in folders if folder.number <= target.number]
        leaving = [folder for folder in folders if folder.number > target.number]
        served = cfg.live_versions(config, left)
        numbers = [folder.number for folder in leaving]
        where = str(model_folder / cfg.CONFIG)
        check_none_leaves(labels, numbers, target.number, name=name, repository=repository, where=where)
        if target.number not in served:
            raise RepositoryInvalid(
                f"the version policy of '{name}' ({cfg.policy_text(config)}) would not serve version {target.number}",
                where=str(model_folder / cfg.CONFIG),
                hint=f"write version_policy {{ specific {{ versions: {target.number} }} }} there: that is the rollback",
            )
        check_fits(config, target, name)
        change = Change(
            name=name,
            there=frozenset(folder.number for folder in folders),
            served=frozenset(served),
            checked=(target.number,),
            record_of=lambda number: record_of(model_folder, number),
            stand_in=stand_in(model_folder, work),
            back=frozenset(cfg.live_versions(config, [folder.number for folder in folders])),
        )
        if server is not None:
            server.look(change)
        before = staging.newest_mtime_ns(model_folder)
        config_before = (model_folder / cfg.CONFIG).read_bytes() if (model_folder / cfg.CONFIG).is_file() else None
        drop_checksums(config, model_folder, numbers, work, before)
        moved = move_aside(leaving, repository, name)
        settle(repository, name, before)
        if server is not None:
            try_out(server, change, lambda: _bring_back(model_folder, moved, config_before, work))
        return RolledBack(
            name, target.number, folders[-1].number, tuple((folder.number, goal) for folder, goal in moved)
        )


def _bring_back(
    model_folder: Path, moved: list[tuple[VersionFolder, Path]], config_before: bytes | None, work: Path
) -> str:
    """Undo a rollback that the server did not take."""
    before = staging.newest_mtime_ns(model_folder)
    bring_back(moved)
    path = model_folder / cfg.CONFIG
    if config_before is not None and path.read_bytes() != config_before:
        put_config(path, config_before, work, before)
    staging.touch(model_folder, before)
    staging.sync(model_folder)
    return f"Version {moved[-1][0].path.name} is the newest in the repository again."


def check_fits(config: Any, target: VersionFolder, name: str) -> None:
    """Raise RepositoryInvalid or ConversionFailed unless the server would load the version."""
    if not model_files(target.path):
        raise RepositoryInvalid(f"version {target.number} of '{name}' has no model", where=str(target.path))
    row = backend_of(config)
    if row is None:
        return
    backend = row.load()
    signature = backend.published_signature(target.path, config)
    if signature is None:  # only the backend's framework could read it
        return
    found = [problem for problem in backend.misfits(config, signature, name) if not problem.omitted]
    if found:
        what = f"version {target.number} of '{name}' does not fit the configuration: "
        raise RepositoryInvalid(what + "; ".join(map(str, found)), where=str(target.path))


def config_of(model_folder: Path) -> Any:
    path = model_folder / cfg.CONFIG
    return cfg.read(path) if path.is_file() else cfg.model_config()
