"""Versions that leave a repository, by a rollback or because a server did not take them: they are put aside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories import staging
from mlconvert.repositories.trials import Change, Server, try_out
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


class Published(Protocol):
    """What taking a publishing back needs to know of it; `server` is None where none was asked."""

    @property
    def repository(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def work(self) -> Path: ...
    @property
    def new_model(self) -> bool: ...
    @property
    def new_version(self) -> bool: ...
    @property
    def changes(self) -> bool: ...
    @property
    def server(self) -> Server | None: ...
    @property
    def to_serve(self) -> Change: ...


def have_it_served(publication: Published, undo: Callable[[], str]) -> None:
    """With a server: it takes the version, or `undo` puts the repository back."""
    server = publication.server
    if server is None:
        return
    if not publication.changes and publication.number in server.before:
        server.take(publication.to_serve)  # it served this very version before: there is nothing to take back
    else:
        try_out(server, publication.to_serve, undo)


def takes_version_out(publication: Published) -> bool:
    """Whether the version has to go.

    One of an earlier publishing, which may have died before its server was asked, goes where the server can then
    serve what it served before.
    """
    if publication.new_version:
        return True
    served = publication.server.before if publication.server else frozenset()
    return bool(served) and served <= publication.to_serve.there - {publication.number}


def put_aside(publication: Published, version_folder: Path) -> str:
    """Take a version out that the server did not take; words that say where it is kept.

    Where it may have answered somebody it is kept, and its number is not given again. A new one that was never loaded
    gives its number back: a server that remembers the failure forgets it with the next.
    """
    if publication.new_version and publication.server is not None and not publication.server.loaded:
        version_folder.rename(publication.work / f"failed-{version_folder.name}")
        return ""
    away = staging.rolled_back_folder(publication.repository, publication.name)
    staging.make_folders(away)
    goal = free_name(away, version_folder.name)
    version_folder.rename(goal)
    staging.sync(away)
    return f" (its version {publication.number} is kept in {goal})" if publication.new_model else f" (kept in {goal})"
