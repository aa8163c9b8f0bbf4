"""The record of an artifact: a JSON file beside it that says what it is, how it was made and how it was proven.

A model that is a file has its record beside it under the same name and `.json`; in a folder of its own the record is
`record.json`. The record names its files relative to its own folder, so that both can be moved together.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.signature import Signature

SCHEMA = "mlconvert.record/1"
IN_FOLDER = "record.json"
SIGNATURE = "model.sig"  # of all files of a published version, the record included
BESIDE = (IN_FOLDER, SIGNATURE)  # what is no file of the model
VOLATILE = ("created", "environment", "mlconvert")  # differ between two makings of the very same thing
VOLATILE_OF_STEPS = ("seconds", "peak_rss_bytes", "node")


def path_beside(model: Path) -> Path:
    """Where the record of a model file is."""
    return model.with_name(model.name + ".json")


def described_files(artifact: Artifact, digests: Mapping[str, str]) -> list[dict[str, Any]]:
    """The record's list of files: path relative to the artifact's folder, sha256, bytes."""
    rows = []
    for path in artifact.files:
        name = path.relative_to(artifact.folder).as_posix()
        rows.append({"path": name, "sha256": digests[name], "bytes": path.stat().st_size})
    return rows


def total_sha256(files: list[dict[str, Any]]) -> str:
    return combine_sha256((row["path"], row["sha256"]) for row in files)


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Whether two records say the same, times and surroundings apart."""
    return bool(_lasting(first) == _lasting(second))


def _lasting(record: Mapping[str, Any]) -> Any:
    kept = {key: value for key, value in record.items() if key not in VOLATILE}
    kept["steps"] = [
        {key: value for key, value in step.items() if key not in VOLATILE_OF_STEPS} for step in record.get("steps", [])
    ]
    return json.loads(json.dumps(kept))


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write strict JSON through a temporary file in the same folder, so that no reader sees half of it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    staged = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(data, stream, indent=1, allow_nan=False)
            stream.write("\n")
        staged.chmod(0o644)
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def read(path: Path) -> dict[str, Any] | None:
    """The record in that file, or None when there is no such file or it is not a record of ours.

    Raises UsageError when the file is there and cannot be read.
    """
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, RecursionError):
        return None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}", where=str(path)) from error
    return data if isinstance(data, dict) and data.get("schema") == SCHEMA and _is_sound(data) else None


def _is_sound(record: Mapping[str, Any]) -> bool:
    """Whether the record names files of its own folder: only those may be replaced, removed or published by it."""
    try:
        paths = [PurePosixPath(name) for name in (record["path"], *(row["path"] for row in record["files"]))]
        digests = [row["sha256"] for row in record["files"]]
    except (KeyError, TypeError):
        return False
    inside = all(not path.is_absolute() and ".." not in path.parts for path in paths)
    return inside and bool(digests) and all(isinstance(digest, str) for digest in digests)


def find(model: Path) -> tuple[dict[str, Any], Path] | None:
    """The record of a model file or folder and where it lies, or None."""
    for path in (path_beside(model), model.parent / IN_FOLDER, model / IN_FOLDER):
        record = read(path)
        if record is not None and (path.parent / record["path"]).resolve() == model.resolve():
            return record, path
    return None


def artifact_of(record: Mapping[str, Any], folder: Path) -> Artifact:
    """The artifact that a record in that folder describes."""
    signature = record.get("signature")
    return Artifact(
        format=record["format"],
        location=str(folder / record["path"]),
        files=tuple(folder / row["path"] for row in record["files"]),
        signature=Signature.from_json(signature) if signature else None,
        renamed=record.get("renamed", {}),
        facts=record.get("facts", {}),
    )


def with_record(artifact: Artifact) -> tuple[Artifact, dict[str, Any] | None]:
    """The artifact with what its record adds (signature, renamed tensors), and the record, if it has one.

    Raises RepositoryInvalid when a file is not the one that the record was written for.
    """
    found = find(artifact.path)
    if found is None:
        return artifact, None
    record, path = found
    for row in record["files"]:
        file = path.parent / row["path"]
        if not file.is_file():
            raise RepositoryInvalid(f"{file} is missing, but its record names it", where=str(path))
        if file_sha256(file) != row["sha256"]:
            raise RepositoryInvalid(
                f"{file} was changed after its record was written (sha256 differs)",
                where=str(path),
                hint=f"convert the model again, or remove {path} if the new file is meant",
            )
    described = artifact_of(record, path.parent)
    return replace(described, trusted=artifact.trusted), record


def require_rows(record: Mapping[str, Any] | None, location: str) -> Mapping[str, Any]:
    """The rows of a record. Raises UsageError where there is no record, or one without rows."""
    if record is None:
        raise UsageError(
            f"{location} has no record, so it cannot be tested by itself",
            hint=f"mlconvert verify REFERENCE {location} --samples FILE",
        )
    rows: Mapping[str, Any] | None = record.get("rows")
    if not rows:
        raise UsageError(
            f"the record of {location} keeps no rows: it was made without verification, or a row was too large to keep",
            hint=f"mlconvert verify REFERENCE {location} --samples FILE",
        )
    return rows
