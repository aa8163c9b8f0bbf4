"""The versions of a model in a Triton repository, and the way back to an older one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories import staging
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.layout import BACKENDS, existing_model
from mlconvert.repositories.versions import (
    RolledBack,
    Version,
    VersionFolder,
    describe,
    plain_versions,
    version_folders,
)


def versions(repository: Path, name: str) -> tuple[Version, ...]:
    """The versions of a model, oldest first.

    Raises UsageError for an unknown model, RepositoryInvalid, MissingPackage.
    """
    repository, model_folder = existing_model(repository, name)
    with staging.disk_errors(f"cannot read '{name}'", repository):
        config = _config_of(model_folder)
        live = cfg.live_versions(config, [folder.number for folder in version_folders(model_folder)])
        return tuple(describe(folder, live=folder.number in live) for folder in plain_versions(model_folder))


def rollback(
    repository: Path, name: str, version: int | None = None, *, wait_seconds: float = staging.WAIT_SECONDS
) -> RolledBack:
    """Make `version` (by default the one before the newest) the newest again.

    The newer ones are renamed away, the newest last, so that nothing in between is ever served; the result says
    where they are. Raises RepositoryInvalid when there is no older version or the version policy would not serve it,
    UsageError for an unknown model or version.
    """
    repository, model_folder = existing_model(repository, name)
    with (
        staging.disk_errors(f"cannot roll '{name}' back", repository),
        staging.exclusive(repository, name, wait_seconds=wait_seconds),
    ):
        folders = version_folders(model_folder)
        target = _rollback_target(folders, name, version)
        config = _config_of(model_folder)
        left = [folder.number for folder in folders if folder.number <= target.number]
        if target.number not in cfg.live_versions(config, left):
            raise RepositoryInvalid(
                f"the version policy of '{name}' ({cfg.policy_text(config)}) would not serve version {target.number}",
                where=str(model_folder / cfg.CONFIG),
                hint=f"write version_policy {{ specific {{ versions: {target.number} }} }} there: that is the rollback",
            )
        _check_fits(config, target, name)
        before = staging.newest_mtime_ns(model_folder)
        away = staging.rolled_back_folder(repository, name)
        staging.make_folders(away)
        moved = []
        for folder in folders:
            if folder.number > target.number:
                goal = _free_name(away, folder.path.name)
                folder.path.rename(goal)
                moved.append((folder.number, goal))
        staging.touch(model_folder, before)
        for folder_path in (model_folder, away):
            staging.sync(folder_path)
        return RolledBack(name, target.number, folders[-1].number, tuple(moved))


def _rollback_target(folders: list[VersionFolder], name: str, version: int | None) -> VersionFolder:
    plain = [folder for folder in folders if folder.plain]
    listed = ", ".join(str(folder.number) for folder in plain) or "none"
    if version is None:
        if len(plain) < 2:
            raise RepositoryInvalid(f"'{name}' has no older version to go back to (versions: {listed})")
        return plain[-2]
    for folder in plain:
        if folder.number == version:
            if folder.number == folders[-1].number:
                raise RepositoryInvalid(f"version {version} of '{name}' is the newest one already")
            return folder
    raise UsageError(f"'{name}' has no version {version}", hint=f"its versions: {listed}")


def _check_fits(config: Any, target: VersionFolder, name: str) -> None:
    """Raise RepositoryInvalid or ConversionFailed unless the server would load the version."""
    for backend in BACKENDS.values():
        if config.backend == backend.BACKEND:
            signature = backend.published_signature(target.path)
            if signature is None:
                raise RepositoryInvalid(f"version {target.number} of '{name}' has no model", where=str(target.path))
            found = [problem for problem in backend.misfits(config, signature, name) if not problem.omitted]
            if found:
                what = f"version {target.number} of '{name}' does not fit the configuration: "
                raise RepositoryInvalid(what + "; ".join(map(str, found)), where=str(target.path))


def _free_name(folder: Path, number: str) -> Path:
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    candidates = (folder / f"{number}-{when}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(path for path in candidates if not path.exists())


def _config_of(model_folder: Path) -> Any:
    path = model_folder / cfg.CONFIG
    return cfg.read(path) if path.is_file() else cfg.model_config()
