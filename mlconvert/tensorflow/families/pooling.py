"""Pools, of any number of axes, with channels last.

TensorFlow's kernels take two axes, no dilations, and count no padding. The rest is computed axis by axis from slices:
a window's maximum or sum is that of the maxima or sums along its first axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import grappler
from mlconvert.tensorflow.kernels import FLOATS, NUMBERS, length, widened
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator
from mlconvert.tensorflow.windows import Windows, lowest, padded, reduced, tap, windows_of


def max_pool(
    x: Any,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    storage_order: int = 0,
    strides: tuple[int, ...] | None = None,
    node: Node,
) -> Any:
    windows = windows_of(
        x, kernel_shape, node, auto_pad=auto_pad, dilations=dilations, pads=pads, strides=strides, ceil_mode=ceil_mode
    )
    if node.wants(1):
        return _with_indices(x, windows, storage_order)
    if len(windows) <= 2 and all(one.dilation == 1 for one in windows):
        return widened(NUMBERS, lambda x: _max_2d(x, windows), x)
    return widened(NUMBERS, lambda x: reduced(padded(x, windows, lowest(x.dtype)), windows, tf.maximum), x)


def _max_2d(x: tf.Tensor, windows: Sequence[Windows]) -> tf.Tensor:
    if len(windows) == 1:
        return tf.squeeze(_max_2d(tf.expand_dims(x, 1), (Windows(1, 1), *windows)), 1)
    padding: Any = "VALID"
    if all(one.is_simple and max(one.padding) < one.kernel for one in windows):
        if any(one.is_padded for one in windows):  # the kernel wants pads that are smaller than the window
            padding = [[0, 0], *(list(one.padding) for one in windows), [0, 0]]
    else:
        x = padded(x, windows, lowest(x.dtype))
    return tf.nn.max_pool2d(
        grappler.fenced(x), [one.kernel for one in windows], [one.stride for one in windows], padding
    )


def _with_indices(x: tf.Tensor, windows: Sequence[Windows], storage_order: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Maxima, and where each is in the whole tensor [N, C, …]; of several that are equal the first."""
    rank = len(windows)
    lengths = [tf.cast(one.length, tf.int64) for one in windows]
    steps = [tf.constant(1, tf.int64)] * rank  # from an element to the next along each axis
    order = range(rank) if storage_order else range(rank - 1, -1, -1)
    size = tf.constant(1, tf.int64)
    for axis in order:
        steps[axis] = size
        size *= lengths[axis]
    places = tf.zeros([1] * (rank + 2), tf.int64)
    for axis in range(rank):
        along = tf.range(lengths[axis]) * steps[axis]
        places += tf.reshape(along, [-1 if i == axis + 1 else 1 for i in range(rank + 2)])
    values = padded(x, windows, lowest(x.dtype))
    places = padded(tf.broadcast_to(places, tf.concat([[1], tf.shape(x)[1:-1], [1]], 0)), windows)
    for axis in range(rank, 0, -1):
        one = windows[axis - 1]
        best, where = tap(values, axis, one, 0), tap(places, axis, one, 0)
        for offset in range(1, one.kernel):
            value, place = tap(values, axis, one, offset), tap(places, axis, one, offset)
            more = value > best
            best, where = tf.where(more, value, best), tf.where(more, place, where)
        values, places = best, where
    batch, channels = tf.shape(x, tf.int64)[0], tf.shape(x, tf.int64)[-1]
    planes = tf.reshape(tf.range(batch), [-1, *[1] * (rank + 1)]) * channels + tf.range(channels)
    return values, tf.transpose(places + planes * size, (0, rank + 1, *range(1, rank + 1)))


def average_pool(
    x: Any,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    node: Node,
) -> Any:
    windows = windows_of(
        x, kernel_shape, node, auto_pad=auto_pad, dilations=dilations, pads=pads, strides=strides, ceil_mode=ceil_mode
    )
    return widened(FLOATS, lambda x: _average(x, windows, count_include_pad), x)


def _average(x: tf.Tensor, windows: Sequence[Windows], include_pad: int) -> tf.Tensor:
    whole = not any(one.is_padded for one in windows)
    if not whole and include_pad:
        whole = all(isinstance(one.overhang, int) and one.overhang == 0 for one in windows)
    if len(windows) <= 2 and all(one.dilation == 1 for one in windows):
        average = _average_2d(padded(x, windows), windows)
        if whole:
            return average
        total, size = average, [one.kernel for one in windows]
    else:
        total = reduced(padded(x, windows), windows, tf.add)
        size = [1] * len(windows)
    for axis, one in enumerate(windows, 1):
        counts = one.kernel if whole else _counts(one, include_pad)
        share = tf.cast(counts, x.dtype) / size[axis - 1]
        total /= tf.reshape(share, [-1 if i == axis else 1 for i in range(x.shape.rank)])
    return total


