"""Quantization: integers that stand for `(q - zero point) * scale`, rounded half to even and saturated.

Products of integers are computed in float64, which holds every sum of fewer than 2^37 products of two bytes exactly
and has a faster kernel than int32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow import grappler, kernels, small_types
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator

_SMALL = tf.dtypes.experimental
_RANGES = {
    tf.uint8: (0, 255),
    tf.int8: (-128, 127),
    tf.uint16: (0, 65535),
    tf.int16: (-32768, 32767),
    _SMALL.uint4: (0, 15),
    _SMALL.int4: (-8, 7),
    _SMALL.uint2: (0, 3),
    _SMALL.int2: (-2, 1),
}


def saturated(values: Any, dtype: tf.DType) -> Any:
    """Floats that are whole numbers as integers of a type, its ends for what lies beyond them."""
    low, high = _RANGES[dtype]
    return kernels.cast(tf.cast(tf.clip_by_value(values, low, high), tf.int32), dtype)


def _dtype(code: int) -> tf.DType:
    from onnx import helper

    return tf.as_dtype(helper.tensor_dtype_to_np_dtype(code))


def _spread(parameter: Any, x: Any, axis: int, block_size: int, node: Node) -> Any:
    """A scale or zero point in a shape that broadcasts against `x`: one for all, one along an axis, or one a block."""
    rank = x.shape.rank
    if parameter.shape.rank is None or (rank is None and parameter.shape.rank):
        raise node.refuse("has a scale whose number of axes is not known")
    if parameter.shape.rank == 0:
        return parameter
    if parameter.shape.num_elements() == 1 and not block_size:
        return tf.reshape(parameter, [])
    axis = axis % rank if rank > 1 else 0
    if block_size:
        repeated = tf.repeat(parameter, block_size, axis=axis)
        return repeated[(slice(None),) * axis + (slice(kernels.length(x, axis)),)]
    if parameter.shape.rank != 1:
        raise node.refuse("has a scale for blocks, and no block_size")
    return tf.reshape(parameter, [-1, *([1] * (rank - axis - 1))])


def quantize(
    x: Any,
    scale: Any,
    zero_point: Any = None,
    *,
    axis: int = 1,
    saturate: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    node: Node,
) -> Any:
    dtype = zero_point.dtype if zero_point is not None else _dtype(output_dtype) if output_dtype else tf.uint8
    # Where nothing else is said the scale's type is that of the division; float16 and bfloat16 divide as float32.
    exact = _dtype(precision) if precision else scale.dtype
    computed = tf.float64 if tf.float64 in (exact, x.dtype) else tf.float32
    scale = _spread(kernels.cast(scale, computed), x, axis, block_size, node)
    quotient = kernels.cast(x, computed) / scale
    if exact in kernels.HALVES:
        quotient = tf.cast(tf.cast(quotient, exact), computed)
    if zero_point is not None and kernels.known(zero_point) is not None and not _any(zero_point):
        zero_point = None
    if zero_point is not None:
        zero_point = _spread(kernels.cast(zero_point, computed), x, axis, block_size, node)
    if dtype in _RANGES:
        whole = tf.round(quotient)
        return saturated(whole if zero_point is None else whole + zero_point, dtype)
    return small_types.cast(quotient, dtype, saturate=bool(saturate))


def _any(zero_point: Any) -> bool:
    return bool(np.any(kernels.known(zero_point).astype(np.float32)))


def dequantize(
    x: Any,
    scale: Any,
    zero_point: Any = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    node: Node,
) -> Any:
    dtype = _dtype(output_dtype) if output_dtype else scale.dtype
    computed = tf.float64 if tf.float64 in (dtype, scale.dtype) else tf.float32
    if zero_point is not None and x.dtype.is_integer:
        # In integers: an int32 may have more digits than a float32.
        x = kernels.cast(x, tf.int32) - _spread(kernels.cast(zero_point, tf.int32), x, axis, block_size, node)
    scale = _spread(kernels.cast(scale, computed), x, axis, block_size, node)
    return kernels.cast(kernels.cast(x, computed) * scale, dtype)


def dynamic_quantize(x: Any) -> tuple[Any, Any, Any]:
    """To uint8, with the range of the values and 0. Where all are 0 the scale is 1, as in ONNX Runtime."""
    low = tf.minimum(tf.reduce_min(grappler.fenced(x)), tf.zeros((), x.dtype))
    high = tf.maximum(tf.reduce_max(grappler.fenced(x)), tf.zeros((), x.dtype))
    scale = tf.where(high > low, (high - low) / 255, tf.ones((), x.dtype))
    zero_point = tf.clip_by_value(tf.round(-low / scale), 0, 255)
    return saturated(tf.round(x / scale) + zero_point, tf.uint8), scale, tf.cast(zero_point, tf.uint8)


# --- products of integers ---


def centred(values: Any, zero_point: Any = None, *, rows: bool = False) -> Any:
    """Integers less their zero point, as float64; with `rows` a vector of zero points has one for each row."""
    wide = kernels.cast(values, tf.float64)
    if zero_point is None or (kernels.known(zero_point) is not None and not _any(zero_point)):
        return wide
    return wide - _by_row(kernels.cast(zero_point, tf.float64), rows)


def _by_row(parameter: Any, rows: bool) -> Any:
    if parameter.shape.num_elements() == 1:
        return tf.reshape(parameter, [])
    return parameter[:, tf.newaxis] if rows and parameter.shape.rank == 1 else parameter


def matmul_integer(a: Any, b: Any, a_zero_point: Any = None, b_zero_point: Any = None) -> Any:
    product = _product(centred(a, a_zero_point, rows=True), centred(b, b_zero_point))
    return tf.cast(tf.cast(product, tf.int64), tf.int32)


def _product(a: Any, b: Any) -> Any:
    """As numpy's matmul: a vector is a row, or a column, that the answer does not have."""
    left, right = a.shape.rank == 1, b.shape.rank == 1
    answer = tf.matmul(a[tf.newaxis] if left else a, b[:, tf.newaxis] if right else b)
    if right:
        answer = tf.squeeze(answer, -1)
    return tf.squeeze(answer, -1 if right else -2) if left else answer


def requantized(product: Any, scale: Any, zero_point: Any) -> Any:
    """Sums of products as integers of the zero point's type, in which one is worth 1 / `scale` (float32)."""
    whole = tf.round(tf.cast(product, tf.float32) * scale)
    return saturated(whole + kernels.cast(zero_point, tf.float32), zero_point.dtype)


def qlinear_matmul(
    a: Any, a_scale: Any, a_zero_point: Any, b: Any, b_scale: Any, b_zero_point: Any, y_scale: Any, y_zero_point: Any
) -> Any:
    product = _product(centred(a, a_zero_point, rows=True), centred(b, b_zero_point))
    a_scale, b_scale, y_scale = (kernels.cast(one, tf.float32) for one in (a_scale, b_scale, y_scale))
    scale = _by_row(a_scale, True) * _by_row(b_scale, False) / _by_row(y_scale, True)
    return requantized(product, scale, y_zero_point)


_LACKING = "TensorFlow has no float6 and no float8e8m0"

OPERATORS = (
    # The data may come in any layout, with `axis` to fit; scales of one or no axis stay as they are.
    Operator("QuantizeLinear", 10, quantize, layout="axis", note=_LACKING),
    Operator("DequantizeLinear", 10, dequantize, layout="axis", note=_LACKING),
    Operator("DynamicQuantizeLinear", 11, dynamic_quantize),
    Operator("MatMulInteger", 10, matmul_integer),
    Operator("QLinearMatMul", 10, qlinear_matmul),
)
