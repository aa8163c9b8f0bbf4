"""Running recipes: the steps of each target in child processes, verified, recorded, placed and published.

samples      read or made, checked against the source's signature, kept as a folder of tensors
convert …    one child per edge of the plan
reference    the source's answers to the samples, once for all steps that see the inputs alike
verify …     each step's artifact run on the samples and compared with the reference
place        the last artifact and its record, renamed into the output folder
publish      into the repository, when every target of the recipe holds

The models of an ensemble are targets too; what is made of them together: mlconvert.execution.ensembles.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.errors import MlconvertError
from mlconvert.execution import cache, outputs
from mlconvert.execution.cached_jobs import CachedJobs, Event, Observer, unwatched
from mlconvert.execution.ensembles import run_ensemble
from mlconvert.execution.jobs import Children, Workers
from mlconvert.execution.planned import PlannedRun
from mlconvert.execution.planned_targets import PlannedTarget
from mlconvert.execution.targets import entry_of, make_target, place_target, told
from mlconvert.execution.verification import make_samples
from mlconvert.formats import source_sha256
from mlconvert.report.contents import report_of, source_of


def execute(
    planned: PlannedRun, *, jobs: int = 1, observer: Observer = unwatched, workers: Workers | None = None
) -> dict[str, Any]:
    """Run a planned recipe and return its report; the failures of targets are in it, not raised.

    `jobs`: how many child processes may run side by side, where no other `workers` are given. Raises UsageError when
    another run holds the output.
    """
    started = time.monotonic()
    with outputs.claimed(planned.out, inside=not planned.single) as scratch:
        for destination in planned.destinations:
            outputs.check(destination)  # again, now that no other run writes there
        workers = workers or Children(planned.recipe.limits, jobs)
        run = CachedJobs(workers, scratch, observer)
        with ThreadPoolExecutor(max_workers=len(planned.targets)) as pool:
            try:
                entries, source, digest = _run_all(run, planned, pool)
            except BaseException:
                workers.stop()
                raise
        _publish_all(planned, entries, observer)
    cache.prune()
    rows = [row for target in planned.targets for row in target.rows]
    return report_of(source, digest, entries, rows, time.monotonic() - started)


def _run_all(
    run: CachedJobs, planned: PlannedRun, pool: ThreadPoolExecutor
) -> tuple[list[dict[str, Any]], Artifact, str]:
    """The entries of all targets, and the source with its digest."""
    if planned.ensemble is not None:
        return run_ensemble(run, planned, planned.ensemble, pool)
    assert planned.source is not None
    digest = source_sha256(planned.source)
    futures = [pool.submit(_run_target, run, planned, target, digest) for target in planned.targets]
    return [future.result() for future in futures], planned.source, digest


def _run_target(run: CachedJobs, planned: PlannedRun, target: PlannedTarget, digest: str) -> dict[str, Any]:
    """One target's entry of the report; its failure is told there, with its exit code."""
    entry = entry_of(target.spec.name, target.destination, target.plan.target_format)
    source, spec = planned.source, planned.recipe.samples
    assert source is not None
    try:
        finished = make_target(
            run, target, source, digest, lambda: make_samples(run, target.spec.name, source, digest, spec), entry
        )
        alone = len(planned.targets) == 1
        place_target(run, target, finished, entry, source_of(source, digest), alone=alone)
    except MlconvertError as error:
        told(entry, error)
    else:
        entry |= {"ok": True, "exit_code": 0}
    return entry


def _publish_all(planned: PlannedRun, entries: list[dict[str, Any]], observer: Observer) -> None:
    """Publish what the recipe says to publish, when all its targets hold; the first failure stops it."""
    by_name = {entry["name"]: entry for entry in entries}
    if not all(entry["ok"] for entry in entries):
        for publication in planned.publications:
            if by_name[publication.target]["ok"]:
                by_name[publication.target]["not_published"] = "another target of the recipe failed"
        return
    for publication in planned.publications:
        from mlconvert.operations.publish import publish

        name, spec = publication.target, publication.spec
        entry = by_name[name]
        started = time.monotonic()
        repository = planned.repository_of(spec)
        observer(Event("start", name, "publish"))
        try:
            entry["published"] = publish(
                publication.destination.main,
                repository,
                to=spec.to,
                name=spec.name,
                version=spec.version,
                options=spec.options,
                sign=spec.sign,
            )
        except MlconvertError as error:
            entry |= {"ok": False, "exit_code": error.exit_code, "error": error.as_json()}
            observer(Event("failed", name, "publish", note=error.message))
            return
        note = f"{spec.name}/{entry['published']['version']}"
        done = Event("done", name, "publish", time.monotonic() - started, note=note)
        observer(done)
