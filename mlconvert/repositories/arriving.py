"""A version that is to come into a repository: whether it is what its record says, or there already; its copy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.versions import VersionFolder, model_files


class Sign(Protocol):
    """What signs a version with a key; `confirm` refuses one that lies there already and is not signed with it."""

    def __call__(self, folder: Path) -> None: ...

    def confirm(self, folder: Path) -> None: ...


NOTHING: Mapping[str, bytes] = MappingProxyType({})


def checked_record(
    artifact: Artifact, record: Mapping[str, Any] | None, files: Mapping[str, Path], digests: Mapping[str, str]
) -> Mapping[str, Any] | None:
    """The record to publish (by default the one beside the artifact), after a check that it is of these very files.

    `files` are the model's, by their path in the version folder; `digests` are their sha256. Raises RepositoryInvalid.
    """
    where = artifact.location
    if record is None:
        found = records.find(artifact.path)
        if found is None:
            return None
        record, path = found
        where = str(path)
    recorded = {row["sha256"] for row in record.get("files", [])}
    changed = [source for placed, source in files.items() if digests[placed] not in recorded]
    if changed:
        raise RepositoryInvalid(
            f"{changed[0]} was changed after its record was written (sha256 differs)",
            where=where,
            hint="convert the model again, or remove the record if the new file is meant",
        )
    return record


def holds(
    folder: VersionFolder, files: Mapping[str, Path], digests: Mapping[str, str], made: Mapping[str, bytes] = NOTHING
) -> bool:
    """Whether the version has exactly these files, and those `made` for it; sizes are looked at before all is read."""
    there = model_files(folder.path)
    return (
        there.keys() == files.keys() | made.keys()
        and all(there[name].stat().st_size == source.stat().st_size for name, source in files.items())
        and all(there[name].stat().st_size == len(content) for name, content in made.items())
        and all(file_sha256(there[name]) == digests[name] for name in files)
        and all(there[name].read_bytes() == content for name, content in made.items())
    )


def place_version(
    version_folder: Path,
    files: Mapping[str, Path],
    digests: Mapping[str, str],
    made: Mapping[str, bytes] = NOTHING,
) -> None:
    """Copy the files into a staged version folder, and write those `made` for it. Raises RepositoryInvalid where one
    of them changed meanwhile, UsageError where one cannot be read.
    """
    for placed, source in files.items():
        target = version_folder / placed
        staging.make_folders(target.parent)
        if staging.copy_file(source, target) != digests[placed]:
            raise RepositoryInvalid("the model's file changed while it was being published", where=str(source))
    for placed, content in made.items():
        target = version_folder / placed
        staging.make_folders(target.parent)
        staging.write_bytes(content, target)


def place_record(
    record: Mapping[str, Any],
    artifact: Artifact,
    files: Mapping[str, Path],
    digests: Mapping[str, str],
    published: Mapping[str, Any],
) -> None:
    """Write the record beside the artifact that `place_version` has placed, with what is said of the publishing."""
    by_name = {
        path.relative_to(artifact.folder).as_posix(): digests[placed]
        for path, placed in zip(artifact.files, files, strict=True)
    }
    rows = records.described_files(artifact, by_name)
    written = {**record, "path": artifact.path.name, "files": rows, "published": published}
    if "sha256" in written:
        written["sha256"] = records.total_sha256(rows)
    records.write_json(artifact.folder / records.IN_FOLDER, written)
