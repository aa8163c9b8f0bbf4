"""keras -> saved-model: what a `.keras` file answers at inference, as a stock TensorFlow Serving runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.formats.saved_model import saved_model_files
from mlconvert.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Mapping


def convert(source: Artifact, target: Path) -> Artifact:
    """Write the SavedModel into the folder of `target`; tag `serve`, signature `serving_default` with the same names.

    Raises ConversionFailed for a model that would run code of its author's, and for one that TensorFlow cannot save.
    """
    from mlconvert.readers.keras_files import load_keras
    from mlconvert.readers.saved_model_files import in_order_of, saved_model_signature
    from mlconvert.tensorflow.saving import save_function

    loaded = load_keras(source.path)
    loaded.check_graph(source.location)
    try:
        renamed = save_function(loaded.outputs, loaded.signature, target.parent, holding=loaded.tables())
    except MemoryError:
        raise
    except Exception as error:  # Keras' layers raise what they like
        what = f"TensorFlow cannot save the model: {' '.join(str(error).split())[:300]}"
        raise ConversionFailed(what, where=source.location) from error
    order = _renamed(loaded.signature, renamed)
    facts = {"renamed_by": "TensorFlow forbids some characters in names"} if renamed else {}
    signature = in_order_of(saved_model_signature(target), order)
    return Artifact("saved-model", str(target), saved_model_files(target), signature, renamed, facts=facts)


def _renamed(signature: Signature, names: Mapping[str, str]) -> Signature:
    inputs = tuple(replace(spec, name=names.get(spec.name, spec.name)) for spec in signature.inputs)
    return Signature(inputs, signature.outputs)
