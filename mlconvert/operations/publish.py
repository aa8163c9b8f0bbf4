"""Publishing an artifact that a user names, and looking at what was published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from mlconvert import packages, records
from mlconvert.errors import UsageError
from mlconvert.formats import source_artifact
from mlconvert.registry import registry
from mlconvert.report.contents import shown
from mlconvert.repositories import REPOSITORIES, repository_named


def publish(
    model: str | Path,
    repository: Path,
    *,
    to: str,
    name: str,
    version: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Publish a model file, or the folder or repository version that holds one; what was done, for a report.

    Raises UsageError (not publishable there), RepositoryInvalid (the files changed since their record was written, or
    the server would refuse them), MissingPackage and OutOfResources.
    """
    row = repository_named(to)
    artifact = source_artifact(str(model), formats=registry().formats)
    if artifact.format not in row.formats:
        raise UsageError(
            f"{model} is {artifact.format}; {row.title} takes {', '.join(row.formats)}",
            hint=f"mlconvert convert {model} --to {row.formats[0]}",
        )
    packages.require(row.packages, f"publishing to {row.title}")
    described, record = records.with_record(artifact)
    published = row.load().publish(described, repository, name, version=version, options=options or {}, record=record)
    done = published.as_json()
    return {
        "to": to,
        "repository": shown(repository),
        **done,
        "path": shown(done["path"]),
        "files": [shown(path) for path in done["files"]],
        "config": {**done["config"], "path": shown(done["config"]["path"])},
        "verified": bool(record and record.get("parity")),
    }


def layout_of(repository: Path) -> ModuleType:
    """The module of the layout that a repository has. Today there is one; a second will be told by its files."""
    row = REPOSITORIES[0]
    packages.require(row.packages, f"reading a repository of {row.title}")
    if not repository.is_dir():
        raise UsageError(f"{repository} is not a folder")
    return row.load()
