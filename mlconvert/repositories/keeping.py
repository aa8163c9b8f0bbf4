"""Which versions may go when only so many are to be kept, and how they go.

A version leaves the repository in one rename, into the staging folder, and is deleted there: whoever dies in between
leaves a repository without it, and the next publisher removes the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path

from mlconvert.errors import UsageError
from mlconvert.repositories.versions import VersionFolder


def check_keep(keep: int | None) -> None:
    if keep is not None and keep < 1:
        raise UsageError(f"--keep {keep}: expected 1 or more")


def superfluous(folders: Sequence[VersionFolder], keep: int, needed: Collection[int]) -> list[VersionFolder]:
    """The folders beyond the `keep` newest, oldest first, without those whose numbers are needed.

    Only folders that all servers read alike are versions of ours to remove.
    """
    plain = sorted((folder for folder in folders if folder.plain), key=lambda folder: folder.number)
    return [folder for folder in plain[: max(len(plain) - keep, 0)] if folder.number not in needed]


def oldest_aside(folders: Sequence[VersionFolder], keep: int) -> list[VersionFolder]:
    """The folders beyond the `keep` newest of those that were rolled back.

    The highest number stays among them: it is what tells that it was given out before.
    """
    return sorted(folders, key=lambda folder: (folder.number, folder.path.name))[: max(len(folders) - keep, 0)]


def remove(folders: Sequence[VersionFolder], work: Path) -> None:
    """Take the folders out of the repository, oldest first, and delete them. `work` is the staging folder."""
    goals = []
    for folder in folders:
        goal = work / f"removed-{folder.path.name}"
        folder.path.rename(goal)
        goals.append(goal)
    for goal in goals:
        shutil.rmtree(goal)
