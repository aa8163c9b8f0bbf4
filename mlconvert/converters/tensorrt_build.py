"""The calls that build an engine: this file, `runners/tensorrt.py` and `readers/tensorrt_messages.py` alone talk to
TensorRT.

Written for TensorRT 10 and 11, after their bindings' own descriptions. In both the network is strongly typed: the
types are those of the ONNX file, and no flag changes them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlconvert import progress
from mlconvert.converters.tensorrt_operators import SHOWN, instead
from mlconvert.converters.tensorrt_profiles import Profile
from mlconvert.converters.tensorrt_progress import Phases
from mlconvert.errors import ConversionFailed, HardwareMismatch, OutOfResources, UsageError
from mlconvert.readers.tensorrt_messages import failure, import_tensorrt, log_of, parser_errors, short, version_of

DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT8": "int8", "INT32": "int32", "INT64": "int64",
    "BOOL": "bool", "UINT8": "uint8",
}  # fmt: skip
"""TensorRT's names of the types that inputs and outputs may have, and ours."""

_A_LIBRARY = "or give a library that has the operator: --set tensorrt.plugins=FILE.so"


@dataclass(frozen=True)
class Settings:
    """What a build is asked for. `flags`: of trt.BuilderFlag, name -> whether it is set; the others stay as they are.

    `values`: for inputs that TensorRT reads as shapes, (min, opt, max) of their values.
    """

    profiles: tuple[Profile, ...]
    flags: Mapping[str, bool]
    hardware_compatibility: str = "NONE"  # of trt.HardwareCompatibilityLevel
    optimization_level: int = 3
    workspace_bytes: int = 0  # 0: as much as there is
    trial_bytes: int = 0  # 0: TensorRT's own limit
    timing_cache: bytes | None = None  # None: none is kept
    plugins: tuple[Path, ...] = ()  # in the plan where it is version-compatible, else beside it
    seconds: float = 0.0  # 0: as long as it takes
    values: Mapping[str, tuple[list[int], list[int], list[int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Engine:
    """What a build gave. `plan` is TensorRT's own memory; `inputs` and `outputs`: name -> (dtype, shape, -1: any)."""

    plan: Any
    timing_cache: bytes | None
    version: tuple[int, ...]
    inputs: Mapping[str, tuple[str, tuple[int, ...]]]
    outputs: Mapping[str, tuple[str, tuple[int, ...]]]
    flags: tuple[str, ...]  # that were set in the end, TensorRT's defaults among them
    warnings: tuple[str, ...]
    plugins: tuple[Path, ...] = ()  # libraries that are in the plan


def build(onnx: Path, settings: Settings, *, where: str) -> Engine:
    """Build an engine from an ONNX file, on the first GPU that CUDA shows.

    Raises MissingPackage without TensorRT, HardwareMismatch without a GPU, ConversionFailed, naming nodes, for what
    the parser does not take and with the logger's words where the builder gives nothing, UsageError for a setting that
    TensorRT refuses, OutOfResources when time or memory ran out.
    """
    trt = import_tensorrt()
    log = log_of(trt)
    builder = _builder(trt, log, where)
    _load_plugins(trt, log, settings.plugins)
    major = version_of(trt)[0]
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if major < 11 else 0  # all are, since 11
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(onnx)):
        raise _not_parsed(parser, trt.OnnxParser(builder.create_network(typed), log), onnx, log, where)
    config = builder.create_builder_config()
    monitor = _new_monitor(trt, settings.seconds)
    _configure(trt, log, config, settings, where)
    config.progress_monitor = monitor
    within = _plugins_within(parser, settings)
    if within:
        config.plugins_to_serialize = [str(path) for path in within]
    _add_profiles(builder, config, network, settings, where)
    plan = builder.build_serialized_network(network, config)
    if monitor.late:
        raise OutOfResources(f"the engine was not built within {settings.seconds:g} seconds", where=where,
                             hint="raise --set tensorrt.seconds, or lower optimization_level")  # fmt: skip
    if plan is None:
        raise _not_built(log, where)
    return Engine(
        plan,
        bytes(config.get_timing_cache().serialize()) if settings.timing_cache is not None else None,
        version_of(trt),
        _described(network.get_input, network.num_inputs),
        _described(network.get_output, network.num_outputs),
        tuple(name for name, flag in trt.BuilderFlag.__members__.items() if config.get_flag(flag)),
        tuple(dict.fromkeys(short(message) for message in log.warnings)),
        within,
    )


def _plugins_within(parser: Any, settings: Settings) -> tuple[Path, ...]:
    """The libraries that go into a version-compatible plan: those given, and those that the parser took operators of.

    TensorRT wants both to be named (IParser::getUsedVCPluginLibraries).
    """
    if not settings.flags.get("VERSION_COMPATIBLE"):
        return ()
    return tuple(dict.fromkeys([*settings.plugins, *map(Path, parser.get_used_vc_plugin_libraries())]))


def _builder(trt: Any, log: Any, where: str) -> Any:
    try:
        builder = trt.Builder(log)
    except (TypeError, RuntimeError) as error:  # the bindings' way to say that the library gave no builder
        said = log.errors or ["TensorRT needs the GPU that the engine is for"]
        reason = failure("no engine can be built here", said, where=where, otherwise=HardwareMismatch)
        reason.hint = reason.hint or "build it on a machine with that GPU: mlconvert fingerprint shows what is found"
        raise reason from error
    trt.init_libnvinfer_plugins(log, "")
    return builder


def _load_plugins(trt: Any, log: Any, plugins: tuple[Path, ...]) -> None:
    for path in plugins:
        try:
            handle = trt.get_plugin_registry().load_library(str(path))
        except RuntimeError as error:
            log.errors.append(str(error))
            handle = None
        if handle is None:
            raise failure(f"TensorRT cannot load the plug-in library {path.name}", log.errors, where=str(path),
                          otherwise=UsageError)  # fmt: skip


# --- the parser ---


def _not_parsed(parser: Any, fresh: Any, onnx: Path, log: Any, where: str) -> ConversionFailed:
    """Why a parser did not take the model. What is lacking a fresh one says of all nodes, and what share it has."""
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    told = parser_errors(parser) or [short(message) for message in log.errors[-2:]]
    lacking = any(error.code().name.startswith("UNSUPPORTED") for error in errors)
    share = f". {_share(fresh, onnx)}" if lacking else ""
    told = list(dict.fromkeys([*told, *(parser_errors(fresh) if lacking else ())]))
    more = f"; and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    what = f"TensorRT does not take the model: {'; '.join(told[:SHOWN]) or 'it does not say why'}{more}{share}"
    return ConversionFailed(what, where=where, hint=f"{instead()}; {_A_LIBRARY}" if lacking else None)


def _share(parser: Any, onnx: Path) -> str:
    """How many of the nodes TensorRT has: what ONNX Runtime would give it, for it asks by the same call."""
    parser.supports_model_v2(onnx.read_bytes(), str(onnx))
    parts = [(parser.is_subgraph_supported(number), len(parser.get_subgraph_nodes(number)))
             for number in range(parser.num_subgraphs)]  # fmt: skip
    taken = sum(count for supported, count in parts if supported)
    return f"It has {taken} of the {sum(count for _, count in parts)} nodes"


# --- the configuration ---


def _configure(trt: Any, log: Any, config: Any, settings: Settings, where: str) -> None:
    for name, wanted in settings.flags.items():
        flag = getattr(trt.BuilderFlag, name)
        if wanted:
            config.set_flag(flag)
        else:
            config.clear_flag(flag)
    config.builder_optimization_level = settings.optimization_level
    config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, settings.hardware_compatibility)
    if settings.workspace_bytes:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_bytes)
    if settings.trial_bytes:
        config.set_memory_pool_limit(trt.MemoryPoolType.TACTIC_DRAM, settings.trial_bytes)
    if settings.timing_cache is not None:
        cache = config.create_timing_cache(settings.timing_cache)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            raise failure("TensorRT does not take the timing cache: it is of another GPU, CUDA or TensorRT, or damaged",
                          log.errors, where=where, otherwise=UsageError)  # fmt: skip


