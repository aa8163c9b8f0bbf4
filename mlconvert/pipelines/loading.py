"""Whether ONNX Runtime takes a model: skl2onnx writes types that do not fit, and operators without a kernel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    import onnx


def check_loads(model: onnx.ModelProto, where: str, what: str = "the model") -> None:
    """Raise ConversionFailed, naming `what`, unless ONNX Runtime takes the model."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it would log is in the exception
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but Exception
        reason = str(error).strip().splitlines()[0].removeprefix("[ONNXRuntimeError] : ")
        raise ConversionFailed(f"ONNX Runtime does not take {what}: {reason}", where=where) from error
