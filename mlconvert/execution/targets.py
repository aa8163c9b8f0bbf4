"""One target of a run: its steps made and verified, its artifact placed with its record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.converter import option_files, options_of
from mlconvert.errors import MlconvertError, ParityFailed
from mlconvert.execution import outputs
from mlconvert.execution.cached_jobs import CachedJobs, Made, code_versions, surroundings
from mlconvert.execution.jobs import HERE
from mlconvert.execution.planned_hardware import first_bound
from mlconvert.execution.planned_targets import PlannedTarget
from mlconvert.execution.verification import Precise, Reference, tolerances_for, verify_artifact, why_failed
from mlconvert.plan import PlannedStep
from mlconvert.registry import registry
from mlconvert.report.contents import environment, shown
from mlconvert.version import __version__


@dataclass(frozen=True)
class Finished:
    """What the steps of a target made, and how it was verified: the parts of its record."""

    artifact: Artifact
    made: Made
    precise: Precise
    proof: Mapping[str, Any]  # parity, rows and tolerances, where it was verified

    @property
    def sha256(self) -> str:
        return self.made.sha256


def entry_of(name: str, destination: outputs.Destination, format_name: str) -> dict[str, Any]:
    """A target's entry of the report, before anything is known."""
    return {
        "name": name,
        "path": shown(destination.main),
        "format": format_name,
        "sha256": None,
        "bytes": None,
        "ok": False,
        "exit_code": MlconvertError.exit_code,
        "steps": [],
    }


def told(entry: dict[str, Any], error: MlconvertError) -> None:
    """Write into a target's entry what it failed of."""
    entry |= {"ok": False, "exit_code": error.exit_code, "error": error.as_json()}


def make_target(
    run: CachedJobs,
    target: PlannedTarget,
    source: Artifact,
    digest: str,
    make_samples: Callable[[], Made],
    entry: dict[str, Any],
) -> Finished:
    """Make every step of a target and verify it, telling the entry of each; nothing is placed.

    Raises what ends the target: ParityFailed among others.
    """
    name, verify = target.spec.name, target.spec.parity.verify
    source_digest = digest
    samples = make_samples() if verify or target.plan.needs_samples else None
    artifact, proof, precise = source, dict[str, Any](), Precise()
    bound, hardware, like = first_bound(target.plan), None, None
    for index, step in enumerate(target.plan.steps):
        last = index + 1 == len(target.plan.steps)
        if index == bound:
            hardware = target.spec.hardware or HERE
        made = _convert(run, target, step, artifact, digest, samples, last=last, hardware=hardware, like=like)
        like = made.machine or like
        artifact, digest = made.artifact(), made.sha256
        precise = precise.after(step.converter, artifact)
        row = step_entry(step.converter.id, step.options, made)
        entry["steps"].append(row)
        if verify and samples is not None:
            tolerances = tolerances_for(target.spec.parity, precise.precision, promised=precise.promised, last=last)
            reference = Reference(source, source_digest, samples)
            verified = verify_artifact(
                run,
                name,
                f"verify {step.name}",
                artifact,
                digest,
                reference,
                tolerances,
                hardware=hardware,
                like=like,
            )
            proof = dict(verified.result)
            proof["tolerances"] = tolerances.as_json()
            row["parity"] = proof["parity"]
            if not proof["parity"]["ok"]:
                where = f"step '{step.name}' ({step.converter.id})"
                raise ParityFailed(why_failed(proof["parity"]), where=where)
    return Finished(artifact, made, precise, proof)


