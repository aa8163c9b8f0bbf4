"""The versions of a model in a TensorFlow Serving repository, and the way back to an older one."""

from __future__ import annotations

from pathlib import Path

from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.labels import check_none_leaves
from mlconvert.repositories.leaving import bring_back, move_aside, rollback_target, settle
from mlconvert.repositories.tf_serving.layout import entries_in, existing_model, policy_in
from mlconvert.repositories.tf_serving.models_config import CONFIG
from mlconvert.repositories.tf_serving.saved_models import check_whole, signatures_of
from mlconvert.repositories.trials import Change, Server, try_out
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
    """The versions of a model, oldest first. Raises UsageError for an unknown model, RepositoryInvalid."""
    repository, model_folder = existing_model(repository, name)
    with staging.disk_errors(f"cannot read '{name}'", repository):
        entry = entries_in(repository).get(name)
        labels = entry.labels if entry else {}
        live = policy_in(repository, name).live(folder.number for folder in version_folders(model_folder))
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

    The newer ones are renamed away, the newest last, so that nothing in between is ever served; the result says where
    they are. A server sees that within a second, whether it reads models.config again or not, and keeps the newer one
    in service until the older one is loaded. With `server`, that server has to serve it, or the newer ones come back.

    Raises RepositoryInvalid when there is no older version or the version policy would not serve it, UsageError for
    an unknown model or version, and what the server raises.
    """
    repository, model_folder = existing_model(repository, name)
    with (
        staging.disk_errors(f"cannot roll '{name}' back", repository),
        staging.exclusive(repository, name, wait_seconds=wait_seconds),
    ):
        folders = version_folders(model_folder)
        target = rollback_target(folders, name, version)
        entry = entries_in(repository).get(name)
        policy = policy_in(repository, name)
        leaving = [folder for folder in folders if folder.number > target.number]
        served = policy.live(folder.number for folder in folders if folder.number <= target.number)
        where = str(repository / CONFIG)
        numbers = [folder.number for folder in leaving]
        labels = entry.labels if entry else {}
        check_none_leaves(labels, numbers, target.number, name=name, repository=repository, where=where)
        if target.number not in served:
            hint = f"mlconvert labels {repository} {name} LABEL={target.number}: that is the rollback"
            if entry is None:
                hint = f"publish the model again: {CONFIG} has no entry for it, so nothing of it is served"
            raise RepositoryInvalid(
                f"the version policy of '{name}' ({policy}) would not serve version {target.number}",
                where=where,
                hint=hint,
            )
        check_fits(target, name)
        change = Change(
            name=name,
            there=frozenset(folder.number for folder in folders),
            served=frozenset(served),
            checked=(target.number,),
            record_of=lambda number: record_of(model_folder, number),
            back=frozenset(policy.live(folder.number for folder in folders)),
        )
        if server is not None:
            server.look(change)
        before = staging.newest_mtime_ns(model_folder)
        moved = move_aside(leaving, repository, name)
        settle(repository, name, before)
        if server is not None:
            try_out(server, change, lambda: _bring_back(model_folder, moved))
        return RolledBack(
            name, target.number, folders[-1].number, tuple((folder.number, goal) for folder, goal in moved)
        )


def _bring_back(model_folder: Path, moved: list[tuple[VersionFolder, Path]]) -> str:
    """Undo a rollback that the server did not take."""
    before = staging.newest_mtime_ns(model_folder)
    bring_back(moved)
    staging.touch(model_folder, before)
    staging.sync(model_folder)
    return f"Version {moved[-1][0].path.name} is the newest in the repository again."


def check_fits(target: VersionFolder, name: str) -> None:
    """Raise RepositoryInvalid unless a server could load the version."""
    files = model_files(target.path)
    if not files:
        raise RepositoryInvalid(f"version {target.number} of '{name}' has no model", where=str(target.path))
    check_whole(files, where=str(target.path))
    signatures_of(target.path / "saved_model.pb")
