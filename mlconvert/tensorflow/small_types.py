"""Tensors of 8-bit floats, and of types of 4 and 2 bits, for which TensorFlow has a type and hardly a kernel.

TensorFlow stores each element of them in a byte. Three kernels take them all: a list of tensors, which can be
serialized, and the parser of a serialized tensor. Through these a small tensor becomes uint8 or int8 with the same
bits, and back (a protocol buffer whose field `dtype` comes twice has the later one). Rounding to a small float is a
search in the table of its values: ties go to the even code, as IEEE 754 has it.
"""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

_TYPES = tf.dtypes.experimental
FLOATS = frozenset(
    {
        _TYPES.float8_e4m3fn,
        _TYPES.float8_e4m3fnuz,
        _TYPES.float8_e5m2,
        _TYPES.float8_e5m2fnuz,
        _TYPES.float4_e2m1fn,
    }
)
INTEGERS = frozenset({_TYPES.int4, _TYPES.uint4, _TYPES.int2, _TYPES.uint2})
SMALL = FLOATS | INTEGERS
_SIGNED = frozenset({_TYPES.int4, _TYPES.int2})
_BITS = {_TYPES.int4: 4, _TYPES.uint4: 4, _TYPES.int2: 2, _TYPES.uint2: 2}


def carrier(dtype: tf.DType) -> tf.DType:
    """The type of a byte that carries a small type: the value of an integer, the code of a float."""
    return tf.int8 if dtype in _SIGNED else tf.uint8


def carried(tensor: tf.Tensor) -> tf.Tensor:
    """A small tensor as bytes: codes of floats, values of integers."""
    dtype = tensor.dtype
    if dtype in (_TYPES.int4, _TYPES.uint4):
        return tf.cast(tensor, carrier(dtype))
    flat = tf.reshape(tensor, [-1])
    handle = tf.raw_ops.EmptyTensorList(
        element_shape=tf.constant([-1]), max_num_elements=tf.constant(-1), element_dtype=dtype
    )
    handle = tf.raw_ops.TensorListPushBack(input_handle=handle, tensor=flat)
    written = tf.io.decode_raw(tf.io.serialize_tensor(handle), tf.uint8)
    count = tf.size(flat)
    if dtype in INTEGERS:  # written as varints, of which only the last byte is below 128; a negative one has ten
        ends = tf.cast(tf.where(written < 128)[:, 0], tf.int32)
        starts = tf.concat([[0], ends + 1], 0)[:-1]
        written = tf.gather(written, starts)
    codes = written[tf.size(written) - count :]
    if dtype in INTEGERS:
        codes = wrapped(tf.cast(codes, tf.int32), dtype)
    return _shaped(tf.reshape(codes, tf.shape(tensor)), tensor)


def restored(codes: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """The small tensor that these bytes carry."""
    if dtype in (_TYPES.int4, _TYPES.uint4):
        return tf.cast(codes, dtype)
    written = tf.strings.join([tf.io.serialize_tensor(codes), bytes([8, dtype.as_datatype_enum])])
    return _shaped(tf.io.parse_tensor(written, dtype), codes)


def cast(tensor: tf.Tensor, dtype: tf.DType, *, saturate: bool = True) -> tf.Tensor:
    """Cast to, from or between small types. Integers wrap; floats too big saturate, or become infinite or NaN."""
    source = tensor.dtype
    if source in FLOATS:
        values = tf.gather(tf.constant(values_of(source)), tf.cast(carried(tensor), tf.int32))
        return cast(values, dtype, saturate=saturate)
    if source in INTEGERS:
        return cast(carried(tensor), dtype, saturate=saturate)
    if dtype in FLOATS:
        values = tensor if source == tf.float64 else tf.cast(tensor, tf.float32)
        return restored(_coded(values, dtype, saturate=saturate), dtype)
    if dtype in INTEGERS:
        whole = tensor if source.is_integer and source.size <= 4 else tf.cast(tensor, tf.int64)
        return restored(wrapped(tf.cast(whole, tf.int32), dtype), dtype)
    return tf.cast(tensor, dtype)


def wrapped(values: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Integers modulo the range of a small type, as bytes."""
    bits = _BITS[dtype]
    rest = tf.bitwise.bitwise_and(values, 2**bits - 1)
    if dtype in _SIGNED:
        rest = tf.where(rest >= 2 ** (bits - 1), rest - 2**bits, rest)
    return tf.cast(rest, carrier(dtype))


def _shaped(tensor: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tensor, like.shape)


@functools.cache
def values_of(dtype: tf.DType) -> np.ndarray:
    """What each code stands for."""
    codes = np.arange(16 if dtype == _TYPES.float4_e2m1fn else 256, dtype=np.uint8)
    values: np.ndarray = codes.view(dtype.as_numpy_dtype).astype(np.float32)
    return values


@functools.cache
def _thresholds(dtype: tf.DType, real: type) -> tuple[np.ndarray, int]:
    """The magnitudes from which on each next code is nearest, and the code of the largest finite value."""
    values = values_of(dtype).astype(np.float64)
    values = values[: len(values) // 2]
    largest = int(np.nonzero(np.isfinite(values))[0][-1])
    middles = (values[:largest] + values[1 : largest + 1]) / 2
    # What lies as near to the largest as to the next value that would follow it rounds to the even one of the two.
    beyond = values[largest] + (values[largest] - values[largest - 1]) / 2
    middles = np.append(middles, beyond).astype(real)
    odd = np.arange(len(middles)) % 2 == 1
    return np.where(odd, middles, np.nextafter(middles, np.array(np.inf, real))), largest


def _coded(values: tf.Tensor, dtype: tf.DType, *, saturate: bool) -> tf.Tensor:
    """The codes of the nearest values."""
    thresholds, largest = _thresholds(dtype, values.dtype.as_numpy_dtype)
    magnitude = tf.abs(values)
    found = tf.searchsorted(tf.constant(thresholds), tf.reshape(magnitude, [-1]), side="right")
    codes = tf.reshape(found, tf.shape(values))
    bits = tf.bitcast(values, tf.int64 if values.dtype == tf.float64 else tf.int32)
    half = len(values_of(dtype)) // 2
    unsigned_zero = dtype in (_TYPES.float8_e4m3fnuz, _TYPES.float8_e5m2fnuz)
    negative = bits < 0
    if unsigned_zero:  # the code of minus zero is NaN
        negative = tf.logical_and(negative, codes > 0)
    sign = tf.where(negative, half, 0)
    over = codes > largest
    if dtype == _TYPES.float4_e2m1fn:
        codes = tf.where(tf.math.is_nan(values), half, tf.minimum(codes, largest) + sign)  # no NaN: -0, as numpy's
        return tf.cast(codes, tf.uint8)
    nan = half if unsigned_zero else half - 1
    if saturate:
        codes = tf.minimum(codes, largest)
    elif dtype == _TYPES.float8_e5m2:
        codes = tf.where(over, largest + 1, codes)
    else:
        codes = tf.where(over, nan, codes)
        sign = tf.where(over, 0, sign) if unsigned_zero else sign
    codes = tf.where(tf.math.is_nan(values), nan, codes + sign)
    return tf.cast(codes, tf.uint8)
