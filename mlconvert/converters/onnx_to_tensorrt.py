"""onnx -> tensorrt: an engine, built on the GPU that will run it.

It is hardware-bound: it runs with the TensorRT that built it, on GPUs like the one it was built on. Its record says
which (`mlconvert check`). The precision is the ONNX file's: the steps float16, bfloat16 and int8 come before this one.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.converter import LocalFile
from mlconvert.converters.tensorrt_build import Engine, Settings, build
from mlconvert.converters.tensorrt_models import check_model, check_precision, check_zero_points, precision_of
from mlconvert.converters.tensorrt_operators import check_operators
from mlconvert.converters.tensorrt_profiles import Profile, profiles_for
from mlconvert.converters.tensorrt_refit import engine_to_refit, refit, refitted_facts
from mlconvert.converters.tensorrt_timings import Timings
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats.onnx_operators import onnx_nodes
from mlconvert.hardware import fingerprint as fingerprints
from mlconvert.hardware.plans import read_plan
from mlconvert.onnx_model.files import external_data_files, onnx_signature, read_outline
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

_REFIT = {"no": None, "all": "REFIT", "identical": "REFIT_IDENTICAL"}


def check(source: Artifact, options: Mapping[str, Any]) -> None:
    """Raise ConversionFailed for operators that no TensorRT has, from the file alone; a plug-in may have them."""
    if not options.get("plugins"):
        check_operators(onnx_nodes(source.path), source.location, shlex.quote(source.location))


def convert(
    source: Artifact,
    target: Path,
    *,
    samples: Mapping[str, np.ndarray],
    profiles: Annotated[
        dict[str, tuple[str, ...]] | None,
        "for each input its least, usual and largest shape (x=1x4,8x4,32x4), three more for each further profile; "
        "left out: from the samples",
    ] = None,
    precision: Annotated[
        Literal["model", "float32", "float16", "bfloat16", "int8"],
        "what the engine has to compute in: an error unless the ONNX file does (model: whatever it does)",
    ] = "model",
    tf32: Annotated[bool, "let float32 products round their factors to 11 bits, on GPUs that can"] = False,
    optimization_level: Annotated[int, "0 to 5: how long TensorRT looks for quicker kernels"] = 3,
    workspace_bytes: Annotated[int, "GPU memory that a kernel may use to work in; 0: all that there is"] = 0,
    trial_bytes: Annotated[int, "memory that the build may use to try kernels in; 0: TensorRT's own limit"] = 0,
    seconds: Annotated[float, "end the build after so long, as an error; 0: never"] = 0.0,
    timing_cache: Annotated[
        str | None, "folder (absolute path) that keeps timings from build to build, a file for each fingerprint"
    ] = None,
    reproducible: Annotated[bool, "time nothing: an error where the timing cache lacks something"] = False,
    version_compatible: Annotated[bool, "an engine that newer TensorRT loads, too; it may be slower"] = False,
    lean_runtime: Annotated[
        bool, "put the runtime into a version-compatible engine; no: the server must have it"
    ] = True,
    hardware_compatibility: Annotated[
        Literal["none", "ampere_plus", "same_compute_capability"],
        "other GPUs that may run the engine; it may be slower",
    ] = "none",
    refit: Annotated[
        Literal["no", "all", "identical"],
        "let weights be put in later (weights_into): of any model of this structure, or the same ones (no cost)",
    ] = "no",
    stripped: Annotated[bool, "leave the weights out, to be put in where it is served (weights_into)"] = False,
    weight_streaming: Annotated[bool, "let the server keep weights in the host's memory and stream them"] = False,
    plugins: Annotated[tuple[LocalFile, ...], "libraries (absolute paths) with operators that TensorRT lacks"] = (),
    weights_into: Annotated[
        LocalFile | None,
        "an engine (absolute path) built with refit or stripped: it gets the weights of this model, and nothing is "
        "built; no other option goes with it",
    ] = None,
) -> Artifact:
    """Raises ConversionFailed, naming nodes, for what TensorRT does not take; UsageError for options that contradict
    the model, the samples or each other; HardwareMismatch without a GPU; OutOfResources past `seconds` or memory.
    """
    if weights_into is not None:
        return _refitted(source, target, Path(weights_into), convert.__kwdefaults__ or {}, locals())
    _check_options(optimization_level, (workspace_bytes, trial_bytes, seconds), reproducible, timing_cache,
                   version_compatible, lean_runtime)  # fmt: skip
    libraries = tuple(map(Path, plugins))
    model = read_outline(source.path)
    told = onnx_signature(model)
    check_model(model, told, source, bool(libraries))
    check_zero_points(model, source)
    computes = precision_of(model)
    check_precision(precision, computes, source)
    ranges = profiles_for(told, profiles, samples)
    machine = fingerprints.take()
    timings = Timings.at(timing_cache, fingerprints.digest(machine))
    settings = Settings(
        profiles=ranges,
        flags={
            "TF32": tf32,
            "EDITABLE_TIMING_CACHE": timings is not None,
            "ERROR_ON_TIMING_CACHE_MISS": reproducible,
            "VERSION_COMPATIBLE": version_compatible,
            "EXCLUDE_LEAN_RUNTIME": version_compatible and not lean_runtime,
            **_weight_flags(refit, stripped, weight_streaming),
        },
        hardware_compatibility=hardware_compatibility.upper(),
        optimization_level=optimization_level,
        workspace_bytes=workspace_bytes,
        trial_bytes=trial_bytes,
        timing_cache=timings.read() if timings else None,
        plugins=libraries,
        seconds=seconds,
        values=_values(told, samples),
    )
    engine = build(source.path, settings, where=source.location)
    _check_engine(engine, told, source)
    _write(engine, target)
    if timings and engine.timing_cache is not None:
        timings.write(engine.timing_cache)
    facts = _facts(engine, ranges, machine, computes)
    facts["hardware"] |= {
        "hardware_compatibility": hardware_compatibility,
        "plugins": {path.name: file_sha256(path) for path in dict.fromkeys([*libraries, *engine.plugins])},
    }
    facts["onnx_sha256"] = _onnx_sha256(source.path)
    if timings and engine.timing_cache is not None:
        facts["timing_cache_sha256"] = timings.sha256()
    files = (target, *(_placed(path, target, path.name) for path in libraries if not version_compatible))
    # Loading a plan runs its code: this one was made here.
    return Artifact("tensorrt", str(target), files, told, trusted=True, facts=facts)


# --- the options ---


def _check_options(
    level: int,
    limits: tuple[float, ...],
    reproducible: bool,
    timing_cache: str | None,
    version_compatible: bool,
    lean_runtime: bool,
) -> None:
    problem = None
    if not 0 <= level <= 5:
        problem = f"optimization_level={level}: TensorRT's levels are 0 to 5"
    elif min(limits) < 0:
        problem = "workspace_bytes, trial_bytes and seconds are 0 or more"
    elif reproducible and timing_cache is None:
        problem = "reproducible=yes needs the timings of an earlier build: add timing_cache=FOLDER"
    elif not lean_runtime and not version_compatible:
        problem = "lean_runtime=no is for version_compatible=yes: other engines hold no runtime"
    if problem:
        raise UsageError(problem)


def _weight_flags(refit: str, stripped: bool, weight_streaming: bool) -> dict[str, bool]:
    flags = {name: False for name in _REFIT.values() if name}
    if (chosen := _REFIT[refit]) is not None:
        flags[chosen] = True
    elif stripped:  # TensorRT wants one of them with it, and this one costs no speed
        flags["REFIT_IDENTICAL"] = True
    return {**flags, "STRIP_PLAN": stripped, "WEIGHT_STREAMING": weight_streaming}


def _values(
    signature: Signature, samples: Mapping[str, np.ndarray]
) -> dict[str, tuple[list[int], list[int], list[int]]]:
    """Least, usual and largest values of the small inputs of integers: TensorRT may read them as shapes."""
    found = {}
    for spec in signature.inputs:
        array = samples.get(spec.name)
        if spec.dtype in ("int32", "int64") and len(spec.shape) < 2 and array is not None and array.size:
            rows = array if array.ndim == len(spec.shape) + 1 else array[None]
            flat = rows.reshape(len(rows), -1)
            found[spec.name] = tuple(list(map(int, row)) for row in (flat.min(0), flat[0], flat.max(0)))
    return found  # type: ignore[return-value] # three of them


# --- the weights alone ---


def _refitted(
    source: Artifact, target: Path, plan: Path, defaults: Mapping[str, Any], given: Mapping[str, Any]
) -> Artifact:
    """An engine that was built before, with the weights of this model."""
    others = [name for name, default in defaults.items() if name != "weights_into" and given[name] != default]
    if others:
        what = f"weights_into takes an engine as it was built: {', '.join(others)} cannot be asked for any more"
        raise UsageError(what, hint=f"remove {', '.join(others)}, or build an engine: leave out weights_into")
    model = read_outline(source.path)
    told, digest = onnx_signature(model), _onnx_sha256(source.path)
    stripped, record = engine_to_refit(plan, source, digest, precision_of(model))
    engine = refit(stripped, source.path, record["facts"]["hardware"], where=source.location)
    _check_engine(engine, told, source)
    version = _write(engine, target)
    files = (target, *(_placed(path, target, path.name.removeprefix(f"{plan.name}.")) for path in stripped.files[1:]))
    facts = refitted_facts(record, engine, plan, version, digest)
    return Artifact("tensorrt", str(target), files, told, trusted=True, facts=facts)


# --- what came of it ---


def _write(engine: Engine, target: Path) -> str:
    """Write the plan; the version of TensorRT that it says it is of."""
    with target.open("wb") as stream:
        stream.write(engine.plan)
    header = read_plan(target)  # whole, and a plan as servers know it
    return header.version or ".".join(map(str, engine.version))


def _check_engine(engine: Engine, signature: Signature, source: Artifact) -> None:
    """Raise ConversionFailed unless the engine takes and gives what the model does."""
    for side, specs, found in (
        ("input", signature.inputs, engine.inputs),
        ("output", signature.outputs, engine.outputs),
    ):
        names = {spec.name for spec in specs}
        if names != set(found):
            listed = ", ".join(sorted(names ^ set(found)))
            raise ConversionFailed(f"TensorRT's network and the model differ in the {side}s {listed}",
                                   where=source.location)  # fmt: skip
        for spec in specs:
            dtype, shape = found[spec.name]
            if dtype != spec.dtype or len(shape) != len(spec.shape):
                what = f"TensorRT makes the {side} {spec} one of {dtype} with {len(shape)} axes"
                raise ConversionFailed(what, where=source.location)


def _facts(
    engine: Engine, ranges: tuple[Profile, ...], machine: fingerprints.Fingerprint, computes: str
) -> dict[str, Any]:
    version = ".".join(map(str, engine.version))
    facts: dict[str, Any] = {"tensorrt": version, "precision": computes}
    if machine.gpus:
        gpu = machine.gpus[0]
        named = {"gpu": gpu.name, "compute_capability": gpu.compute_capability}
        facts |= {key: value for key, value in named.items() if value}
    if ranges:
        facts["profiles"] = [{name: bounds.as_json() for name, bounds in profile.items()} for profile in ranges]
    if engine.warnings:
        facts["warnings"] = list(engine.warnings[:20])
    return {
        **facts,
        "fingerprint": fingerprints.as_json(machine),
        "hardware": {"kind": "tensorrt", "tensorrt_version": version, "flags": list(engine.flags), "gpu": 0},
    }


def _onnx_sha256(path: Path) -> str:
    files = (path, *external_data_files(path))
    return combine_sha256((file.name, file_sha256(file)) for file in files)


def _placed(library: Path, target: Path, name: str) -> Path:
    """A copy of a plug-in library beside the engine, which cannot be loaded without it."""
    copy = target.with_name(f"{target.name}.{name}")
    shutil.copyfile(library, copy)
    return copy
