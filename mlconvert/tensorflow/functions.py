"""Operators that are functions of others: the model's own, and those that ONNX defines that way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx


def function_of(
    node: onnx.NodeProto,
    domain: str,
    version: int,
    functions: Mapping[tuple[str, str, str], onnx.FunctionProto],
    tensors: Sequence[Any],
) -> onnx.FunctionProto | None:
    """The function that an operator is: the model's own, or ONNX's for inputs like `tensors` (None: left out)."""
    own = functions.get((domain, node.op_type, node.overload))
    if own is not None:
        return own
    import onnx

    try:
        schema = onnx.defs.get_schema(node.op_type, version, domain)
    except onnx.defs.SchemaError:
        return None
    made: bytes | onnx.FunctionProto | None = None
    if schema.has_context_dependent_function:
        wanted = _latest(schema.context_dependent_function_opset_versions, version)
        types = [_type_of(tensor) for tensor in tensors]
        made = schema.get_context_dependent_function_with_opset_version(wanted, node.SerializeToString(), types)
    elif schema.has_function:
        made = schema.get_function_with_opset_version(_latest(schema.function_opset_versions, version))
    if not made:
        return None
    function = onnx.FunctionProto.FromString(made) if isinstance(made, bytes) else made
    named = {one.name for one in function.attribute_proto}
    for name, attribute in schema.attributes.items():  # what the call leaves out has the operator's default
        if name not in named and attribute.default_value.name:
            function.attribute_proto.append(attribute.default_value)
    if not function.opset_import:
        function.opset_import.append(onnx.helper.make_opsetid(domain, version))
    return function


def _latest(versions: Sequence[int], version: int) -> int:
    """The newest body that is not newer than the operator; each is written in the opset of its number."""
    return max((one for one in versions if one <= version), default=min(versions))


def _type_of(tensor: Any) -> bytes:
    import onnx
    import tensorflow as tf

    if not isinstance(tensor, tf.Tensor):
        return bytes(onnx.TypeProto().SerializeToString())
    if tensor.dtype == tf.string:
        element = onnx.TensorProto.STRING
    else:
        element = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype.as_numpy_dtype)
    lengths = None if tensor.shape.rank is None else tensor.shape.as_list()
    return bytes(onnx.helper.make_tensor_type_proto(element, lengths).SerializeToString())
