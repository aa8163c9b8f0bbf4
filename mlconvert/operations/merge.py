"""Merging engines that a user names, which were built on several kinds of GPU, into one model of a repository."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlconvert import packages, records
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.formats import source_artifact
from mlconvert.operations.signing import Signer
from mlconvert.registry import registry
from mlconvert.report.contents import shown
from mlconvert.repositories import repository_in, repository_named
from mlconvert.repositories.triton.engine_sets import Built
from mlconvert.repositories.triton.merging import merge as merge_into


def merge(
    repository: str | Path,
    built: Sequence[str | Path],
    *,
    name: str,
    version: int | None = None,
    options: Mapping[str, Any] | None = None,
    sign: str | Path | None = None,
) -> dict[str, Any]:
    """Put the engines, and an ONNX model where one is named, into the Triton model `name`; what was done, for a report.

    `sign` is the file of a private key, with which the version is signed.

    Raises UsageError (no engine, two for one GPU, one without a record, a repository in an object store, a key of no
    use), RepositoryInvalid (engines that do not belong together, that no server loads, or that changed since their
    record was written), ConversionFailed (a damaged file), OutOfResources, MissingPackage.
    """
    if "://" in str(repository):
        what = f"{repository}: engines are merged in a folder"
        raise UsageError(what, hint="merge into a folder, and copy that to the store")
    row, place = repository_named("triton"), Path(repository)
    packages.require(row.packages, f"merging into a repository of {row.title}")
    there = repository_in(place) if place.is_dir() else None
    if there is not None and there is not row:
        raise RepositoryInvalid(f"this is a repository of {there.title}, not of {row.title}", where=str(place))
    found = [
        Built(*records.with_record(source_artifact(str(location), formats=registry().formats))) for location in built
    ]
    signer = Signer(sign) if sign is not None else None
    done = merge_into(found, place, name, version=version, options=options or {}, sign=signer)
    return {"repository": shown(place), **done.as_json(), "path": shown(done.path), "signed": signer is not None}