def _add_profiles(builder: Any, config: Any, network: Any, settings: Settings, where: str) -> None:
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    shapes = [tensor for tensor in inputs if tensor.is_shape_tensor]
    for tensor in shapes:
        if tensor.name not in settings.values:
            what = f"TensorRT reads the values of '{tensor.name}' as a shape, and has to know which may come"
            raise UsageError(what, where=where, hint="give --samples FILE with the values that occur")
    # Where all axes are fixed a profile is needed only for such values.
    for number, ranges in enumerate(settings.profiles or ([{}] if shapes else [])):
        profile = builder.create_optimization_profile()
        try:
            for tensor in inputs:
                if tensor.is_shape_tensor:
                    profile.set_shape_input(tensor.name, *settings.values[tensor.name])
                elif tensor.name in ranges:
                    bounds = ranges[tensor.name]
                    profile.set_shape(tensor.name, bounds.min, bounds.opt, bounds.max)
        except ValueError as error:
            raise UsageError(f"TensorRT refuses profile {number}: {error}", where=where) from error
        if config.add_optimization_profile(profile) < 0:
            raise UsageError(f"TensorRT refuses profile {number}", where=where, hint="see the shapes of the option")


def described(dtype: Any, shape: Any) -> tuple[str, tuple[int, ...]]:
    """A tensor's type, as we call it, and its shape."""
    return DTYPES.get(dtype.name, dtype.name), tuple(shape)


def _described(get: Callable[[int], Any], count: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {tensor.name: described(tensor.dtype, tensor.shape) for tensor in map(get, range(count))}


# --- the build ---


def _new_monitor(trt: Any, seconds: float) -> Any:
    """What TensorRT reports its progress to: it is passed on, and past the time limit the build is ended.

    TensorRT calls it from several threads, and must not be answered with an exception.
    """
    begun, phases = time.monotonic(), Phases()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.late = False

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:  # inner phases come by the thousand
                _say(f"{time.monotonic() - begun:.0f} s: {phase_name}, {num_steps} steps")
            phases.start(phase_name, parent_phase, num_steps)
            progress.report(*phases.how_far())

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.complete(phase_name, step)
            progress.report(*phases.how_far())
            self.late = self.late or (seconds > 0 and time.monotonic() - begun > seconds)
            return not self.late

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()


def _say(text: str) -> None:
    print(f"TensorRT build: {text}", file=sys.stderr)  # noqa: T201 - the step's log


def _not_built(log: Any, where: str) -> Exception:
    for message in log.errors:
        if "timing cache" in message.lower() and "miss" in message.lower():
            what = f"the timing cache lacks what this build needs, and reproducible=yes times nothing: {short(message)}"
            return ConversionFailed(what, where=where, hint="build once without reproducible to fill the cache")
    return failure("TensorRT built no engine", log.errors, where=where)
