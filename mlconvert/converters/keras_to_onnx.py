"""keras -> onnx: a `.keras` file, loaded in Keras' safe mode, through tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.converters.tensorflow_options import Opset, write_checked

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(source: Artifact, target: Path, *, opset: Opset = 18) -> Artifact:
    """Write an ONNX model of what the Keras model answers at inference; its inputs and outputs keep their names.

    Raises ConversionFailed for a model that would run code of its author's, with the names of all operators that
    tf2onnx cannot convert, and for a result that ONNX Runtime does not open; UsageError for an opset that tf2onnx does
    not write.
    """
    from mlconvert.readers.keras_files import load_keras
    from mlconvert.readers.tensorflow_onnx import onnx_of
    from mlconvert.readers.tensorflow_runtime import import_tensorflow

    tf = import_tensorflow()
    loaded = load_keras(source.path)
    loaded.check_graph(source.location)
    inputs = [
        tf.TensorSpec([n if isinstance(n, int) else None for n in spec.shape], spec.dtype, spec.name)
        for spec in loaded.signature.inputs
    ]

    expected = [loaded.signature]

    def function(**tensors: Any) -> dict[str, Any]:
        answers = loaded.outputs(tensors)
        expected[:] = [loaded.as_traced(answers)]
        return answers

    model = onnx_of(function, inputs, opset=opset, where=source.location, holder=loaded.model)
    return write_checked(model, target, expected[0], source.location)
