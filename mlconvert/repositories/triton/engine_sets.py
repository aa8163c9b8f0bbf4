"""Engines of one model for several GPUs: which file each GPU gets, and the configurations that say so.

`cc_model_filenames` of the configuration tells GPUs of different compute capabilities apart, and no others. For
products of one compute capability there is a configuration each, `configs/<product>.pbtxt`, which a server is started
with (`--model-config-name`). Without that it loads the engine that was built for the fewest multiprocessors: that one
may load on all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.hardware.comparing import Build
from mlconvert.hardware.rules import own_findings
from mlconvert.readers.hardware_builds import build_of
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.backends import onnxruntime, tensorrt
from mlconvert.repositories.triton.config import CONFIG
from mlconvert.repositories.triton.description import Description

ONNX = "onnx"  # the configuration of the plain model
CARRIED = "ampere_plus"  # built to be loaded on GPUs of other compute capabilities, too
# What of the options holds for the plain model as well: how requests come, not what computes them.
_SHARED = (
    "max_batch_size", "version_policy", "max_queue_delay_us", "preferred_batch_sizes", "preserve_ordering",
    "max_queue_size", "queue_timeout_us", "response_cache",
)  # fmt: skip


@dataclass(frozen=True)
class Built:
    """An artifact that was handed in, and its record."""

    artifact: Artifact
    record: Mapping[str, Any] | None

    @property
    def location(self) -> str:
        return self.artifact.location


@dataclass(frozen=True)
class Engine:
    """An engine and its place: `file` in the version folder."""

    built: Built
    build: Build
    capability: str
    product: str  # for people
    label: str  # for file names
    multiprocessors: int
    carried: bool  # for every GPU that has no engine of its own

    @property
    def file(self) -> str:
        return tensorrt.MODEL_FILE if self.carried else f"model_{_short(self.capability)}_{self.label}.plan"


@dataclass(frozen=True)
class EngineSet:
    """All engines of a merge, by file name; `plain` is the ONNX model behind them, where there is one."""

    engines: tuple[Engine, ...]
    plain: Built | None

    @property
    def first(self) -> Engine:
        return self.engines[0]

    def by_capability(self, product: str | None = None) -> dict[str, str]:
        """`cc_model_filenames`: compute capability -> file, with those of the product (its label) before others."""
        chosen: dict[str, Engine] = {}
        for engine in sorted(self.engines, key=lambda one: (one.label != product, one.multiprocessors, one.label)):
            if not engine.carried:
                chosen.setdefault(engine.capability, engine)
        return {capability: chosen[capability].file for capability in sorted(chosen)}

    def products(self) -> list[Engine]:
        """The engines that need a configuration of their own: their compute capability has several products."""
        own = [engine for engine in self.engines if not engine.carried]
        return [one for one in own if sum(other.capability == one.capability for other in own) > 1]


def _short(capability: str) -> str:
    return f"sm{capability.replace('.', '')}"


# --- what was handed in ---


def engine_set_of(built: Sequence[Built]) -> EngineSet:
    """The engines of one model, in order. Raises UsageError and RepositoryInvalid for what does not belong together."""
    plain = [one for one in built if one.artifact.format == "onnx"]
    plans = [one for one in built if one.artifact.format == "tensorrt"]
    for one in built:
        if one.artifact.format not in ("onnx", "tensorrt"):
            what = (
                f"{one.location} is {one.artifact.format}: TensorRT engines are merged, and one ONNX model beside them"
            )
            raise UsageError(what, where=one.location)
    if not plans:
        raise UsageError("no engine was given", hint="mlconvert convert MODEL --to tensorrt, on each kind of GPU")
    if len(plain) > 1:
        listed = " and ".join(one.location for one in plain)
        raise UsageError(
            f"two ONNX models, {listed}: one is enough for GPUs without an engine", where=plain[1].location
        )
    engines = sorted((_engine(one) for one in plans), key=lambda one: one.file)
    _check_once(engines)
    _check_same(engines[0], [engine.built for engine in engines[1:]] + plain)
    return EngineSet(tuple(engines), plain[0] if plain else None)


def _engine(built: Built) -> Engine:
    artifact, where = built.artifact, built.location
    if built.record is None:
        what = f"{where} has no record: nothing says which GPU it was built on, nor what it takes"
        raise UsageError(what, where=where, hint="merge the artifact that mlconvert built, with its record")
    build = build_of("tensorrt", artifact.path, built.record)
    assert build is not None  # a plan always is one
    for found in own_findings(build):
        if found.level == "refuse":
            hint = f"{found.fix or 'build it again'}, and merge what comes out"
            raise RepositoryInvalid(f"no server loads {where}: {found.sentence}", where=where, hint=hint)
    name, capability, count = (
        build.values.get(f"gpu.{one}") for one in ("name", "compute_capability", "multiprocessors")
    )
    missing = [
        told
        for told, value in (("name", name), ("compute capability", capability), ("number of multiprocessors", count))
        if value is None
    ]
    if missing:
        what = f"the record of {where} does not tell its GPU's {', '.join(missing)}: servers could not choose it"
        raise RepositoryInvalid(what, where=where, hint="build it again where mlconvert fingerprint shows these")
    part = build.values.get("gpu.mig.profile")
    product = str(name) if part in (None, "whole") else f"{name} MIG {part}"
    label = re.sub(r"[^a-z0-9.]+", "-", product.lower().removeprefix("nvidia ")).strip("-.")
    if not label or label == ONNX or not re.fullmatch(r"[0-9]+\.[0-9]+", str(capability)):
        what = f"the record of {where} tells of a GPU '{product}' of compute capability '{capability}'"
        raise RepositoryInvalid(what, where=where, hint="build it again where mlconvert fingerprint shows its GPU")
    if artifact.signature is None:
        raise UsageError(f"the record of {where} does not say what it takes and gives", where=where)
    carried = build.hardware_compatibility == CARRIED
    return Engine(built, build, str(capability), product, label, int(count or 0), carried)


def _check_once(engines: Sequence[Engine]) -> None:
    by_file: dict[str, Engine] = {}
    for engine in engines:
        other = by_file.setdefault(engine.file, engine)
        if other is engine:
            continue
        what = f"{other.built.location} and {engine.built.location} are both of {engine.product}"
        if engine.carried:
            what = f"{other.built.location} and {engine.built.location} are both for any GPU from Ampere on"
        raise UsageError(f"{what}: a GPU loads one engine", where=engine.built.location, hint="leave one of them out")


def _check_same(first: Engine, others: Iterable[Built]) -> None:
    """Raise RepositoryInvalid unless all were made of one model, and take and give the same."""
    source = _source(first.built)
    where = first.built.location
    if source is None:
        what = (
            f"the record of {where} does not say what model it was made of: nothing shows that the others answer alike"
        )
        raise RepositoryInvalid(what, where=where, hint="build it with mlconvert convert, or mlconvert run")
    for one in others:
        found = _source(one)
        if found != source and not _is_source(one, first.built):
            told = "no record says of what" if found is None else f"made of the model {found[:12]}"
            what = f"{one.location} is of another model ({told}) than {where} (made of {source[:12]})"
            raise RepositoryInvalid(what, where=one.location, hint="merge what was built of one and the same model")
        mine, its = first.built.artifact.signature, _signature(one)
        assert mine is not None
        wanted = [(side, spec.name, spec.dtype, cfg.shape_of(spec)) for side, specs in _sides(mine) for spec in specs]
        given = [(side, spec.name, spec.dtype, cfg.shape_of(spec)) for side, specs in _sides(its) for spec in specs]
        if sorted(wanted) != sorted(given):
            _, name, *_ = next(row for row in (*given, *wanted) if (row in given) != (row in wanted))
            what = (
                f"{one.location} takes or gives '{name}' in another way than {where}: clients would see the difference"
            )
            raise RepositoryInvalid(what, where=one.location, hint="build all of them with the same steps and options")


def _sides(signature: Any) -> tuple[tuple[str, Any], ...]:
    return ("input", signature.inputs), ("output", signature.outputs)


def _signature(built: Built) -> Any:
    if built.artifact.format == "onnx":
        return onnxruntime.signature_of(built.artifact)
    return built.artifact.signature


def _source(built: Built) -> str | None:
    source = (built.record or {}).get("source")
    found = source.get("sha256") if isinstance(source, Mapping) else None
    return str(found) if found else None


def _is_source(built: Built, engine: Built) -> bool:
    """Whether it is the very ONNX file that the engine was built from, or that everything began with."""
    if built.artifact.format != "onnx":
        return False
    files = [(path.relative_to(built.artifact.folder).as_posix(), path) for path in built.artifact.files]
    digests = {combine_sha256((name, file_sha256(path)) for name, path in files)}
    digests.add(combine_sha256((path.name, file_sha256(path)) for _, path in files))
    facts = (engine.record or {}).get("facts") or {}
    return bool(digests & {_source(engine), facts.get("onnx_sha256")})


# --- the configurations ---


def describe(engine_set: EngineSet, name: str, repository: Path, options: Mapping[str, Any]) -> dict[str, Description]:
    """The configurations, by their path in the model's folder. Raises what the backends' `describe` raises."""
    rows = engine_set.first.built.record
    drafts = []
    options = {**_largest(engine_set), **options}
    for engine in engine_set.engines:
        artifact, signature = engine.built.artifact, engine.built.artifact.signature
        assert signature is not None
        drafts.append(
            tensorrt.describe(signature, name, artifact=artifact, record=rows, repository=repository, **options)
        )
    base = drafts[0]
    for engine, other in zip(engine_set.engines[1:], drafts[1:], strict=True):
        if other.config != base.config:
            parts = [field.name for field in base.config.DESCRIPTOR.fields]
            wrong = [part for part in parts if getattr(other.config, part) != getattr(base.config, part)]
            what = f"{engine.built.location} needs another configuration than {engine_set.first.built.location}"
            raise RepositoryInvalid(f"{what}: {', '.join(wrong)}", hint="build both with the same profiles")
    warnings = tuple(dict.fromkeys([*(one for draft in drafts for one in draft.warnings), *_warnings(engine_set)]))
    comments = [base.comments[0], *_comments(engine_set)]
    found = {CONFIG: _with_files(base, engine_set.by_capability(), comments, warnings)}
    for engine in engine_set.products():
        what = f"For {engine.product}: start the server with --model-config-name={engine.label}."
        own = _with_files(
            base, engine_set.by_capability(engine.label), [base.comments[0], what, *_comments(engine_set)[1:]], ()
        )
        found[config_path(engine.label)] = own
    if engine_set.plain is not None:
        found[config_path(ONNX)] = _plain(engine_set, name, repository, base, options)
    return found


def config_path(label: str) -> str:
    return f"configs/{label}.pbtxt"


def _largest(engine_set: EngineSet) -> dict[str, Any]:
    """A batch that all engines take; nothing where they do not batch."""
    found: list[int] = []
    for engine in engine_set.engines:
        artifact = engine.built.artifact
        assert artifact.signature is not None
        told = tensorrt.defaults(artifact.signature, artifact)
        if "max_batch_size" not in told:
            return {}
        found.append(int(told["max_batch_size"]))
    return {"max_batch_size": min(found)}


def _with_files(
    base: Description, files: Mapping[str, str], comments: Sequence[str], warnings: tuple[str, ...]
) -> Description:
    config = type(base.config)()
    config.CopyFrom(base.config)
    for capability, file in files.items():
        config.cc_model_filenames[capability] = file
    return Description(config, tuple(comments), warnings, base.files)


def _comments(engine_set: EngineSet) -> list[str]:
    told = ["Each GPU loads the engine of its compute capability (cc_model_filenames)."]
    for engine in engine_set.engines:
        version = engine.build.values.get("tensorrt.version")
        told.append(f"{engine.file}: {engine.product}, {engine.capability}, TensorRT {version}")
    if any(engine.carried for engine in engine_set.engines):
        told.append(f"{tensorrt.MODEL_FILE} is for all GPUs from Ampere on that have no engine of their own.")
    if engine_set.products():
        labels = ", ".join(engine.label for engine in engine_set.products())
        told.append(f"Products of one compute capability: --model-config-name with one of {labels}.")
    if engine_set.plain is not None:
        told.append(f"Without an engine for the GPU, or without one: --model-config-name={ONNX}.")
    return told


def _warnings(engine_set: EngineSet) -> list[str]:
    versions = sorted({str(engine.build.values.get("tensorrt.version")) for engine in engine_set.engines})
    if len(versions) < 2:
        return []
    return [f"the engines are of TensorRT {' and '.join(versions)}: a server loads those of its own alone"]


def _plain(
    engine_set: EngineSet, name: str, repository: Path, base: Description, options: Mapping[str, Any]
) -> Description:
    """The configuration of the ONNX model: clients see no difference."""
    assert engine_set.plain is not None
    built = engine_set.plain
    shared = {key: options[key] for key in _SHARED if key in options}
    shared["max_batch_size"] = base.config.max_batch_size
    signature = onnxruntime.signature_of(built.artifact)
    found = onnxruntime.describe(
        signature, name, artifact=built.artifact, record=engine_set.first.built.record, repository=repository, **shared
    )
    what = f"The plain ONNX model, for machines without an engine: --model-config-name={ONNX}."
    return Description(found.config, (found.comments[0], what, *found.comments[1:]), found.warnings, found.files)
