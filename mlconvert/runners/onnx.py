"""Runs ONNX models with ONNX Runtime's CPU provider."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, OutOfResources
from mlconvert.onnx_model.files import external_bytes, onnx_signature, read_outline
from mlconvert.onnx_model.sessions import error_text, open_session
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


def signature(artifact: Artifact) -> Signature:
    """The model's inputs and outputs, from its graph alone: weights are not read."""
    return onnx_signature(read_outline(artifact.path))


def load(artifact: Artifact) -> Session:
    """A session of ONNX Runtime on the CPU.

    Raises ConversionFailed for a file that is not a valid model (external data outside its folder included) and for
    an output that is no tensor; NotVerified for a valid model with an operator that the CPU provider does not have;
    HardwareMismatch for one that was optimised for another kind of processor.
    """
    from mlconvert.readers.hardware_builds import require_fits

    require_fits(artifact)
    model = read_outline(artifact.path)
    spec = onnx_signature(model)
    session = open_session(artifact.path, external_bytes(model))
    del model
    names = [output.name for output in spec.outputs]
    bfloat16 = any(one.dtype == "bfloat16" for one in (*spec.inputs, *spec.outputs))

    def run(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            arrays = _run_with_values(session, names, samples) if bfloat16 else session.run(names, dict(samples))
        except MemoryError as error:
            raise OutOfResources("memory ran out while the model ran", where=artifact.location) from error
        except Exception as error:
            what = f"the model does not run on the samples: {error_text(error)}"
            hint = f"its inputs: {', '.join(str(one) for one in spec.inputs)}"
            raise ConversionFailed(what, where=artifact.location, hint=hint) from error
        return {name: _checked(name, array) for name, array in zip(names, arrays, strict=True)}

    return Session(spec, run)


def _checked(name: str, array: Any) -> np.ndarray:
    import numpy as np

    if not isinstance(array, np.ndarray):
        raise ConversionFailed(f"the output '{name}' is a {type(array).__name__}, not a tensor")
    return array.astype(np.str_) if array.dtype == object else array  # object: ONNX Runtime's strings


def _run_with_values(
    session: onnxruntime.InferenceSession, names: list[str], samples: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """As `session.run`, where an input or output is bfloat16, a type that it does not take from numpy."""
    import ml_dtypes
    import numpy as np
    from onnxruntime import OrtValue

    feeds, held = {}, []
    for name, array in samples.items():
        if array.dtype == ml_dtypes.bfloat16:
            held.append(np.ascontiguousarray(array).view(np.uint16))  # an OrtValue does not keep its array alive
            feeds[name] = OrtValue.ortvalue_from_numpy_with_onnx_type(held[-1], BFLOAT16)
        else:
            held.append(np.ascontiguousarray(array))
            feeds[name] = OrtValue.ortvalue_from_numpy(held[-1])
    arrays = []
    for value in session.run_with_ort_values(names, feeds):
        if value.data_type() == "tensor(bfloat16)":
            shape = value.shape()
            data = ctypes.string_at(value.data_ptr(), 2 * math.prod(shape)) if math.prod(shape) else b""
            arrays.append(np.frombuffer(data, dtype=ml_dtypes.bfloat16).reshape(shape))
        else:
            arrays.append(value.numpy())
    return arrays
