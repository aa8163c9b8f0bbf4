"""Versions that leave a repository, by a rollback or because a server did not take them: they are put aside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories import staging
from mlconvert.repositories.trials import Server
from mlconvert.repositories.versions import VersionFolder, free_name


def rollback_target(folders: list[VersionFolder], name: str, version: int | None) -> VersionFolder:
    """The version that a rollback leads to: the one asked for, else the one before the newest.

    `folders` are all that some server takes for versions. Raises RepositoryInvalid, UsageError.
    """
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


def move_aside(leaving: Iterable[VersionFolder], repository: Path, name: str) -> list[tuple[VersionFolder, Path]]:
    """Rename the versions away, in the order given: the newest comes last, so that nothing in between is served."""
    away = staging.rolled_back_folder(repository, name)
    staging.make_folders(away)
    moved = []
    for folder in leaving:
        goal = free_name(away, folder.path.name)
        folder.path.rename(goal)
        moved.append((folder, goal))
    return moved


def settle(repository: Path, name: str, newest_mtime_ns: int) -> None:
    """Put the renames on the disk; a server that polls sees a newer time."""
    staging.touch(repository / name, newest_mtime_ns)
    for folder in (repository / name, staging.rolled_back_folder(repository, name)):
        staging.sync(folder)


def bring_back(moved: list[tuple[VersionFolder, Path]]) -> None:
    """Rename the versions back, the newest first: it is the one that was in service."""
    for folder, goal in reversed(moved):
        goal.rename(folder.path)


def put_aside(
    version_folder: Path, repository: Path, name: str, work: Path, server: Server | None, *, new: bool
) -> str:
    """Take a version out that a server did not take; words that say where it is kept.

    Where it may have answered somebody it is kept, and its number is not given again. A `new` one that was never
    loaded gives its number back: a server that remembers the failure forgets it with the next.
    """
    if new and server is not None and not server.loaded:
        version_folder.rename(work / f"failed-{version_folder.name}")
        return ""
    away = staging.rolled_back_folder(repository, name)
    staging.make_folders(away)
    goal = free_name(away, version_folder.name)
    version_folder.rename(goal)
    staging.sync(away)
    return f"kept in {goal}"
