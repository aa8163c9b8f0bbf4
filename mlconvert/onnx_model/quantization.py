"""What both int8 passes share: preparing a model for ONNX Runtime's quantisation, and telling what it did."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.onnx_model.files import read_onnx, write_onnx
from mlconvert.onnx_model.graphs import infer_types, inline_functions, nodes_of, tensors_of

if TYPE_CHECKING:
    import onnx

DYNAMIC_OPERATORS = ("Attention", "EmbedLayerNormalization", "Gather", "Gemm", "LSTM", "MatMul", "Transpose")
"""What quantize_dynamic is asked to quantise: all that it can, but convolutions."""


def preprocess(path: Path, folder: Path, keep_nodes: tuple[str, ...]) -> Path:
    """A copy of the model in `folder` with functions inlined and the type and shape of every value inferred.

    A value of unknown shape is not quantised. Nothing is fused or folded: that is what the pass `optimize` is for.
    Raises UsageError when one of `keep_nodes` is not a node's name.
    """
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = inline_functions(read_onnx(path, external_data=False), path)
    names = {node.name for node in nodes_of(model) if node.name}
    for name in keep_nodes:
        if name not in names:
            raise UsageError(f"keep_nodes: the model has no node '{name}'.{suggest(name, names)}")
    model = infer_types(model, path)
    prepared = folder / "prepared.onnx"
    write_onnx(model, prepared, weights_of=path)
    model = read_onnx(prepared, external_data=False)
    add_pre_process_metadata(model)  # or ONNX Runtime asks on stderr for what was just done
    prepared.write_bytes(model.SerializeToString())
    return prepared


def check_quantised(before: onnx.ModelProto, after: onnx.ModelProto, where: str) -> dict[str, Any]:
    """What was quantised, for the record; ConversionFailed when it was nothing."""
    import onnx

    small = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)

    def weights(model: onnx.ModelProto) -> int:
        # Zero points are int8 too, and have no axis.
        return sum(1 for tensor in tensors_of(model) if tensor.data_type in small and len(tensor.dims) > 1)

    count = weights(after) - weights(before)
    if count < 1:
        operators = ", ".join(sorted({node.op_type for node in nodes_of(before)}))
        what = f"nothing could be quantised: of the operators {operators} none has constant weights and an int8 form"
        raise ConversionFailed(what, where=where)
    added = Counter(node.op_type for node in nodes_of(after)) - Counter(node.op_type for node in nodes_of(before))
    return {"quantised_weights": count, "operators_added": dict(sorted(added.items()))}
