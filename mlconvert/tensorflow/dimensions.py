"""Shape arithmetic that TensorFlow's shape inference sees through.

A vector of lengths is always made as a stack of scalars (the operation Pack), each a constant where it is known. Shape
inference reads such a stack even if some of the scalars are computed, whereas a Gather or an arithmetic operation in
between would hide all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

LONGEST = 32
"""Elements that a vector may have to be taken apart."""


def dims(tensor: tf.Tensor, dtype: tf.DType = tf.int64) -> list[Any]:
    """The lengths of all axes, of a known rank: ints, and scalar tensors for those known at run time only."""
    shape = tensor.shape.as_list()
    if None not in shape:
        return shape  # type: ignore[no-any-return]
    at_run_time = tf.shape(tensor, dtype)
    return [at_run_time[axis] if size is None else size for axis, size in enumerate(shape)]


def vector(elements: Sequence[Any], dtype: tf.DType = tf.int64) -> tf.Tensor:
    """A stack of ints and scalar tensors."""
    if all(not isinstance(element, tf.Tensor) for element in elements):
        return tf.constant(list(elements), dtype, shape=[len(elements)])
    return tf.stack([tf.cast(element, dtype) for element in elements])


def elements(tensor: tf.Tensor) -> list[Any] | None:
    """The scalars of a short vector of integers: ints where they are known; None if it is no such vector."""
    if not tensor.dtype.is_integer or tensor.shape.rank != 1:
        return None
    count = tensor.shape[0]
    if count is None or count > LONGEST:
        return None
    known = tf.get_static_value(tensor)
    if known is not None:
        return [int(element) for element in known]
    if is_stack(tensor):
        scalars = [(scalar, tf.get_static_value(scalar)) for scalar in tensor.op.inputs]
        return [scalar if value is None else int(value) for scalar, value in scalars]
    return [tensor[index] for index in range(count)]


def is_stack(tensor: tf.Tensor) -> bool:
    """Whether a tensor is one that `vector` made, so that each of its elements can be had by itself."""
    if isinstance(tensor, tf.__internal__.EagerTensor):
        return False
    return bool(tensor.op.type == "Pack" and tensor.shape.rank == 1)


def is_shape(tensor: tf.Tensor) -> bool:
    """Whether a tensor is a vector of integers that is worth taking apart: a stack, or known."""
    if not tensor.dtype.is_integer or tensor.shape.rank != 1 or (tensor.shape[0] or LONGEST + 1) > LONGEST:
        return False
    return bool(is_stack(tensor) or tf.get_static_value(tensor) is not None)


def product(lengths: Sequence[Any], dtype: tf.DType = tf.int64) -> Any:
    """The product of ints and scalar tensors: an int if all are."""
    known = int(np.prod([length for length in lengths if not isinstance(length, tf.Tensor)], dtype=np.int64))
    total: Any = known
    for length in lengths:
        if isinstance(length, tf.Tensor):
            total = tf.cast(length, dtype) * total
    return total


def static(lengths: Sequence[Any]) -> tf.TensorShape:
    """What is known of a shape."""
    return tf.TensorShape([None if isinstance(length, tf.Tensor) else length for length in lengths])


def plain_axes(axes: Sequence[int], rank: int) -> list[int]:
    """Axes counted from the front."""
    return [int(axis) % rank if rank else 0 for axis in axes]
