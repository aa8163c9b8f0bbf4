"""Which types TensorFlow's CPU kernels compute in, and how to compute in another where one is lacking.

The kernels that a lowering uses exist for the four floating-point types and for most integers, seldom for the 8-bit
floats and hardly ever for types of less than 8 bits. What is computed in a wider type comes back in its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import small_types

HALVES = frozenset({tf.float16, tf.bfloat16})
DOUBLES = frozenset({tf.float32, tf.float64})  # what nearly every kernel has
FLOATS = HALVES | DOUBLES
SIGNED = frozenset({tf.int8, tf.int16, tf.int32, tf.int64})
UNSIGNED = frozenset({tf.uint8, tf.uint16, tf.uint32, tf.uint64})
INTEGERS = SIGNED | UNSIGNED
NUMBERS = FLOATS | INTEGERS  # Add, Mul, Maximum, Less, Sum, Cumsum, TopK, scatters …
SIGNED_NUMBERS = FLOATS | SIGNED  # Abs, Neg, Sign, Pow
PRODUCTS = FLOATS | {tf.int32, tf.int64}  # MatMul and Einsum (MatMul has int16 too)
COMPLEX = frozenset({tf.complex64, tf.complex128})
STANDARD = NUMBERS | COMPLEX | {tf.bool, tf.string}  # what every kernel has that only moves elements
SMALL = small_types.SMALL

_WIDER = {
    tf.bool: (tf.uint8, tf.int32, tf.float32, tf.float64),
    tf.float16: (tf.float32, tf.float64),
    tf.bfloat16: (tf.float32, tf.float64),
    tf.float32: (tf.float64,),
    tf.int8: (tf.int16, tf.int32, tf.int64, tf.float32, tf.float64),
    tf.int16: (tf.int32, tf.int64, tf.float32, tf.float64),
    tf.int32: (tf.int64, tf.float64),
    tf.int64: (tf.float64,),
    tf.uint8: (tf.int16, tf.int32, tf.int64, tf.float32, tf.float64),
    tf.uint16: (tf.int32, tf.int64, tf.float32, tf.float64),
    tf.uint32: (tf.int64, tf.float64),
    tf.uint64: (tf.int64, tf.float64),  # int64 has the same bits: right for sums and products, not for comparisons
    tf.dtypes.experimental.int4: (tf.int8, tf.int32, tf.float32, tf.float64),
    tf.dtypes.experimental.uint4: (tf.uint8, tf.int32, tf.float32, tf.float64),
    tf.dtypes.experimental.int2: (tf.int8, tf.int32, tf.float32, tf.float64),
    tf.dtypes.experimental.uint2: (tf.uint8, tf.int32, tf.float32, tf.float64),
}


def wide(dtype: tf.DType, kernels: frozenset[tf.DType]) -> tf.DType:
    """The type to compute in where only `kernels` are there: the type itself, or the next one that holds its values.

    Raises KeyError where there is none.
    """
    if dtype in kernels:
        return dtype
    small = (tf.float32, tf.float64) if dtype in small_types.FLOATS else ()
    for wider in _WIDER.get(dtype, small):
        if wider in kernels:
            return wider
    raise KeyError(f"no kernel for {dtype.name} among {sorted(kernel.name for kernel in kernels)}")


def cast(tensor: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """tf.cast for every pair of numeric types, the small ones included; integers wrap, small floats saturate."""
    dtype = tf.as_dtype(dtype)
    if tensor.dtype == dtype:
        return tensor
    if tensor.dtype in SMALL or dtype in SMALL:
        return small_types.cast(tensor, dtype)
    return tf.cast(tensor, dtype)


def widened(kernels: frozenset[tf.DType], function: Callable[..., Any], *tensors: Any) -> Any:
    """`function` of the tensors in a type that has kernels, cast back to the type of the first tensor.

    All tensors have that type (None passes through). A function that gives several tensors has each of them cast back
    that has the wider type: indices and masks keep theirs.
    """
    dtype = tensors[0].dtype
    wider = wide(dtype, kernels)
    if wider == dtype:
        return function(*tensors)
    answer = function(*(cast(tensor, wider) if tensor is not None else None for tensor in tensors))
    if isinstance(answer, tuple):
        return tuple(cast(tensor, dtype) if tensor.dtype == wider else tensor for tensor in answer)
    return cast(answer, dtype)


def judged(kernels: frozenset[tf.DType], function: Callable[..., Any], *tensors: Any) -> Any:
    """The same for a function that answers in a type of its own (a truth value, an index): nothing is cast back."""
    wider = wide(tensors[0].dtype, kernels)
    return function(*(cast(tensor, wider) if tensor is not None else None for tensor in tensors))


def moved(function: Callable[..., Any], *tensors: tf.Tensor, kernels: frozenset[tf.DType] = STANDARD) -> Any:
    """A function that only moves elements, for all types: those without a kernel travel as others that hold them."""
    dtype = tensors[0].dtype
    if dtype in kernels:
        return function(*tensors)
    if dtype in SMALL:
        answer = function(*(small_types.carried(tensor) for tensor in tensors))
        back = small_types.restored
    else:
        answer = function(*(tf.cast(tensor, wide(dtype, kernels)) for tensor in tensors))
        back = tf.cast
    if isinstance(answer, (tuple, list)):
        return tuple(back(tensor, dtype) for tensor in answer)
    return back(answer, dtype)


def known(tensor: Any) -> Any:
    """The value of a tensor where TensorFlow can tell it while tracing, as an array; None where it cannot."""
    return None if tensor is None else tf.get_static_value(tensor)


def scalar(tensor: tf.Tensor, dtype: tf.DType | None = None) -> tf.Tensor:
    """A tensor of one element as a scalar, a constant when it is known (which a Reshape would hide)."""
    dtype = dtype or tensor.dtype
    value = tf.get_static_value(tensor)
    if value is not None:
        return tf.constant(value.reshape(())[()], dtype)
    return cast(tensor if tensor.shape.rank == 0 else tf.reshape(tensor, []), dtype)


def flat(tensor: tf.Tensor) -> tf.Tensor:
    """A tensor of rank 0 or 1 as a vector."""
    return tensor if tensor.shape.rank == 1 else tf.reshape(tensor, [-1])


def lengths(tensor: tf.Tensor, dtype: tf.DType = tf.int32) -> tf.Tensor:
    """The lengths of all axes: a constant when they are all known, else computed at run time."""
    if tensor.shape.is_fully_defined():
        return tf.constant(tensor.shape.as_list(), dtype)
    return tf.shape(tensor, dtype)


def length(tensor: tf.Tensor, axis: int, dtype: tf.DType = tf.int32) -> Any:
    """The length of an axis: a Python int when it is known, else a scalar tensor."""
    size = tensor.shape[axis]
    return size if size is not None else tf.shape(tensor, dtype)[axis]
