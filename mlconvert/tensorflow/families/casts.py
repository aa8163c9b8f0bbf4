"""Cast, CastLike and BitCast between all types that TensorFlow has."""

from __future__ import annotations

import tensorflow as tf

from mlconvert.tensorflow import kernels, small_types, subnormals
from mlconvert.tensorflow.element_types import of_onnx
from mlconvert.tensorflow.operators import Operator

_NUMBERS = {
    "FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "STRING": 8, "BOOL": 9,
    "FLOAT16": 10, "DOUBLE": 11, "UINT32": 12, "UINT64": 13, "COMPLEX64": 14, "COMPLEX128": 15,
}  # fmt: skip


def cast_1(x: tf.Tensor, *, to: str) -> tf.Tensor:
    """Up to opset 5 the type is named by a word."""
    return converted(x, of_onnx(_NUMBERS[to.upper()]))


def cast(x: tf.Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> tf.Tensor:  # noqa: ARG001
    """`round_mode` is for FLOAT8E8M0 alone, which TensorFlow lacks."""
    return converted(x, of_onnx(to), saturate=bool(saturate))


def cast_like(x: tf.Tensor, target: tf.Tensor, *, saturate: int = 1, round_mode: str = "up") -> tf.Tensor:  # noqa: ARG001
    return converted(x, target.dtype, saturate=bool(saturate))


def converted(x: tf.Tensor, dtype: tf.DType, *, saturate: bool = True) -> tf.Tensor:
    """Integers wrap, as do small floats with `saturate=False`, which become infinite or NaN."""
    if x.dtype == dtype:
        return tf.identity(x)
    if dtype == tf.string:
        return _written(x)
    if x.dtype == tf.string:
        return _read(x, dtype)
    if x.dtype in small_types.SMALL or dtype in small_types.SMALL:
        return small_types.cast(x, dtype, saturate=saturate)
    if {x.dtype, dtype} == {tf.float32, tf.float64}:
        return subnormals.narrowed(x) if dtype == tf.float32 else subnormals.widened(x)
    return tf.cast(x, dtype)


def _written(x: tf.Tensor) -> tf.Tensor:
    """Numbers as ONNX Runtime writes them: 8 digits, of a double too."""
    if x.dtype == tf.bool:
        return tf.where(x, "1", "0")
    if x.dtype in small_types.SMALL:
        x = small_types.cast(x, tf.float32 if x.dtype in small_types.FLOATS else tf.int32)
    if x.dtype in kernels.HALVES:
        x = tf.cast(x, tf.float32)
    if not x.dtype.is_floating:
        return tf.strings.as_string(x)
    text = tf.strings.as_string(x, precision=8, shortest=True)
    infinite = tf.where(x > 0, "INF", "-INF")
    return tf.where(tf.math.is_nan(x), "NaN", tf.where(tf.math.is_inf(x), infinite, text))


def _read(x: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Of an integer the digits up to the first other character count, as in C."""
    if not (dtype.is_integer or dtype == tf.bool):
        read = tf.strings.to_number(tf.strings.strip(x), tf.float64 if dtype == tf.float64 else tf.float32)
    else:
        digits = tf.strings.regex_replace(x, r"^\s*([+-]?\d+).*$", r"\1")
        read = tf.strings.to_number(digits, tf.uint64 if dtype == tf.uint64 else tf.int64)
    return converted(read, dtype)


def bit_cast(x: tf.Tensor, *, to: int) -> tf.Tensor:
    dtype = of_onnx(to)
    if x.dtype == tf.bool:
        x = tf.cast(x, tf.uint8)
    elif x.dtype in small_types.SMALL:
        x = tf.bitcast(small_types.carried(x), tf.uint8)
    if dtype == tf.bool:
        return tf.bitcast(x, tf.uint8) != 0
    if dtype in small_types.INTEGERS:
        return small_types.restored(small_types.wrapped(tf.cast(x, tf.int32), dtype), dtype)
    if dtype in small_types.SMALL:
        return small_types.restored(tf.bitcast(x, tf.uint8), dtype)
    return tf.bitcast(x, dtype)


OPERATORS: tuple[Operator, ...] = (
    Operator("Cast", 1, cast_1, until=5, layout="any"),
    Operator("Cast", 6, cast, layout="any", note="not to or from FLOAT8E8M0 and the floats of 6 bits"),
    Operator("CastLike", 15, cast_like, note="not to or from FLOAT8E8M0 and the floats of 6 bits"),
    Operator("BitCast", 26, bit_cast, layout="any", note="not to or from FLOAT8E8M0 and the floats of 6 bits"),
)
