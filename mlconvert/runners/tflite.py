"""Runs TensorFlow Lite's files by TensorFlow's own interpreter, with the kernels that it chooses by itself."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, NotVerified
from mlconvert.formats.tflite import read_tflite

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact
    from mlconvert.signature import Signature


def signature(artifact: Artifact) -> Signature:
    """Read from the file; TensorFlow is not asked."""
    return read_tflite(artifact.path).signature


def load(artifact: Artifact) -> Session:
    """Raises ConversionFailed when the interpreter cannot load the model, or cannot run it on the samples.

    Raises NotVerified for a model with TensorFlow's own operators, which the interpreter has no kernels for.
    """
    from mlconvert.readers.keras_files import decoded
    from mlconvert.readers.tensorflow_runtime import import_tensorflow

    known, where = read_tflite(artifact.path), artifact.location
    if known.flex:
        listed = ", ".join(known.flex)
        what = f"TensorFlow Lite's interpreter for Python has no kernels for TensorFlow's operators: {listed}"
        raise NotVerified(what, where=where, hint="convert the model that the TensorFlow Lite file was made from")
    tf = import_tensorflow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the interpreter will move to a package of its own
            interpreter = tf.lite.Interpreter(model_path=str(artifact.path))
    except (OSError, ValueError, RuntimeError) as error:
        what = f"TensorFlow {tf.__version__} cannot load the TensorFlow Lite model: {_line(error)}"
        raise ConversionFailed(what, where=where) from error

    def run(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        missing = ", ".join(one.spec.name for one in known.inputs if one.spec.name not in samples)
        if missing:
            raise ConversionFailed(f"the samples lack what the model takes: {missing}", where=where)
        try:
            for one in known.inputs:
                interpreter.resize_tensor_input(one.index, samples[one.spec.name].shape, strict=True)
            interpreter.allocate_tensors()
            for one in known.inputs:
                values = samples[one.spec.name]
                interpreter.set_tensor(one.index, values.astype("S") if one.spec.dtype == "string" else values)
            interpreter.invoke()
            return {one.spec.name: decoded(interpreter.get_tensor(one.index)) for one in known.outputs}
        except (ValueError, RuntimeError) as error:
            hint = f"its inputs: {', '.join(str(one.spec) for one in known.inputs)}"
            raise ConversionFailed(
                f"the model does not run on the samples: {_line(error)}", where=where, hint=hint
            ) from error

    return Session(known.signature, run)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
