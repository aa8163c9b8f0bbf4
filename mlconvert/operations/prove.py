"""`mlconvert verify`: an artifact proven against a reference model, or against the rows that its own record keeps.

The artifact may be a model that a server serves. It is asked over the wire, and never from the cache: what a server
answers may change at any time.
"""

from __future__ import annotations

import errno
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact
from mlconvert.errors import MlconvertError, OutOfResources, ParityFailed
from mlconvert.execution.cached_jobs import CachedJobs, Made, Observer, code_versions, surroundings
from mlconvert.execution.ensemble_runner import check_models
from mlconvert.execution.jobs import Children
from mlconvert.execution.verification import (
    Reference,
    make_samples,
    require_samples,
    tolerances_for,
    verify_artifact,
    why_failed,
)
from mlconvert.formats import source_artifact, source_sha256
from mlconvert.operations.wire import names_between, served_names
from mlconvert.parity.tolerance import Tolerance, Tolerances
from mlconvert.recipe import LimitsSpec, ParitySpec, SamplesSpec
from mlconvert.registry import registry
from mlconvert.report.contents import report_of, shown
from mlconvert.serving.locations import SERVED
from mlconvert.signature import Signature


def prove_against(
    reference: str,
    candidate: str,
    *,
    samples: Path | None,
    rtol: float | None,
    atol: float | None,
    weights: Path | None,
    trust: bool,
    observer: Observer,
    started: float,
) -> dict[str, Any]:
    """Run both models on the samples and compare; the report.

    A served model is compared on the rows of the reference's record where no samples are given and it keeps some.
    Raises UsageError or MissingPackage before anything runs; what fails later is told in the report.
    """
    require_samples(SamplesSpec(file=samples))
    source = source_artifact(
        reference, weights=str(weights) if weights else None, trusted=trust, formats=registry().formats
    )
    tested, record = records.with_record(source_artifact(candidate, trusted=trust, formats=registry().formats))
    for artifact in (source, tested):
        check_models(artifact)
    source, of_source = records.with_record(source) if tested.format in SERVED else (source, None)
    parity = ParitySpec(rtol=rtol, atol=atol)
    kept = record or of_source or {}
    promised = kept.get("facts", {}).get("tolerance")
    tolerances = tolerances_for(parity, kept.get("precision", "float32"), promised=promised)
    digest = source_sha256(source)
    by_rows = samples is None and bool((of_source or {}).get("rows"))
    for artifact in (tested,) if by_rows else (source, tested):
        registry().runner(artifact.format).require()
    if tested.format in SERVED:
        tested = replace(tested, signature=registry().runner(tested.format).signature(tested))
    if by_rows and of_source is not None:
        assert tested.signature is not None
        named = replace(tested, renamed=served_names(of_source, tested.signature))
        compared = _by_rows(named, of_source, _given(of_source, rtol, atol))
        return _report(*_source_of(of_source), tested, compared, observer, started)

    def compare(run: CachedJobs) -> Mapping[str, Any]:
        made = make_samples(run, "verify", source, digest, SamplesSpec(file=samples))
        known = tested if tested.signature is not None else with_signature(run, tested)
        if tested.format in SERVED and known.signature is not None:
            known = replace(known, renamed=names_between(made.result["signature"], known.signature))
        sha = _key(tested, source_sha256(tested))
        reference = Reference(source, _key(source, digest), made)
        return verify_artifact(run, "verify", "verify", known, sha, reference, tolerances).result

    return _report(source, digest, tested, compare, observer, started)


def prove_by_rows(
    location: str, *, rtol: float | None, atol: float | None, trust: bool, observer: Observer, started: float
) -> dict[str, Any]:
    """Run an artifact on the rows of its record and compare with the source's answers that are kept there."""
    tested, record = records.with_record(source_artifact(location, trusted=trust, formats=registry().formats))
    check_models(tested)
    records.require_rows(record, location)
    assert record is not None
    registry().runner(tested.format).require()
    compare = _by_rows(tested, record, _given(record, rtol, atol))
    return _report(*_source_of(record), tested, compare, observer, started)


def _source_of(record: Mapping[str, Any]) -> tuple[Artifact, str]:
    """Whose answers a record keeps, and its digest."""
    told = record["source"]
    return Artifact(told["format"], told["path"], ()), told["sha256"]


