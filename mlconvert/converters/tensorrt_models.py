"""What TensorRT does not take, told before it is asked: operators, types, zero points, and another precision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converters.tensorrt_build import DTYPES
from mlconvert.converters.tensorrt_operators import check_operators
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.formats.onnx_operators import Node
from mlconvert.onnx_model.external import array_of
from mlconvert.onnx_model.graphs import initializers_of, node_name, nodes_of, tensors_of
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import onnx


def check_model(model: onnx.ModelProto, signature: Signature, source: Artifact, plugins: bool) -> None:
    """Raise ConversionFailed for operators and types that no TensorRT has."""
    if not plugins:
        check_operators(map(_node, _called(model)), source.location)
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        for spec in specs:
            if spec.dtype not in DTYPES.values():
                what = f"the {side} '{spec.name}' is {spec.dtype}, which TensorRT does not take"
                hint = "serve the model with ONNX Runtime: --to onnx"
                raise ConversionFailed(what, where=source.location, hint=hint)


def _called(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes but those that call one of the model's own functions."""
    functions = {(function.domain, function.name) for function in model.functions}
    return (node for node in nodes_of(model) if (node.domain, node.op_type) not in functions)


def _node(node: onnx.NodeProto) -> Node:
    domain = "" if node.domain == "ai.onnx" else node.domain
    return Node(domain, node.op_type, node.name or next(iter(node.output), "") or "without a name")


def check_zero_points(model: onnx.ModelProto, source: Artifact) -> None:
    """TensorRT's quantisation has no zero point but zero, and no uint8."""
    import numpy as np

    weights = {tensor.name: tensor for tensor in initializers_of(model)}
    for node in nodes_of(model):
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or len(node.input) < 3:
            continue
        tensor = weights.get(node.input[2])
        if tensor is None:
            continue
        zero = array_of(tensor, source.path)
        if zero.dtype == np.uint8 or zero.astype(np.float32).any():
            what = f"{node_name(node)} has a zero point of {zero.ravel()[0]} ({zero.dtype})"
            what = f"{what}, and TensorRT takes int8 around 0"
            hint = "quantise it so: --via int8-static --set int8-static.symmetric=yes"
            raise ConversionFailed(what, where=source.location, hint=hint)


def precision_of(model: onnx.ModelProto) -> str:
    """The lowest precision that anything is computed in; TensorRT has no float64 and takes float32 for it."""
    import onnx

    name = onnx.TensorProto.DataType.Name
    values = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    types = {name(value.type.tensor_type.elem_type) for value in values}
    types |= {name(tensor.data_type) for tensor in tensors_of(model)}
    for node in nodes_of(model):
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
            return "int8"
        if node.op_type == "Cast":
            types |= {name(attribute.i) for attribute in node.attribute if attribute.name == "to"}
    return "bfloat16" if "BFLOAT16" in types else "float16" if "FLOAT16" in types else "float32"


def check_precision(wanted: str, computes: str, source: Artifact) -> None:
    """Raise UsageError where the engine would compute in something else than it is asked for."""
    if wanted in ("model", computes):
        return
    step = {"float16": "float16", "bfloat16": "bfloat16", "int8": "int8-static"}.get(wanted)
    what = f"precision={wanted}: the model computes in {computes}, and TensorRT takes the precision from the ONNX file"
    hint = f"add the step {step} before it: --via {step}" if step else "leave out the step that lowers the precision"
    raise UsageError(what, where=source.location, hint=hint)
