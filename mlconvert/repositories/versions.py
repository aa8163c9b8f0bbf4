"""Version folders: folders named by a whole number, of which servers take the highest one to be the newest.

Servers do not agree on other names: Triton reads `2.tmp` as version 2, TF-Serving ignores it; Triton ignores `02`,
TF-Serving reads it as 2. So only `1`, `2`, … are ever written here, while every name that some server takes for a
number keeps that number from being used again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from mlconvert import records
from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.errors import RepositoryInvalid, UsageError

LARGEST = (1 << 63) - 1  # servers keep the number in a signed 64-bit integer


@dataclass(frozen=True)
class VersionFolder:
    """`number` is what some server reads in the folder's name; `plain` says that all servers read it so."""

    number: int
    path: Path
    plain: bool


@dataclass(frozen=True)
class Version:
    """A version that lies in a repository. `files` are the model's, relative to the version folder."""

    number: int
    path: Path
    files: tuple[str, ...]
    bytes: int
    sha256: str
    published: datetime
    live: bool  # served, as far as the configuration's version policy goes
    record: Path | None
    labels: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "version": self.number,
            "path": str(self.path),
            "files": list(self.files),
            "bytes": self.bytes,
            "sha256": self.sha256,
            "published": self.published.isoformat(timespec="seconds"),
            "live": self.live,
            "record": str(self.record) if self.record else None,
            "labels": list(self.labels),
        }


@dataclass(frozen=True)
class PublishedVersion:
    """What `publish` did. `unchanged`: the newest version was this model already, and nothing was written.

    `config` says what became of the server's configuration; `live` is False when the version policy keeps an older
    (or a higher numbered) version in service. `artifact` is the model where it lies now. `removed` are the numbers of
    older versions that are gone. `warnings` are sentences for whoever publishes it.
    """

    name: str
    version: int
    path: Path
    artifact: Artifact
    config_path: Path
    config: Literal["written", "kept", "replaced"]
    bytes: int
    sha256: str
    unchanged: bool
    live: bool
    removed: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "path": str(self.path),
            "files": [str(path) for path in self.artifact.files],
            "config": {"path": str(self.config_path), "state": self.config},
            "bytes": self.bytes,
            "sha256": self.sha256,
            "unchanged": self.unchanged,
            "live": self.live,
            "removed": list(self.removed),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class RolledBack:
    """What `rollback` did: `version` is the newest one again, `moved` says where the newer ones went."""

    name: str
    version: int
    previous: int
    moved: tuple[tuple[int, Path], ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "version": self.version,
            "previous": self.previous,
            "moved": [{"version": number, "path": str(path)} for number, path in self.moved],
        }


@dataclass(frozen=True)
class Labelled:
    """The labels of a model's versions; the versions in service, as far as the configuration goes, now and before."""

    name: str
    labels: Mapping[str, int]
    live: frozenset[int]
    before: frozenset[int]
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "labels": dict(self.labels),
            "live": sorted(self.live),
            "before": sorted(self.before),
            "warnings": list(self.warnings),
        }


def version_folders(model_folder: Path) -> list[VersionFolder]:
    """The folders that some server takes for versions, lowest number first; an empty list when there is no folder."""
    found = []
    for entry in os.scandir(model_folder) if model_folder.is_dir() else ():
        digits = re.match(r"[0-9]+", entry.name)
        if digits and entry.is_dir():
            number = int(digits[0])
            found.append(VersionFolder(number, Path(entry.path), plain=entry.name == str(number) and number > 0))
    return sorted(found, key=lambda folder: (folder.number, folder.path.name))


def plain_versions(model_folder: Path) -> list[VersionFolder]:
    return [folder for folder in version_folders(model_folder) if folder.plain]


def choose_version(asked: int | None, folders: Iterable[VersionFolder], retired: Iterable[int] = ()) -> int:
    """The number of a new version: the one asked for, else one more than the highest there is or was.

    `retired` are numbers of versions that were rolled back: they are not given out again by themselves, so that one
    number never means two models to those who wrote it down.
    """
    by_number = {folder.number: folder for folder in folders}
    following = max([0, *by_number, *retired]) + 1
    if asked is None:
        if following > LARGEST:
            raise RepositoryInvalid(f"no version number is left above {following - 1}")
        return following
    if not 1 <= asked <= LARGEST:
        raise UsageError(f"version {asked} is not a version number: expected a whole number from 1 on")
    if asked in by_number:
        taken = by_number[asked]
        what = (
            f"version {asked} exists and is never overwritten"
            if taken.plain
            else f"the folder '{taken.path.name}' is taken for version {asked} by a server"
        )
        raise RepositoryInvalid(what, where=str(taken.path), hint=f"leave the version out to publish as {following}")
    return asked


def free_name(folder: Path, number: str) -> Path:
    """A path in the folder that is not taken, for a version that is put aside: its number and the time."""
    when = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    candidates = (folder / f"{number}-{when}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(path for path in candidates if not path.exists())


# --- what a version folder holds ---


def model_files(version_folder: Path) -> dict[str, Path]:
    """The files of a version folder without record and signature, by their path relative to it, in a stable order."""
    found = {}
    for path in sorted(version_folder.rglob("*")):
        if path.is_file() and path.name not in records.BESIDE:
            found[path.relative_to(version_folder).as_posix()] = path
    return found


def digest(files: dict[str, Path]) -> str:
    return combine_sha256((name, file_sha256(path)) for name, path in files.items())


def record_path(version_folder: Path) -> Path | None:
    """Where the record of a version is: beside the model's main file, which may have a folder of its own."""
    return next(iter(sorted(version_folder.rglob(records.IN_FOLDER), key=lambda path: len(path.parts))), None)


def record_of(model_folder: Path, number: int) -> dict[str, Any] | None:
    """The record of a version, where it has one."""
    path = record_path(model_folder / str(number))
    return records.read(path) if path else None


def describe(folder: VersionFolder, live: Collection[int], labels: Mapping[str, int]) -> Version:
    """The version in that folder; `live` are the numbers of those in service, `labels` lead to numbers."""
    files = model_files(folder.path)
    return Version(
        number=folder.number,
        path=folder.path,
        files=tuple(files),
        bytes=sum(path.stat().st_size for path in files.values()),
        sha256=digest(files),
        # A rename keeps the time that the staged folder was stamped with.
        published=datetime.fromtimestamp(folder.path.stat().st_mtime, UTC),
        live=folder.number in live,
        record=record_path(folder.path),
        labels=tuple(label for label, number in labels.items() if number == folder.number),
    )
