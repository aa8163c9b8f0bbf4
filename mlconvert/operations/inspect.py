"""What `mlconvert inspect` tells of a model. Files that could run code are read, never loaded, unless trusted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mlconvert import packages, records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import MlconvertError
from mlconvert.execution.cached_jobs import surroundings
from mlconvert.execution.jobs import Children
from mlconvert.formats import source_artifact, source_sha256
from mlconvert.formats.pickles import read_pickle, starts_like_pickle
from mlconvert.recipe import LimitsSpec
from mlconvert.registry import registry
from mlconvert.report.contents import shown


def inspect_artifact(location: str, *, trust: bool = False) -> dict[str, Any]:
    """Format, files, digest, signature, pickle contents and record of a model.

    Raises UsageError or ConversionFailed when it cannot be recognised. A signature that cannot be read (a package is
    missing, the file needs trust) is None, with the reason under `why_no_signature`.
    """
    artifact = source_artifact(location, trusted=trust, formats=registry().formats)
    described, record = records.with_record(artifact)
    signature, why = None, None
    if described.signature is not None:
        signature = described.signature.as_json()
    else:
        try:
            signature = _read_signature(artifact)
            why = "the model does not say what it takes before it sees samples" if signature is None else None
        except MlconvertError as error:
            why = error.message
    return {
        "schema": "mlconvert.inspection/1",
        "path": shown(artifact.location),
        "format": artifact.format,
        "sha256": source_sha256(artifact),
        "files": [
            {"path": path.name, "sha256": file_sha256(path), "bytes": path.stat().st_size} for path in artifact.files
        ],
        "signature": signature,
        "why_no_signature": why,
        "pickle": _pickle(artifact),
        "record": {key: value for key, value in record.items() if key != "rows"} if record else None,
    }


def _read_signature(artifact: Artifact) -> dict[str, Any] | None:
    runner = registry().runner(artifact.format)
    packages.require(runner.packages, f"reading the signature of {artifact.format}")
    children = Children(LimitsSpec())
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
        try:
            request = {"job": "inspect", "source": artifact.as_json(), **surroundings(artifact)}
            signature: dict[str, Any] | None = children.run("inspect", request, Path(scratch) / "inspect").result[
                "signature"
            ]
        except BaseException:
            children.stop()
            raise
    return signature


def _pickle(artifact: Artifact) -> dict[str, Any] | None:
    if not artifact.files or artifact.format not in ("sklearn", "pickle"):
        return None
    with artifact.files[0].open("rb") as stream:
        if not starts_like_pickle(stream.read(16)) and artifact.files[0].suffix == ".skops":
            return None
    summary = read_pickle(artifact.files[0])
    return {
        "outermost": summary.outermost,
        "globals": [str(name) for name in summary.globals],
        "dangerous": [str(name) for name in summary.dangerous],
    }
