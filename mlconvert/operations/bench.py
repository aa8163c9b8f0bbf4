"""`mlconvert bench`: a source and what became of it, proven to answer alike and then measured side by side."""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlconvert import packages, records
from mlconvert.artifact import Artifact
from mlconvert.benchmarking import contest
from mlconvert.benchmarking.contest import Entry, Settings
from mlconvert.benchmarking.ways import ways_of
from mlconvert.errors import OutOfResources, ParityFailed, UsageError
from mlconvert.execution.cached_jobs import CachedJobs, Event, Made, Observer, surroundings
from mlconvert.execution.ensemble_runner import check_models
from mlconvert.execution.jobs import Children
from mlconvert.execution.verification import (
    Reference,
    input_contract,
    make_answers,
    make_samples,
    require_samples,
    tolerances_for,
    verify_artifact,
    why_failed,
)
from mlconvert.formats import source_artifact, source_sha256
from mlconvert.operations.bench_report import Asked, Proven, report_of
from mlconvert.operations.prove import with_signature
from mlconvert.operations.wire import names_between
from mlconvert.parity.tolerance import Tolerances, defaults_for
from mlconvert.recipe import LimitsSpec, ParitySpec, SamplesSpec
from mlconvert.registry import registry
from mlconvert.report.contents import shown
from mlconvert.serving.locations import SERVED
from mlconvert.signature import Signature

TURN_SECONDS = 0.05  # a turn of calls of one row, or of batches: many turns say more than long ones
WARM_SECONDS = 1.0
BATCH_BYTES = 256 << 20  # of a batch's inputs, at most


def bench(asked: Asked, observer: Observer) -> dict[str, Any]:
    """The report, schema `mlconvert.bench/1`.

    Raises UsageError or MissingPackage before anything runs; ParityFailed for an artifact that answers otherwise than
    the source: that is not benched; what a contestant raised, named after it; OutOfResources where one hangs, or a
    disk is full.
    """
    begun = time.monotonic()
    for name, number in (("batch", asked.batch), ("starts", asked.starts), ("rounds", asked.rounds)):
        if number < 1:
            raise UsageError(f"--{name} {number} is not valid: expected at least 1")
    cpus = _cpus(asked.threads)
    require_samples(SamplesSpec(file=asked.samples))
    weights = str(asked.weights) if asked.weights else None
    source = source_artifact(asked.source, weights=weights, trusted=asked.trust, formats=registry().formats)
    found = [_artifact(location, asked) for location in asked.artifacts]
    for artifact in (source, *(artifact for artifact, _ in found)):
        check_models(artifact)
        registry().runner(artifact.format).require()
    children = Children(LimitsSpec())
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
        try:
            run = CachedJobs(children, Path(scratch) / "jobs", observer)
            made = make_samples(run, "bench", source, source_sha256(source), SamplesSpec(file=asked.samples))
            proven = list(_proven(run, asked, source, found, made))
            rows = _batch(asked.batch, made)
            settings = Settings(asked.threads, cpus, asked.starts, asked.rounds, rows, TURN_SECONDS, WARM_SECONDS)
            entries, skipped = _entries(proven, settings, made)
            observer(Event("start", "bench", "measuring"))
            measured = time.monotonic()
            results, left_out = contest.hold(
                [entry for entry, _ in entries],
                settings,
                Path(scratch) / "contest",
                lambda text: observer(Event("progress", "bench", "measuring", note=text)),
            )
            observer(Event("done", "bench", "measuring", time.monotonic() - measured))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OutOfResources(f"no space is left in {scratch}", hint="free some space, or set TMPDIR") from error
        except BaseException:
            children.stop()
            raise
    skipped |= {name: error.message for name, error in left_out.items()}
    for one in proven:
        names = [entry.name for entry, owner in entries if owner is one]
        if names and set(names) <= set(left_out):
            raise left_out[names[0]]
    return report_of(asked, proven, entries, results, skipped, settings, made, time.monotonic() - begun)


# --- before anything is measured ---


def _cpus(threads: int) -> tuple[int, ...]:
    """The CPUs to measure on: the last ones, since the first serves most interrupts."""
    own = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    if not 1 <= threads <= len(own):
        raise UsageError(f"--threads {threads}: this process may use {len(own)} CPUs", hint=f"--threads {len(own)}")
    return tuple(own[-threads:])


def _artifact(location: str, asked: Asked) -> tuple[Artifact, Mapping[str, Any]]:
    scheme, colon, rest = location.partition("://")
    if colon and scheme in ("http", "https", "grpc"):
        what = f"'{location}' does not say what kind of server answers there"
        raise UsageError(what, hint=f"triton+{'grpc' if scheme == 'grpc' else 'http'}://{rest}, with the model's name")
    artifact, record = records.with_record(source_artifact(location, trusted=asked.trust, formats=registry().formats))
    return artifact, record or {}


