"""Loading TensorRT's plans: native code, so that it is for the caller to have made sure that it may be run here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlconvert.artifact import Artifact
from mlconvert.errors import HardwareMismatch
from mlconvert.readers.tensorrt_messages import failure, import_tensorrt, log_of


def load_engine(artifact: Artifact, built: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The engine in a plan, on the first GPU, with the runtime that it needs while it lives, and the logger.

    `built`: what its record says of its hardware. The files after the first are the plug-in libraries that it needs.
    Raises MissingPackage without TensorRT, HardwareMismatch without a GPU or for a plan that does not load on it.
    """
    where = artifact.location
    trt = import_tensorrt()
    log = log_of(trt)
    try:
        runtime = trt.Runtime(log)
    except (TypeError, RuntimeError) as error:  # the bindings' way to say that the library gave none
        said = log.errors or ["TensorRT needs the GPU that the engine is for"]
        reason = failure("no engine can be run here", said, where=where, otherwise=HardwareMismatch)
        reason.hint = reason.hint or "run it on a machine with that GPU: mlconvert fingerprint shows what is found"
        raise reason from error
    trt.init_libnvinfer_plugins(log, "")
    if "VERSION_COMPATIBLE" in built.get("flags", ()):  # such a plan brings its own runtime, as code
        runtime.engine_host_code_allowed = True
    for path in artifact.files[1:]:
        if trt.get_plugin_registry().load_library(str(path)) is None:
            raise failure(f"TensorRT cannot load the plug-in library {path.name}", log.errors, where=str(path))
    engine = runtime.deserialize_cuda_engine(artifact.path.read_bytes())
    if engine is None:
        raise failure("TensorRT does not load the plan", log.errors, where=where, otherwise=HardwareMismatch)
    return runtime, engine, log
