"""What goes by order: ArgMax, ArgMin, TopK, Hardmax, Unique, and sums along an axis."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import dimensions, grappler, kernels
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator

_SUMMED = kernels.DOUBLES | kernels.INTEGERS  # half types are summed in float32


def _arg(data: tf.Tensor, *, largest: bool, axis: int, keepdims: int, last: int) -> tf.Tensor:
    """The place of the extreme; of several, the first or the last one."""

    def found(x: tf.Tensor) -> tf.Tensor:
        if last:
            x = tf.reverse(x, [axis])
        places = (tf.argmax if largest else tf.argmin)(grappler.fenced(x), axis, output_type=tf.int64)
        return tf.cast(dimensions.dims(x)[axis], tf.int64) - 1 - places if last else places

    places = kernels.judged(kernels.NUMBERS, found, data)
    return tf.expand_dims(places, axis) if keepdims else places


def arg_max(data: tf.Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> tf.Tensor:
    return _arg(data, largest=True, axis=axis, keepdims=keepdims, last=select_last_index)


def arg_min(data: tf.Tensor, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> tf.Tensor:
    return _arg(data, largest=False, axis=axis, keepdims=keepdims, last=select_last_index)


def top_k_1(x: tf.Tensor, *, k: int, axis: int = -1) -> Any:
    return top_k(x, tf.constant([k], tf.int64), axis=axis)


def top_k(x: tf.Tensor, k: tf.Tensor, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:  # noqa: A002
    """Of equal ones the first come first. The smallest are the largest of what has the reverse order."""
    del sorted  # sorted in any case
    count = kernels.scalar(k, tf.int32)
    rank = x.shape.rank
    axis = axis % rank
    order = [one for one in range(rank) if one != axis] + [axis]
    back = [order.index(one) for one in range(rank)]

    def found(x: tf.Tensor) -> Any:
        if axis != rank - 1:
            x = tf.transpose(x, order)
        values, places = tf.math.top_k(_ranked(x, largest=bool(largest)), count)
        if x.dtype.is_floating:
            values = tf.gather(x, places, axis=rank - 1, batch_dims=rank - 1)
        elif not largest:
            values = tf.bitwise.invert(values)
        if axis != rank - 1:
            values, places = tf.transpose(values, back), tf.transpose(places, back)
        return values, tf.cast(places, tf.int64)

    return kernels.widened(kernels.NUMBERS, found, x)


def _ranked(x: tf.Tensor, *, largest: bool) -> tf.Tensor:
    """What has the order of the values, or the reverse one. The complement of an integer cannot overflow.

    A NaN counts as infinite, as in a sort of numpy's: tf.math.top_k loses other values to it.
    """
    if x.dtype.is_integer:
        return x if largest else tf.bitwise.invert(x)
    x = tf.where(tf.math.is_nan(x), tf.constant(float("inf"), x.dtype), x)
    return x if largest else -x


def hardmax_1(x: tf.Tensor, *, axis: int = 1) -> tf.Tensor:
    """Up to opset 12 all axes from `axis` on are one."""
    lengths = dimensions.dims(x)
    axis = axis % len(lengths) if axis < 0 else axis
    flat = tf.reshape(x, dimensions.vector([dimensions.product(lengths[:axis]), dimensions.product(lengths[axis:])]))
    return tf.reshape(hardmax(flat), dimensions.vector(lengths))


def hardmax(x: tf.Tensor, *, axis: int = -1) -> tf.Tensor:
    axis = axis % x.shape.rank

    def one_at(x: tf.Tensor) -> tf.Tensor:
        count = tf.cast(dimensions.dims(x)[axis], tf.int32)
        places = tf.argmax(grappler.fenced(x), axis)
        return tf.one_hot(places, count, dtype=x.dtype, axis=axis if axis != x.shape.rank - 1 else -1)

    return tf.ensure_shape(kernels.widened(kernels.FLOATS, one_at, x), x.shape)


def cumulative_sum(x: tf.Tensor, axis: tf.Tensor, *, exclusive: int = 0, reverse: int = 0) -> tf.Tensor:
    along = kernels.scalar(axis, tf.int32)
    return kernels.widened(_SUMMED, lambda x: tf.cumsum(x, along, bool(exclusive), bool(reverse)), x)


def cumulative_product(x: tf.Tensor, axis: tf.Tensor, *, exclusive: int = 0, reverse: int = 0) -> tf.Tensor:
    along = kernels.scalar(axis, tf.int32)
    return kernels.widened(_SUMMED, lambda x: tf.math.cumprod(x, along, bool(exclusive), bool(reverse)), x)


def unique(x: tf.Tensor, *, node: Node, axis: int | None = None, sorted: int = 1) -> Any:  # noqa: A002
    """Distinct elements or slices, the place of the first of each, which one each is, and how many there are."""
    if sorted and x.dtype == tf.string:
        raise node.refuse(
            "sorts strings, which TensorFlow has no kernel for", hint="sorted=0 keeps the order they come in"
        )
    if axis is None:
        x, axis = tf.reshape(x, [-1]), 0
    small = x.dtype not in kernels.NUMBERS | {tf.bool, tf.string}
    if small:
        wide = kernels.wide(x.dtype, kernels.NUMBERS)
        answer = unique(kernels.cast(x, wide), node=node, axis=axis, sorted=sorted)
        return (kernels.cast(answer[0], x.dtype), *answer[1:])
    values, inverse = tf.raw_ops.UniqueV2(x=x, axis=[axis], out_idx=tf.int64)
    count = tf.shape(values, tf.int64)[axis]
    if sorted:
        order = _lexicographic(values, axis)
        values = tf.gather(values, order, axis=axis)
        inverse = tf.gather(tf.argsort(order, stable=True), inverse)
    inverse = tf.cast(inverse, tf.int64)
    first = tf.math.unsorted_segment_min(tf.range(tf.size(inverse, tf.int64)), inverse, count)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(inverse), inverse, count)
    return values, first, inverse, counts


def _lexicographic(values: tf.Tensor, axis: int) -> tf.Tensor:
    """The order of slices along an axis: by their first element, then the second …, so the last one is sorted first."""
    rank = values.shape.rank
    axis = axis % rank
    if values.dtype == tf.bool:
        values = tf.cast(values, tf.uint8)
    if rank == 1:
        return tf.argsort(values, stable=True)
    count = tf.shape(values)[axis]
    rows = tf.transpose(values, [axis, *(one for one in range(rank) if one != axis)])
    columns = tf.transpose(tf.reshape(rows, tf.stack([count, -1])))

    def sort(index: tf.Tensor, order: tf.Tensor) -> Any:
        return index - 1, tf.gather(order, tf.argsort(tf.gather(columns[index], order), stable=True))

    start = (tf.shape(columns)[0] - 1, tf.range(count))
    shapes = (tf.TensorShape([]), tf.TensorShape([None]))
    return tf.while_loop(lambda index, order: index >= 0, sort, start, shape_invariants=shapes)[1]  # noqa: ARG005


OPERATORS: tuple[Operator, ...] = (
    Operator("ArgMax", 1, arg_max),
    Operator("ArgMin", 1, arg_min),
    Operator("TopK", 1, top_k_1, until=9),
    Operator("TopK", 10, top_k),
    Operator("Hardmax", 1, hardmax_1, until=12),
    Operator("Hardmax", 13, hardmax),
    Operator("CumSum", 11, cumulative_sum),
    Operator("CumProd", 26, cumulative_product),
    Operator("Unique", 11, unique, note="strings only with sorted=0"),
)
