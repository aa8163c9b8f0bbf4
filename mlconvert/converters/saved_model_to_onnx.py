"""saved-model -> onnx: one signature of a SavedModel, through tf2onnx."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlconvert.converters.tensorflow_options import Opset, write_checked
from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact

# A SavedModel is a program, and part of it runs when it is loaded: these reach files or Python.
REACHING_OUT = (
    "EagerPyFunc",
    "LoadDataset",
    "LoadDatasetV2",
    "MatchingFiles",
    "PyFunc",
    "PyFuncStateless",
    "ReadFile",
    "SaveDataset",
    "SaveDatasetV2",
    "WriteFile",
)


def convert(
    source: Artifact,
    target: Path,
    *,
    opset: Opset = 18,
    signature: Annotated[str, "the signature of the SavedModel that is converted"] = "serving_default",
) -> Artifact:
    """Write an ONNX model of a signature; its inputs and outputs keep their names, types and dynamic axes.

    Raises ConversionFailed for a damaged SavedModel, for one without that signature, for operators that reach files or
    Python, with the names of all operators that tf2onnx cannot convert, and for a result that ONNX Runtime does not
    open; UsageError for an opset that tf2onnx does not write.
    """
    from mlconvert.readers.saved_model_files import FILE, TAG, read_saved_model, signature_of
    from mlconvert.readers.tensorflow_onnx import onnx_of
    from mlconvert.readers.tensorflow_runtime import import_tensorflow

    where = source.location
    saved = read_saved_model(source.folder / FILE)
    expected = signature_of(saved, signature)
    reaching = [name for name in REACHING_OUT if name in saved.operators]
    if reaching:
        what = f"the SavedModel has operators that read or write files, or run Python: {', '.join(reaching)}"
        raise ConversionFailed(what, where=where, hint="export the network alone, without what prepares its inputs")
    tf = import_tensorflow()
    try:
        loaded = tf.saved_model.load(str(source.folder), tags=[TAG])
        called = loaded.signatures[signature]
    except MemoryError:
        raise
    except Exception as error:
        what = f"TensorFlow {tf.__version__} cannot load the SavedModel: {' '.join(str(error).split())[:300]}"
        raise ConversionFailed(what, where=where, hint="copy or export the model again, as a whole folder") from error
    given = called.structured_input_signature[1]
    # TensorFlow's own spec says what the function takes; the name is that of the signature.
    inputs = [tf.TensorSpec(given[spec.name].shape, given[spec.name].dtype, spec.name) for spec in expected.inputs]

    def function(**tensors: Any) -> dict[str, Any]:
        answers = called(**tensors)
        return {spec.name: answers[spec.name] for spec in expected.outputs}

    model = onnx_of(function, inputs, opset=opset, where=where, holder=loaded)
    return write_checked(model, target, expected, where)
