"""Models whose files do not say what they take: their signature comes from their record, never from a guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import UsageError
from mlconvert.repositories.triton.description import Draft
from mlconvert.signature import Signature


def signature_of(artifact: Artifact, what: str, hint: str) -> Signature:
    """The recorded signature. Raises UsageError, with the hint, for an artifact without one."""
    if artifact.signature is None:
        raise UsageError(
            f"{what} does not say what it takes and gives (types, shapes), and no record beside it does",
            where=artifact.location,
            hint=hint,
        )
    return artifact.signature


def published_record(version_folder: Path, model_file: str) -> dict[str, Any] | None:
    """The record of a published model, if it is of just this file; else None."""
    main = version_folder / model_file
    found = records.find(main) if main.is_file() else None
    if found is None:
        return None
    record, path = found
    row = next((row for row in record["files"] if (path.parent / row["path"]).resolve() == main.resolve()), None)
    return record if row is not None and row["sha256"] == file_sha256(main) else None


def published_signature(version_folder: Path, model_file: str) -> Signature | None:
    record = published_record(version_folder, model_file)
    told = record.get("signature") if record else None
    return Signature.from_json(told) if told else None


def set_parameter(draft: Draft, key: str, value: str) -> None:
    draft.config.parameters[key].string_value = value


def flag(value: bool) -> str:
    return "true" if value else "false"
