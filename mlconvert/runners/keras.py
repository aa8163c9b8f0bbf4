"""Runs Keras' own files (`.keras`), in safe mode, as at inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed, OutOfResources

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact
    from mlconvert.signature import Signature


def signature(artifact: Artifact) -> Signature:
    """Inputs by the names of their layers, outputs by the model's own names. Raises what `load` raises."""
    from mlconvert.readers.keras_files import load_keras

    return load_keras(artifact.path).signature


def load(artifact: Artifact) -> Session:
    """Raises ConversionFailed for what is damaged, is no Keras model, or has code of its author's in it."""
    from mlconvert.readers.keras_files import load_keras, to_array, to_tensor

    model = load_keras(artifact.path)
    dtypes = {spec.name: spec.dtype for spec in model.signature.inputs}

    def run(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        missing = ", ".join(name for name in dtypes if name not in samples)
        if missing:
            raise ConversionFailed(f"the samples lack what the model takes: {missing}", where=artifact.location)
        try:
            answers = model.outputs({name: to_tensor(samples[name], dtype) for name, dtype in dtypes.items()})
        except MemoryError as error:
            raise OutOfResources("memory ran out while the model ran", where=artifact.location) from error
        except Exception as error:
            what = f"the model does not run on the samples: {' '.join(str(error).split())[:300]}"
            raise ConversionFailed(what, where=artifact.location) from error
        return {name: to_array(answer) for name, answer in answers.items()}

    return Session(model.signature, run)
