"""Sessions of ONNX Runtime on the CPU: how the runner, and every pass that checks its own result, opens a model.

The optimisations are ONNX Runtime's default (all of them), as in servers: what is verified is what is served.
Answers are bit-identical over runs and thread counts at one level of optimisation, not across levels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.errors import ConversionFailed, MlconvertError, NotVerified, OutOfResources

if TYPE_CHECKING:
    import onnxruntime

MAPPED_ABOVE = 1 << 30
"""Of external data above this many bytes no rearranged copy is made: the weights are mapped, not read."""

PROVIDER = "CPUExecutionProvider"


def open_session(path: Path, external_bytes: int) -> onnxruntime.InferenceSession:
    """A session for a file that `read_onnx` accepted.

    Raises ConversionFailed when ONNX Runtime refuses the model, NotVerified when the model is valid and the CPU
    provider has no kernel for one of its operators, OutOfResources when memory ran out.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 2  # warnings; they go to stderr
    if external_bytes > MAPPED_ABOVE:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        # An absolute path: ONNX Runtime looks for external data in the folder of the path that it is given.
        session = onnxruntime.InferenceSession(str(path.absolute()), options, providers=[PROVIDER])
    except Exception as error:
        raise _load_error(error, path) from error
    if session.get_providers() != [PROVIDER]:  # asked for what it lacks, ONNX Runtime only warns
        raise NotVerified(f"ONNX Runtime took {', '.join(session.get_providers())} instead of {PROVIDER}")
    return session


def error_text(error: Exception) -> str:
    """ONNX Runtime's message without its decoration."""
    return " ".join(str(error).removeprefix("[ONNXRuntimeError] : ").split())


def _load_error(error: Exception, path: Path) -> MlconvertError:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    text = error_text(error)
    if isinstance(error, MemoryError) or "bad_alloc" in text or "bad allocation" in text:
        return OutOfResources("ONNX Runtime ran out of memory while it loaded the model", where=str(path))
    if isinstance(error, state.NotImplemented):
        what = f"ONNX Runtime's CPU provider cannot run the model: {text}"
        return NotVerified(what, where=str(path), hint="verify it on its own hardware, or add --no-verify")
    newer = "opset" in text or "IR version" in text
    hint = "make it an older one with the pass 'lower'" if newer else None
    return ConversionFailed(f"ONNX Runtime cannot load the model: {text}", where=str(path), hint=hint)
