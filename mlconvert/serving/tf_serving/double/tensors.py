"""TensorProto to arrays by TensorFlow's own reader, and arrays to the fields that the real server fills.

The server writes values into the repeated field of their type, one for each element, and not into `tensor_content`
(Tensor::AsProtoField).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlconvert.serving.tf_serving.double.status import invalid
from mlconvert.serving.tf_serving.messages import DATA_TYPES, message, type_name

FIELDS = {
    "DT_FLOAT": "float_val",
    "DT_DOUBLE": "double_val",
    "DT_INT32": "int_val",
    "DT_INT16": "int_val",
    "DT_INT8": "int_val",
    "DT_UINT8": "int_val",
    "DT_UINT16": "int_val",
    "DT_STRING": "string_val",
    "DT_COMPLEX64": "scomplex_val",
    "DT_INT64": "int64_val",
    "DT_BOOL": "bool_val",
    "DT_COMPLEX128": "dcomplex_val",
    "DT_HALF": "half_val",
    "DT_BFLOAT16": "half_val",
    "DT_UINT32": "uint32_val",
    "DT_UINT64": "uint64_val",
}


def short_name(data_type: int) -> str:
    """`float`, as TensorFlow's messages say it."""
    return type_name(data_type).removeprefix("DT_").lower()


def to_array(tensor: Any, alias: str) -> Any:
    """The array of a TensorProto. Raises Refused as the server does for one that holds no tensor."""
    import tensorflow as tf

    proto = tf.make_tensor_proto(0)
    try:
        proto.ParseFromString(tensor.SerializeToString())
        known = not proto.tensor_shape.unknown_rank and all(dim.size >= 0 for dim in proto.tensor_shape.dim)
        array = tf.make_ndarray(proto) if known else None
    except Exception as error:
        raise invalid(f"tensor parsing error: {alias}") from error
    if array is None:
        raise invalid(f"tensor parsing error: {alias}")
    return array


def to_proto(values: Any) -> Any:
    import tensorflow as tf

    array = np.asarray(values)
    data_type = DATA_TYPES["DT_STRING"] if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype).as_datatype_enum
    name = type_name(data_type)
    if name not in FIELDS:
        raise invalid(f"the double cannot write tensors of type {short_name(data_type)}")
    proto = message("TensorProto")(dtype=data_type)
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.reshape(-1)
    if name in ("DT_HALF", "DT_BFLOAT16"):
        flat = flat.view(np.uint16)
    elif name in ("DT_COMPLEX64", "DT_COMPLEX128"):
        flat = flat.view(flat.real.dtype)
    listed = (
        [one if isinstance(one, bytes) else str(one).encode() for one in flat] if name == "DT_STRING" else flat.tolist()
    )
    getattr(proto, FIELDS[name]).extend(listed)
    return proto