def _proven(
    run: CachedJobs,
    asked: Asked,
    source: Artifact,
    found: Sequence[tuple[Artifact, Mapping[str, Any]]],
    made: Made,
) -> Iterator[Proven]:
    """The source, then each artifact when its answers were compared with the source's. Raises ParityFailed."""
    digest = source_sha256(source)
    told = made.result["signature"]
    reference = Reference(source, digest, made)
    known = replace(source, signature=Signature.from_json(told) if told else None)
    close = Tolerances(defaults_for("float32"))  # the very same model, but in batches of other lengths
    yield Proven(known, digest, make_answers(run, "bench", reference, {}), close, None)
    for artifact, record in found:
        tested = _with_signature(run, artifact)
        if tested.format in SERVED and told and tested.signature is not None:
            tested = replace(tested, renamed=names_between(told, tested.signature))
        promised = record.get("facts", {}).get("tolerance")
        parity_spec = ParitySpec(rtol=asked.rtol, atol=asked.atol)
        tolerances = tolerances_for(parity_spec, record.get("precision", "float32"), promised=promised)
        served = tested.format in SERVED
        sha = source_sha256(tested)
        key = f"{sha} at {time.time_ns()}" if served else sha  # what a server answers may change at any time
        parity = verify_artifact(run, "bench", f"verify {_name(tested)}", tested, key, reference, tolerances).result[
            "parity"
        ]
        if not parity["ok"]:
            what = f"it answers otherwise than the source, so it is not benched: {why_failed(parity)}"
            hint = f"mlconvert verify {asked.source} {shown(tested.location)}"
            raise ParityFailed(what, where=shown(tested.location), hint=hint)
        answers = make_answers(run, "bench", reference, input_contract(tested))
        yield Proven(tested, sha, answers, tolerances, parity)


def _with_signature(run: CachedJobs, artifact: Artifact) -> Artifact:
    if artifact.signature is not None:
        return artifact
    if artifact.format in SERVED:
        return replace(artifact, signature=registry().runner(artifact.format).signature(artifact))
    return with_signature(run, artifact)


def _batch(rows: int, made: Made) -> int:
    """As many rows as were asked for, fewer where they would not fit into BATCH_BYTES."""
    size = sum((made.folder / name).stat().st_size for name in made.files) / max(1, made.result["rows"])
    return max(1, min(rows, int(BATCH_BYTES / max(1.0, size))))


def _entries(
    proven: Sequence[Proven], settings: Settings, made: Made
) -> tuple[list[tuple[Entry, Proven]], dict[str, str]]:
    """All ways of all models, with names that tell them apart; and why others are left out."""
    names = _names([one.artifact for one in proven])
    entries: list[tuple[Entry, Proven]] = []
    left_out: dict[str, str] = {}
    for one, name in zip(proven, names, strict=True):
        for way in ways_of(one.artifact.format):
            called = f"{name}, {way.name}" if way.name else name
            missing = [package for package in way.packages if not packages.installed(package)]
            if missing:
                left_out[called] = f"not installed: {packages.install_command(missing)}"
                continue
            request = {
                "artifact": one.artifact.as_json(),
                "way": way.name,
                "samples": str(made.folder),
                "rows": (made.result["rows"] - made.result["boundary"]) or made.result["rows"],
                "reference": str(one.answers.folder),
                "tolerances": one.tolerances.as_json(),
                "threads": settings.threads,
                "cpus": list(settings.cpus),
                "batch": settings.batch,
                **surroundings(one.artifact),
            }
            entries.append((Entry(called, request), one))
    return entries, left_out


def _names(artifacts: Sequence[Artifact]) -> list[str]:
    """The shortest end of each path that no other has; a server's location whole; `#2` for one that is named twice."""
    ends = [shown(one.location).split("/") if one.format not in SERVED else [one.location] for one in artifacts]
    names: list[str] = []
    for index, parts in enumerate(ends):
        others = [other for at, other in enumerate(ends) if at != index and other != parts]
        length = next(
            (n for n in range(1, len(parts)) if all(other[-n:] != parts[-n:] for other in others)), len(parts)
        )
        name = "/".join(parts[-length:])
        again = sum(known == name or known.startswith(f"{name} #") for known in names)
        names.append(f"{name} #{again + 1}" if again else name)
    return names


def _name(artifact: Artifact) -> str:
    return artifact.location if artifact.format in SERVED else artifact.path.name