def _given(record: Mapping[str, Any], rtol: float | None, atol: float | None) -> Tolerances:
    """The record's tolerances, with what the user asks for in their place."""
    kept = Tolerances.from_json(record["tolerances"])
    single = {} if rtol is not None or atol is not None else kept.outputs
    return Tolerances(
        Tolerance(kept.default.rtol if rtol is None else rtol, kept.default.atol if atol is None else atol), single
    )


def _by_rows(
    tested: Artifact, record: Mapping[str, Any], tolerances: Tolerances
) -> Callable[[CachedJobs], Mapping[str, Any]]:
    """What runs an artifact on the rows of a record, and compares with the answers beside them."""
    rows = record["rows"]

    def compare(run: CachedJobs) -> Mapping[str, Any]:
        unpacked = run.get("verify", "rows", {"job": "rows", "rows": rows}, lambda: {"job": "rows", "rows": rows})
        digests = {name: sha for name, sha in unpacked.files.items() if name.startswith("samples/")}
        request = {
            "job": "verify",
            "candidate": tested.as_json(),
            "samples": str(unpacked.folder / "samples"),
            "samples_sha256": Made({}, digests, unpacked.folder, 0, 0, cached=True).sha256,
            "reference": str(unpacked.folder / "reference"),
            "boundary": 0,
            "tolerances": tolerances.as_json(),
        }
        known = _key(tested, record["sha256"])
        told = {"candidate": known, "trusted": tested.trusted, "rows": unpacked.sha256}
        key = {**request, "samples": "", "reference": "", **told}  # what was run on trust is not handed out without it
        return run.get("verify", "verify", key, lambda: request).result

    return compare


def _key(artifact: Artifact, sha256: str) -> str:
    """What the cache knows an artifact's answers by: a server's are new each time."""
    return f"{sha256} at {time.time_ns()}" if artifact.format in SERVED else sha256


def with_signature(run: CachedJobs, artifact: Artifact) -> Artifact:
    """The artifact with what it takes and gives, as its runner reads it in a child process."""
    sha = source_sha256(artifact)
    request = {"job": "inspect", "source": artifact.as_json(), **surroundings(artifact)}
    key = {
        "job": "inspect",
        "source": sha,
        "trusted": artifact.trusted,
        "versions": code_versions(registry().runner(artifact.format)),
    }
    told = run.get("verify", "inspect", key, lambda: request).result["signature"]
    return replace(artifact, signature=Signature.from_json(told) if told else None)


def _report(
    source: Artifact,
    digest: str,
    tested: Artifact,
    compare: Callable[[CachedJobs], Mapping[str, Any]],
    observer: Observer,
    started: float,
) -> dict[str, Any]:
    step: dict[str, Any] = {
        "converter": "verify",
        "options": {},
        "seconds": 0.0,
        "peak_rss_bytes": 0,
        "cached": False,
        "parity": None,
    }
    entry: dict[str, Any] = {
        "name": "verify",
        "path": shown(tested.location),
        "format": tested.format,
        "sha256": source_sha256(tested),
        "bytes": sum(path.stat().st_size for path in tested.files) if tested.files else None,
        "ok": False,
        "exit_code": MlconvertError.exit_code,
        "steps": [step],
    }
    children = Children(LimitsSpec())
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
        begun = time.monotonic()
        try:
            parity = step["parity"] = compare(CachedJobs(children, Path(scratch), observer))["parity"]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            full = OutOfResources(f"no space is left in {scratch}", hint="free some space, or set TMPDIR")
            entry |= {"exit_code": full.exit_code, "error": full.as_json()}
        except MlconvertError as error:
            entry |= {"exit_code": error.exit_code, "error": error.as_json()}
        except BaseException:
            children.stop()
            raise
        else:
            failed = None if parity["ok"] else ParityFailed(why_failed(parity), where=shown(tested.location))
            entry |= {"ok": parity["ok"], "exit_code": failed.exit_code if failed else 0}
            if failed:
                entry["error"] = failed.as_json()
        step["seconds"] = time.monotonic() - begun
    return report_of(source, digest, [entry], [registry().runner(tested.format)], time.monotonic() - started)
