"""`mlconvert samples`: generated samples as a file of the user's."""

from __future__ import annotations

from pathlib import Path

from mlconvert import packages
from mlconvert.errors import UsageError
from mlconvert.execution import outputs
from mlconvert.execution.cached_jobs import CachedJobs, Observer
from mlconvert.execution.jobs import Children
from mlconvert.execution.verification import make_samples
from mlconvert.formats import source_artifact, source_sha256
from mlconvert.recipe import LimitsSpec, SamplesSpec
from mlconvert.registry import registry

SUFFIXES = (".npz", ".npy", ".csv", ".parquet")


def generate_file(
    source: str, output: Path, *, count: int, kind: str = "random", seed: int, trust: bool, observer: Observer
) -> int:
    """Write `count` rows drawn from the source's signature, or at the thresholds of its trees; returns their number.

    Raises UsageError (the file exists, or its suffix is no sample format) and NotVerified (the source does not say
    what it takes, or takes strings, for which nothing sensible can be drawn; of the kind `boundary`: it has no trees).
    """
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{output}: samples are written as {', '.join(SUFFIXES)}")
    if output.exists():
        raise UsageError(f"{output} exists", hint="choose another -o, or move it away")
    artifact = source_artifact(source, trusted=trust, formats=registry().formats)
    packages.require(registry().runner(artifact.format).packages, f"reading the signature of {artifact.format}")
    children = Children(LimitsSpec())
    with outputs.claimed(output) as scratch:
        run = CachedJobs(children, scratch, observer)
        try:
            # Nothing is put behind random rows: the user asked for this kind of rows, in this number.
            spec = SamplesSpec(count=count, seed=seed, kind=kind, boundary=0)
            made = make_samples(run, "samples", artifact, source_sha256(artifact), spec)
            request = {"job": "export-samples", "samples": str(made.folder), "filename": output.name}
            request["signature"] = made.result["signature"]
            key = {"job": "export-samples", "samples": made.sha256, "filename": output.name}
            written = run.get("samples", "write", key, lambda: request)
        except BaseException:
            children.stop()
            raise
        staged = scratch / "samples-file"
        staged.write_bytes((written.folder / output.name).read_bytes())
        staged.replace(output)
    rows: int = made.result["rows"]
    return rows
