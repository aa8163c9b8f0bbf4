"""Runs SavedModels by TensorFlow alone: the signature `serving_default`, as TensorFlow Serving does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed
from mlconvert.readers.saved_model_files import saved_model_signature
from mlconvert.readers.tensorflow_runtime import import_tensorflow
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np


def signature(artifact: Artifact) -> Signature:
    """Read from saved_model.pb; TensorFlow is not asked."""
    return saved_model_signature(artifact.path)


def load(artifact: Artifact) -> Session:
    """Raises ConversionFailed when TensorFlow cannot load the model, or cannot run it on the samples."""
    known = saved_model_signature(artifact.path)
    tf = import_tensorflow()
    where = artifact.location
    try:
        model = tf.saved_model.load(str(artifact.path.parent))
        function = model.signatures["serving_default"]
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        text = " ".join(str(error).split())[:300]
        raise ConversionFailed(f"TensorFlow cannot load the SavedModel: {text}", where=where) from error
    types = {spec.name: spec.dtype for spec in known.inputs}

    def run(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: _tensor(tf, array, types.get(name)) for name, array in samples.items()}
        try:
            answers = function(**tensors)
        except (TypeError, ValueError, tf.errors.OpError) as error:
            text = " ".join(str(getattr(error, "message", error)).split())[:300]
            hint = f"its inputs: {', '.join(str(spec) for spec in known.inputs)}"
            what = f"the model does not run on the samples: {text}"
            raise ConversionFailed(what, where=where, hint=hint) from error
        return {spec.name: _array(answers[spec.name]) for spec in known.outputs}

    # `model` owns the variables: it has to live as long as the function.
    run.model = model  # type: ignore[attr-defined]
    return Session(known, run)


def _tensor(tf: Any, array: np.ndarray, dtype: str | None) -> Any:
    return tf.constant(array.tolist(), shape=array.shape, dtype=tf.string) if dtype == "string" else tf.constant(array)


def _array(tensor: Any) -> np.ndarray:
    import numpy as np

    if tensor.dtype.name != "string":
        return np.asarray(tensor.numpy())
    array = np.array(tensor.numpy(), dtype=object)  # a single string comes as bytes
    flat = [item.decode("utf-8", "replace") for item in array.reshape(-1)]
    return np.array(flat, dtype=np.str_).reshape(array.shape)
