"""tflite -> onnx: a TensorFlow Lite model, through tf2onnx; its whole numbers become QuantizeLinear's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert.converters.tensorflow_options import Opset, write_checked
from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(
    source: Artifact,
    target: Path,
    *,
    opset: Opset = 18,
    dequantize: Annotated[bool, "compute in float32 what the model computes in whole numbers"] = False,
) -> Artifact:
    """Write an ONNX model with the names of the file's signature, or of its tensors, and its dynamic axes.

    Raises ConversionFailed for a damaged file, with the names of all operators that tf2onnx cannot convert, and for a
    result that ONNX Runtime does not open; UsageError for an opset that tf2onnx does not write.
    """
    from mlconvert.formats.tflite import read_tflite
    from mlconvert.readers.tensorflow_onnx import onnx_of_tflite

    where = source.location
    model = read_tflite(source.path)
    if model.repeated:
        what = f"several of its tensors have one name, which tf2onnx takes for one tensor: {', '.join(model.repeated)}"
        raise ConversionFailed(what, where=where, hint="convert the model that the TensorFlow Lite file was made from")
    made = onnx_of_tflite(source.path, model.signature, opset=opset, dequantize=dequantize)
    artifact = write_checked(made, target, model.signature, where)
    # What is rounded to 256 steps is rounded elsewhere by another library: float32's tolerance asks too much.
    return replace(artifact, facts={**artifact.facts, "precision": "int8"}) if model.quantized else artifact
