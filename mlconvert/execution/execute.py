"""Running recipes: the steps of each target in child processes, verified, recorded, placed and published.

samples      read or made, checked against the source's signature, kept as a folder of tensors
convert …    one child per edge of the plan
reference    the source's answers to the samples, once for all steps that see the inputs alike
verify …     each step's artifact run on the samples and compared with the reference
place        the last artifact and its record, renamed into the output folder
publish      into the repository, when every target of the recipe holds
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import MlconvertError, ParityFailed
from mlconvert.execution import cache, outputs
from mlconvert.execution.cached_jobs import CachedJobs, Event, Made, Observer, code_versions, surroundings, unwatched
from mlconvert.execution.jobs import Children
from mlconvert.execution.planned import PlannedRun, PlannedTarget
from mlconvert.execution.verification import (
    Precise,
    Reference,
    make_samples,
    tolerances_for,
    verify_artifact,
    why_failed,
)
from mlconvert.formats import source_sha256
from mlconvert.plan import PlannedStep
from mlconvert.registry import registry
from mlconvert.report.contents import environment, report_of, shown, source_of
from mlconvert.version import __version__


def execute(planned: PlannedRun, *, jobs: int = 1, observer: Observer = unwatched) -> dict[str, Any]:
    """Run a planned recipe and return its report; the failures of targets are in it, not raised.

    `jobs`: how many child processes may run side by side. Raises UsageError when another run holds the output.
    """
    started = time.monotonic()
    with outputs.claimed(planned.out, inside=not planned.single) as scratch:
        for target in planned.targets:
            outputs.check(target.destination)  # again, now that no other run writes there
        children = Children(planned.recipe.limits, jobs)
        run = CachedJobs(children, scratch, observer)
        digest = source_sha256(planned.source)
        with ThreadPoolExecutor(max_workers=len(planned.targets)) as pool:
            futures = [pool.submit(_run_target, run, planned, target, digest) for target in planned.targets]
            try:
                entries = [future.result() for future in futures]
            except BaseException:
                children.stop()
                raise
        _publish_all(planned, entries, observer)
    cache.prune()
    needed = [
        package for target in planned.targets for step in target.plan.steps for package in step.converter.packages
    ]
    return report_of(planned.source, digest, entries, needed, time.monotonic() - started)


def _run_target(run: CachedJobs, planned: PlannedRun, target: PlannedTarget, digest: str) -> dict[str, Any]:
    """One target's entry of the report; its failure is told there, with its exit code."""
    entry: dict[str, Any] = {
        "name": target.spec.name,
        "path": shown(target.destination.main),
        "format": target.plan.target_format,
        "sha256": None,
        "bytes": None,
        "ok": False,
        "exit_code": MlconvertError.exit_code,
        "steps": [],
    }
    try:
        _run_steps(run, planned, target, digest, entry)
    except MlconvertError as error:
        entry |= {"exit_code": error.exit_code, "error": error.as_json()}
    else:
        entry |= {"ok": True, "exit_code": 0}
    return entry


def _run_steps(run: CachedJobs, planned: PlannedRun, target: PlannedTarget, digest: str, entry: dict[str, Any]) -> None:
    name, verify = target.spec.name, target.spec.parity.verify
    source, source_digest = planned.source, digest
    samples = None
    if verify or target.plan.needs_samples:
        samples = make_samples(run, name, source, source_digest, planned.recipe.samples)
    artifact, outcome, precise = source, dict[str, Any](), Precise()
    for index, step in enumerate(target.plan.steps):
        last = index + 1 == len(target.plan.steps)
        made = _convert(run, target, step, artifact, digest, samples, last=last)
        artifact, digest = made.artifact(), made.sha256
        precise = precise.after(step.converter, artifact)
        row = _step_entry(step, made)
        entry["steps"].append(row)
        if verify and samples is not None:
            tolerances = tolerances_for(target.spec.parity, precise.precision, promised=precise.promised, last=last)
            reference = Reference(source, source_digest, samples)
            outcome = dict(verify_artifact(run, name, f"verify {step.name}", artifact, digest, reference, tolerances))
            outcome["tolerances"] = tolerances.as_json()
            row["parity"] = outcome["parity"]
            if not outcome["parity"]["ok"]:
                where = f"step '{step.name}' ({step.converter.id})"
                raise ParityFailed(why_failed(outcome["parity"]), where=where)
    alone = len(planned.targets) == 1
    outcome["precision"] = precise.precision
    _place(run, target, artifact, made, entry, outcome, source_of(source, source_digest), alone=alone)


