"""Verification: samples for a source, its answers to them, and an artifact compared with those, each a cached job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlconvert.artifact import Artifact, file_sha256
from mlconvert.converter import MORE_OUTPUTS, Converter
from mlconvert.errors import UsageError, suggest
from mlconvert.execution.cached_jobs import CachedJobs, Made, code_versions, surroundings
from mlconvert.java import release_of
from mlconvert.parity.tolerance import Tolerance, Tolerances, defaults_for
from mlconvert.recipe import ParitySpec, SamplesSpec
from mlconvert.registry import registry
from mlconvert.signature import KINDS


@dataclass(frozen=True)
class Reference:
    """What an artifact is compared with: the source and its samples, as a folder of tensors."""

    source: Artifact
    sha256: str
    samples: Made


def require_samples(spec: SamplesSpec) -> None:
    """Raise UsageError unless the samples that are asked for can be had, as far as that shows before the work."""
    if spec.file is not None and not spec.file.is_file():
        near = ""
        if spec.file.parent.is_dir():
            near = suggest(spec.file.name, [path.name for path in spec.file.parent.iterdir()])
        raise UsageError(f"the samples' file {spec.file} does not exist.{near}")


@dataclass(frozen=True)
class Base:
    """Samples that are tensors already: what goes along the edges of an ensemble to one of its models.

    `names`: the model's input -> the tensor; None: all tensors, as they are called.
    """

    made: tuple[Made, ...]
    names: Mapping[str, str] | None

    @property
    def key(self) -> dict[str, Any]:
        return {"sha256": [made.sha256 for made in self.made], "names": self.names and dict(self.names)}

    @property
    def request(self) -> dict[str, Any]:
        return {"folders": [str(made.folder) for made in self.made], "names": self.names and dict(self.names)}


def make_samples(
    jobs: CachedJobs, target: str, source: Artifact, sha256: str, spec: SamplesSpec, base: Base | None = None
) -> Made:
    """The samples of a file, generated ones, or those of `base`, checked against what the source takes.

    Raises UsageError (they do not fit) or NotVerified (none can be made for this source).
    """
    require_samples(spec)
    file = spec.file.absolute() if spec.file else None
    drawn = {"count": spec.count, "seed": spec.seed, "kind": spec.kind, "boundary": spec.boundary}
    key = {
        "job": "samples",
        "source": sha256,
        "trusted": source.trusted,  # what was read on trust once is not handed out without it
        "file": file_sha256(file) if file else None,
        "suffix": file.suffix if file else None,
        "versions": _runner_versions(source.format),
        "base": base.key if base else None,
        **drawn,
    }
    request = {
        "job": "samples",
        "source": source.as_json(),
        "file": str(file) if file else None,
        "base": base.request if base else None,
        **drawn,
        **surroundings(source),
    }
    return jobs.get(target, "samples", key, lambda: request)


def verify_artifact(
    jobs: CachedJobs,
    target: str,
    label: str,
    candidate: Artifact,
    sha256: str,
    reference: Reference,
    tolerances: Tolerances,
    *,
    hardware: str | None = None,
    like: str | None = None,
) -> Made:
    """Compare an artifact with the reference; the job's result is `{parity, rows}`, as the worker gives them.

    `hardware` and `like` say where the artifact runs, as the terms of a job do.
    """
    contract = input_contract(candidate)
    outputs = candidate.signature.outputs if candidate.signature else ()
    more = sorted(spec.name for spec in outputs if spec.name in MORE_OUTPUTS)

    def answers() -> Made:
        return make_answers(jobs, target, reference, contract, more)

    key = {
        "job": "verify",
        **_answers_key(reference, contract, more),
        "candidate": sha256,
        "renamed": dict(candidate.renamed),
        "tolerances": tolerances.as_json(),
        "versions": _runner_versions(candidate.format),
    }

    def request() -> Mapping[str, Any]:
        answered = answers()
        return {
            "job": "verify",
            "candidate": candidate.as_json(),
            "samples": str(reference.samples.folder),
            "samples_sha256": reference.samples.sha256,
            "boundary": reference.samples.result["boundary"],
            "reference": str(answered.folder),
            "depends": answered.result["depends"],  # an answer of the user's own code holds as long as that code does
            "reference_signature": reference.samples.result["signature"],
            "tolerances": tolerances.as_json(),
            **surroundings(candidate),
        }

    return jobs.get(target, label, key, request, hardware=hardware, like=like)


def make_answers(
    jobs: CachedJobs, target: str, reference: Reference, contract: Mapping[str, str], more: Sequence[str] = ()
) -> Made:
    """What the source answers to the samples, with values in the dtypes of the contract (input -> dtype)."""
    request = {
        "job": "reference",
        "source": reference.source.as_json(),
        "samples": str(reference.samples.folder),
        "contract": dict(contract),
        "more": list(more),
        **surroundings(reference.source),
    }
    key = {"job": "reference", **_answers_key(reference, contract, more)}
    return jobs.get(target, "reference", key, lambda: request)


def _answers_key(reference: Reference, contract: Mapping[str, str], more: Sequence[str]) -> dict[str, Any]:
    return {
        "source": reference.sha256,
        "more": list(more),
        "trusted": reference.source.trusted,
        "samples": reference.samples.sha256,
        "contract": dict(contract),
        "source_versions": _runner_versions(reference.source.format),
    }


def input_contract(candidate: Artifact) -> dict[str, str]:
    """The dtype that the candidate takes for each input of the source, by the source's names.

    LightGBM compares float64 values; an artifact with float32 inputs can only ever see float32 ones. So the source
    is run on what the artifact sees.
    """
    if candidate.signature is None:
        return {}
    back = {new: old for old, new in candidate.renamed.items()}
    return {back.get(spec.name, spec.name): spec.dtype for spec in candidate.signature.inputs if spec.dtype in KINDS}


@dataclass(frozen=True)
class Precise:
    """What an artifact computes in, and how close to the source its converter promises it to be (rtol, atol).

    A step's row says so (float16), or the artifact that it made (an exact forest); a step that says nothing leaves
    it as it was.
    """

    precision: str = "float32"
    promised: Mapping[str, float] | None = None

    def after(self, converter: Converter, artifact: Artifact) -> Precise:
        stated = converter.precision or artifact.facts.get("precision")
        return Precise(stated, artifact.facts.get("tolerance")) if stated else self


def tolerances_for(
    parity: ParitySpec, precision: str, *, promised: Mapping[str, float] | None = None, last: bool = True
) -> Tolerances:
    """The precision's defaults with what the user set in their place; per-output ones hold for the last step only.

    `promised`: rtol and atol that the converter itself holds its result to, closer than its precision's.
    """
    default = Tolerance(**promised) if promised else defaults_for(precision)
    if parity.rtol is not None:
        default = replace(default, rtol=parity.rtol)
    if parity.atol is not None:
        default = replace(default, atol=parity.atol)
    single = {name: replace(default, **values) for name, values in parity.outputs.items()} if last else {}
    return Tolerances(default, single)


def why_failed(parity: Mapping[str, Any]) -> str:
    """The reasons of a failed parity in one line, naming the outputs."""
    return "; ".join(row["reason"] or f"output '{row['name']}' differs" for row in parity["outputs"] if not row["ok"])


def _runner_versions(format_name: str) -> dict[str, str]:
    runner = registry().runner(format_name)
    return code_versions(runner) | ({"java": release_of(runner.java) or ""} if runner.java else {})
