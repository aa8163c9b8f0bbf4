"""onnx -> saved-model: lowered to core TensorFlow operations, which a stock TensorFlow Serving runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.formats.saved_model import saved_model_files
from mlconvert.onnx_model.external import array_of
from mlconvert.onnx_model.files import onnx_signature, read_outline
from mlconvert.readers.saved_model_files import in_order_of, saved_model_signature
from mlconvert.readers.tensorflow_runtime import import_tensorflow
from mlconvert.signature import Signature


def convert(
    source: Artifact,
    target: Path,
    *,
    signatures: Annotated[
        dict[str, tuple[str, ...]] | None, "further signatures: each has a name and the outputs that it gives"
    ] = None,
) -> Artifact:
    """Write the SavedModel into the folder of `target`; tag `serve`, signature `serving_default` with ONNX's names.

    Raises ConversionFailed, naming all of them, for operators that have no lowering; UsageError for a wrong option.
    """
    model = read_outline(source.path)
    signature = onnx_signature(model)
    import_tensorflow()
    from mlconvert.tensorflow.saving import save
    from mlconvert.tensorflow.support import hint_for, missing_operators

    missing = missing_operators(model)
    if missing:
        listed = ", ".join(f"{name}: {count} node{'s' * (count > 1)}" for name, count in sorted(missing.items()))
        raise ConversionFailed(
            f"the model uses operators that have no lowering to TensorFlow: {listed}",
            where=source.location,
            hint=hint_for(missing),
        )
    try:
        renamed = save(
            model, signature, target.parent, read=lambda tensor: array_of(tensor, source.path), entries=signatures or {}
        )
    except ConversionFailed as error:
        if error.where is None:
            raise ConversionFailed(error.message, where=source.location, hint=error.hint) from error
        raise
    made = saved_model_signature(target)
    order = Signature(
        tuple(replace(spec, name=renamed.get(spec.name, spec.name)) for spec in signature.inputs), signature.outputs
    )
    facts = {"renamed_by": "TensorFlow forbids some characters in names"} if renamed else {}
    return Artifact(
        "saved-model", str(target), saved_model_files(target), in_order_of(made, order), renamed, facts=facts
    )
