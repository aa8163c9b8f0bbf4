"""ONNX's element types and TensorFlow's."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_TYPES = tf.dtypes.experimental
# TensorProto.DataType -> TensorFlow's type. TensorFlow lacks FLOAT8E8M0 (24) and the types of 6 bits (27, 28).
_OF_ONNX = {
    1: tf.float32,
    2: tf.uint8,
    3: tf.int8,
    4: tf.uint16,
    5: tf.int16,
    6: tf.int32,
    7: tf.int64,
    8: tf.string,
    9: tf.bool,
    10: tf.float16,
    11: tf.float64,
    12: tf.uint32,
    13: tf.uint64,
    14: tf.complex64,
    15: tf.complex128,
    16: tf.bfloat16,
    17: _TYPES.float8_e4m3fn,
    18: _TYPES.float8_e4m3fnuz,
    19: _TYPES.float8_e5m2,
    20: _TYPES.float8_e5m2fnuz,
    21: _TYPES.uint4,
    22: _TYPES.int4,
    23: _TYPES.float4_e2m1fn,
    25: _TYPES.uint2,
    26: _TYPES.int2,
}
_NAMES = {24: "FLOAT8E8M0", 27: "FLOAT6E2M3", 28: "FLOAT6E3M2"}


def of_onnx(element_type: int) -> tf.DType:
    """TensorFlow's type for a TensorProto.DataType. Raises TypeError where it has none."""
    if element_type not in _OF_ONNX:
        raise TypeError(f"TensorFlow has no type {_NAMES.get(element_type, element_type)}")
    return _OF_ONNX[element_type]


def as_constant(array: np.ndarray) -> np.ndarray:
    """An array as tf.constant takes it: strings as UTF-8."""
    if array.dtype.kind not in "UO":
        return array
    flat = [item if isinstance(item, bytes) else str(item).encode() for item in array.reshape(-1)]
    made = np.empty(len(flat), dtype=object)
    made[:] = flat
    return made.reshape(array.shape)