def _average_2d(x: tf.Tensor, windows: Sequence[Windows]) -> tf.Tensor:
    if len(windows) == 1:
        return tf.squeeze(_average_2d(tf.expand_dims(x, 1), (Windows(1, 1), *windows)), 1)
    return tf.nn.avg_pool2d(x, [one.kernel for one in windows], [one.stride for one in windows], "VALID")


def _counts(one: Windows, include_pad: int) -> tf.Tensor:
    """How many elements of each window are there to be counted."""
    starts = tf.range(one.count) * one.stride - one.begin
    places = starts[:, None] + tf.range(one.kernel) * one.dilation
    first = -one.begin if include_pad else 0
    limit = one.length + one.end if include_pad else one.length
    return tf.reduce_sum(tf.cast((places >= first) & (places < limit), tf.int32), 1)


def lp_pool(
    x: Any,
    *,
    kernel_shape: tuple[int, ...],
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: tuple[int, ...] | None = None,
    p: float = 2,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    node: Node,
) -> Any:
    windows = windows_of(
        x, kernel_shape, node, auto_pad=auto_pad, dilations=dilations, pads=pads, strides=strides, ceil_mode=ceil_mode
    )
    return widened(FLOATS, lambda x: _root(reduced(padded(_power(x, p), windows), windows, tf.add), p), x)


def _power(x: tf.Tensor, p: float) -> tf.Tensor:
    if p == 1:
        return tf.abs(x)
    return tf.square(x) if p == 2 else tf.pow(tf.abs(x), tf.cast(p, x.dtype))


def _root(x: tf.Tensor, p: float) -> tf.Tensor:
    if p == 1:
        return x
    return tf.sqrt(x) if p == 2 else tf.pow(x, tf.cast(1 / p, x.dtype))


# --- over all elements of a channel ---


def _all(x: tf.Tensor) -> list[int]:
    return list(range(1, x.shape.rank - 1))


def global_average_pool(x: Any) -> Any:
    return widened(FLOATS, lambda x: tf.reduce_mean(x, _all(x), keepdims=True), x)


def global_max_pool(x: Any) -> Any:
    return widened(NUMBERS, lambda x: tf.reduce_max(grappler.fenced(x), _all(x), keepdims=True), x)


def global_lp_pool(x: Any, *, p: float = 2) -> Any:
    return widened(FLOATS, lambda x: _root(tf.reduce_sum(_power(x, p), _all(x), keepdims=True), p), x)


# --- back, and of regions ---


def max_unpool(
    x: Any,
    indices: Any,
    output_shape: Any = None,
    *,
    kernel_shape: tuple[int, ...],
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
) -> Any:
    rank = len(kernel_shape)
    strides, pads = strides or (1,) * rank, pads or (0,) * (2 * rank)
    if output_shape is None:
        lengths = [length(x, 0, tf.int64), length(x, 1, tf.int64)]
        for i in range(rank):
            size = (length(x, i + 2, tf.int64) - 1) * strides[i] + kernel_shape[i] - pads[i] - pads[i + rank]
            lengths.append(size)
        output_shape = tf.stack([tf.cast(size, tf.int64) for size in lengths])
    size = tf.reduce_prod(output_shape)
    places = tf.reshape(indices, [-1, 1])
    flat = tf.tensor_scatter_nd_update(tf.zeros(tf.reshape(size, [1]), x.dtype), places, tf.reshape(x, [-1]))
    return tf.ensure_shape(tf.reshape(flat, output_shape), [None] * (rank + 2))


OPERATORS: tuple[Operator, ...] = (
    Operator("MaxPool", 1, max_pool, layout="last"),
    Operator("AveragePool", 1, average_pool, layout="last"),
    Operator("LpPool", 1, lp_pool, layout="last"),
    Operator("GlobalAveragePool", 1, global_average_pool, layout="last"),
    Operator("GlobalMaxPool", 1, global_max_pool, layout="last"),
    Operator("GlobalLpPool", 1, global_lp_pool, layout="last"),
    Operator("MaxUnpool", 9, max_unpool),
)