def _convert(
    run: CachedJobs,
    target: PlannedTarget,
    step: PlannedStep,
    source: Artifact,
    digest: str,
    samples: Made | None,
    *,
    last: bool,
) -> Made:
    converter, main = step.converter, target.destination.main
    filename = main.name if last else registry().format(converter.target).filename
    used = samples if converter.uses_samples else None
    key = {
        "job": "convert",
        "converter": converter.id,
        "options": step.options,
        "source": digest,
        "trusted": source.trusted,
        "renamed": dict(source.renamed),
        "samples": used.sha256 if used else None,
        "filename": filename,
        "versions": {**code_versions(converter), **_reader_versions(converter.target)},
    }
    request = {
        "job": "convert",
        "converter": converter.id,
        "options": step.options,
        "source": source.as_json(),
        "samples": str(used.folder) if used else None,
        "filename": filename,
        **surroundings(source),
    }

    def placed_before(files: Mapping[str, str]) -> Path | None:
        folder = main.parent
        there = all((folder / name).is_file() and file_sha256(folder / name) == sha for name, sha in files.items())
        return folder if there else None

    return run.get(target.spec.name, step.name, key, lambda: request, placed_before if last else None)


def _reader_versions(format_name: str) -> dict[str, str]:
    """Of the runner that reads the result's signature; a format without one can still be made, unverified."""
    runner = next((row for row in registry().runners if row.format == format_name), None)
    return code_versions(runner) if runner else {}


def _step_entry(step: PlannedStep, made: Made) -> dict[str, Any]:
    return {
        "converter": step.converter.id,
        "options": dict(step.options),
        "seconds": made.seconds,
        "peak_rss_bytes": made.peak_rss_bytes,
        "cached": made.cached,
        "parity": None,
    }


def _place(
    run: CachedJobs,
    target: PlannedTarget,
    artifact: Artifact,
    made: Made,
    entry: dict[str, Any],
    outcome: Mapping[str, Any],
    source: Mapping[str, Any],
    *,
    alone: bool,
) -> None:
    """Write the artifact and its record to the destination, unless just these are there already."""
    files = records.described_files(artifact, made.files)
    record = {
        "schema": records.SCHEMA,
        "format": artifact.format,
        "path": artifact.path.relative_to(artifact.folder).as_posix(),
        "sha256": records.total_sha256(files),
        "files": files,
        "signature": artifact.signature.as_json() if artifact.signature else None,
        "renamed": dict(artifact.renamed),
        "facts": dict(artifact.facts),
        "source": source,
        "precision": outcome["precision"],
        "tolerances": outcome.get("tolerances"),
        "steps": [
            {key: value for key, value in row.items() if key not in ("parity", "cached")} for row in entry["steps"]
        ],
        "parity": outcome.get("parity"),
        "rows": outcome.get("rows"),
        "environment": environment(row for step in target.plan.steps for row in step.converter.packages),
        "fingerprint": None,
        "mlconvert": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    entry |= {"sha256": record["sha256"], "bytes": sum(row["bytes"] for row in files)}
    destination = target.destination
    old = records.read(destination.record)
    if old is not None and records.same(old, json.loads(json.dumps(record))):
        folder = destination.record.parent
        if all((folder / row["path"]).is_file() for row in files):  # their digests were checked before the run
            return
    staged = run.scratch / f"placed-{target.spec.name}"
    staged.mkdir()
    for path in artifact.files:
        name = path.relative_to(artifact.folder)
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        if alone and made.fresh is not None:
            (made.fresh / path.relative_to(made.folder)).rename(staged / name)  # no other target needs it
        else:
            shutil.copyfile(path, staged / name)
    records.write_json(staged / destination.record.name, record)
    outputs.place(staged, destination, run.scratch)


def _publish_all(planned: PlannedRun, entries: list[dict[str, Any]], observer: Observer) -> None:
    """Publish what the recipe says to publish, when all its targets hold; the first failure stops it."""
    chosen = [(target, entry) for target, entry in zip(planned.targets, entries, strict=True) if target.spec.publish]
    if not all(entry["ok"] for entry in entries):
        for _, entry in chosen:
            if entry["ok"]:
                entry["not_published"] = "another target of the recipe failed"
        return
    for target, entry in chosen:
        from mlconvert.operations.publish import publish

        spec = target.spec.publish
        assert spec is not None
        started = time.monotonic()
        repository = planned.repository_of(spec)
        observer(Event("start", target.spec.name, "publish"))
        try:
            entry["published"] = publish(
                target.destination.main,
                repository,
                to=spec.to,
                name=spec.name,
                version=spec.version,
                options=spec.options,
            )
        except MlconvertError as error:
            entry |= {"ok": False, "exit_code": error.exit_code, "error": error.as_json()}
            observer(Event("failed", target.spec.name, "publish", note=error.message))
            return
        note = f"{spec.name}/{entry['published']['version']}"
        done = Event("done", target.spec.name, "publish", time.monotonic() - started, note=note)
        observer(done)