def _convert(
    run: CachedJobs,
    target: PlannedTarget,
    step: PlannedStep,
    source: Artifact,
    digest: str,
    samples: Made | None,
    *,
    last: bool,
    hardware: str | None,
    like: str | None,
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
    files = option_files(options_of(converter.load()), step.options)
    if files:  # what is in them counts, too
        key["files"] = [file_sha256(path) for path in files]
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

    return run.get(
        target.spec.name,
        step.name,
        key,
        lambda: request,
        placed_before if last else None,
        bound=converter.hardware_bound,
        hardware=hardware,
        like=like,
    )


def _reader_versions(format_name: str) -> dict[str, str]:
    """Of the runner that reads the result's signature; a format without one can still be made, unverified."""
    runner = next((row for row in registry().runners if row.format == format_name), None)
    return code_versions(runner) if runner else {}


def step_entry(converter: str, options: Mapping[str, Any], made: Made) -> dict[str, Any]:
    """A step as reports and records have it; `node` is the machine of a cluster that made it."""
    ran = made.result.get("ran")
    return {
        "converter": converter,
        "options": dict(options),
        "seconds": made.seconds,
        "peak_rss_bytes": made.peak_rss_bytes,
        "cached": made.cached,
        "parity": None,
        **({"node": ran["node"]} if ran else {}),
    }


def place_target(
    run: CachedJobs,
    target: PlannedTarget,
    finished: Finished,
    entry: dict[str, Any],
    source: Mapping[str, Any],
    *,
    alone: bool,
) -> None:
    """Write the artifact and its record to the destination. `alone`: no other target needs the files of its steps."""
    artifact, made = finished.artifact, finished.made
    record = record_of(artifact, made.files, entry["steps"], source, finished.precise.precision, finished.proof)
    ran = made.result.get("ran")
    record["environment"] = ran["environment"] if ran else environment(target.rows)

    def fill(staged: Path) -> None:
        for path in artifact.files:
            name = path.relative_to(artifact.folder)
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            if alone and made.fresh is not None:
                (made.fresh / path.relative_to(made.folder)).rename(staged / name)  # no other target needs it
            else:
                shutil.copyfile(path, staged / name)

    put(run, target.spec.name, target.destination, record, entry, fill)


def record_of(
    artifact: Artifact,
    digests: Mapping[str, str],
    steps: list[dict[str, Any]],
    source: Mapping[str, Any],
    precision: str,
    proof: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of an artifact; its environment is the caller's to say."""
    facts = dict(artifact.facts)
    machine = facts.pop("fingerprint", None)  # of what is hardware-bound: the machine that it was built on
    files = records.described_files(artifact, digests)
    return {
        "schema": records.SCHEMA,
        "format": artifact.format,
        "path": artifact.path.relative_to(artifact.folder).as_posix(),
        "sha256": records.total_sha256(files),
        "files": files,
        "signature": artifact.signature.as_json() if artifact.signature else None,
        "renamed": dict(artifact.renamed),
        "facts": facts,
        "source": source,
        "precision": precision,
        "tolerances": proof.get("tolerances"),
        "steps": [{key: value for key, value in row.items() if key not in ("parity", "cached")} for row in steps],
        "parity": proof.get("parity"),
        "rows": proof.get("rows"),
        "environment": None,
        "fingerprint": machine,
        "mlconvert": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def put(
    run: CachedJobs,
    name: str,
    destination: outputs.Destination,
    record: Mapping[str, Any],
    entry: dict[str, Any],
    fill: Callable[[Path], None],
) -> None:
    """Place what `fill` writes into a folder, with its record, unless just these are there already."""
    files = record["files"]
    entry |= {"sha256": record["sha256"], "bytes": sum(row["bytes"] for row in files)}
    entry["fingerprint"] = record["fingerprint"]  # the report's own: see report_of
    old = records.read(destination.record)
    if old is not None and records.same(old, json.loads(json.dumps(record))):
        folder = destination.record.parent
        if all((folder / row["path"]).is_file() for row in files):  # their digests were checked before the run
            return
    staged = run.scratch / f"placed-{name}"
    staged.mkdir()
    fill(staged)
    records.write_json(staged / destination.record.name, record)
    outputs.place(staged, destination, run.scratch)
