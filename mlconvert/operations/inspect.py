"""What `mlconvert inspect` tells of a model. Files that could run code are read, never loaded, unless trusted."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlconvert import packages, records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import MlconvertError
from mlconvert.execution.cached_jobs import surroundings
from mlconvert.execution.jobs import Children
from mlconvert.formats import source_artifact, source_sha256
from mlconvert.formats.pickles import read_pickle
from mlconvert.formats.skops_files import read_skops
from mlconvert.recipe import LimitsSpec
from mlconvert.registry import registry
from mlconvert.report.contents import shown


def inspect_artifact(location: str, *, trust: bool = False) -> dict[str, Any]:
    """Format, files, digest, signature, contents of a pickle or .skops file, and record of a model.

    Raises UsageError or ConversionFailed when it cannot be recognised. A signature that cannot be read (a package is
    missing, the file needs trust) is None, with the reason under `why_no_signature`. `pickle` and `skops` are None for
    other files; of a .skops file, `untrusted` is None where skops is not installed, which knows what it trusts itself.
    """
    artifact = source_artifact(location, trusted=trust, formats=registry().formats)
    described, record = records.with_record(artifact)
    signature, why, opened = None, None, False
    if described.signature is not None:
        signature = described.signature.as_json()
    else:
        try:
            signature = _read_signature(artifact)
            why = "the model does not say what it takes before it sees samples" if signature is None else None
            opened = not trust
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
        "skops": _skops(artifact, opened=opened),
        "record": {key: value for key, value in record.items() if key != "rows"} if record else None,
    }


def _read_signature(artifact: Artifact) -> dict[str, Any] | None:
    runner = registry().runner(artifact.format)
    packages.require(runner.packages, f"reading the signature of {artifact.format}")
    signature: dict[str, Any] | None = _asked("inspect", artifact)["signature"]
    return signature


def _asked(job: str, artifact: Artifact) -> Mapping[str, Any]:
    """What a child process finds out about the artifact."""
    children = Children(LimitsSpec())
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
        try:
            request = {"job": job, "source": artifact.as_json(), **surroundings(artifact)}
            return children.run(job, request, Path(scratch) / job).result
        except BaseException:
            children.stop()
            raise


def _is_skops(artifact: Artifact) -> bool:
    return artifact.format == "sklearn" and zipfile.is_zipfile(artifact.path)


def _pickle(artifact: Artifact) -> dict[str, Any] | None:
    if not artifact.files or artifact.format not in ("sklearn", "pickle", "statsmodels") or _is_skops(artifact):
        return None
    summary = read_pickle(artifact.files[0])
    return {
        "outermost": summary.outermost,
        "globals": [str(name) for name in summary.globals],
        "dangerous": [str(name) for name in summary.dangerous],
    }


def _skops(artifact: Artifact, *, opened: bool) -> dict[str, Any] | None:
    """What a .skops file names; `opened` says that it was opened without trust, so that nothing in it needs it."""
    if not _is_skops(artifact):
        return None
    summary = read_skops(artifact.path)
    untrusted: list[str] | None = []
    if not opened:
        untrusted = _asked("untrusted", artifact)["untrusted"] if packages.installed(packages.SKOPS) else None
    return {"outermost": summary.outermost, "types": list(summary.types), "untrusted": untrusted}
