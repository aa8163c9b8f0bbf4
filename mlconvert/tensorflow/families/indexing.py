"""Elements taken from or put at computed places: gathers, scatters, OneHot, Compress, NonZero. Negative indices count
from the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow import dimensions, kernels
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator


def from_front(indices: tf.Tensor, length: Any) -> tf.Tensor:
    """Indices counted from the front; `length` broadcasts to them."""
    known = kernels.known(indices)
    if known is not None and (np.asarray(known) >= 0).all():
        return indices
    return tf.where(indices < 0, indices + tf.cast(length, indices.dtype), indices)


def gather(data: tf.Tensor, indices: tf.Tensor, *, node: Node, axis: int = 0) -> tf.Tensor:
    known = node.constant(1)
    parts = dimensions.elements(data) if known is not None and dimensions.is_shape(data) else None
    if parts is not None and known is not None and known.ndim < 2 and known.size <= dimensions.LONGEST:
        taken = [parts[int(place)] for place in known.reshape(-1)]
        return tf.cast(taken[0], data.dtype) if known.ndim == 0 else dimensions.vector(taken, data.dtype)
    if known is None or (known < 0).any():
        indices = from_front(indices, dimensions.dims(data)[axis])
    return kernels.moved(lambda x: tf.gather(x, indices, axis=axis), data)


def _linear(indices: tf.Tensor, data: tf.Tensor, axis: int) -> tf.Tensor:
    """Where in the flat data the elements lie whose place along `axis` the indices give; else it is their own."""
    lengths = dimensions.dims(data)
    rank = len(lengths)
    axis = axis % rank
    places = from_front(tf.cast(indices, tf.int64), lengths[axis])
    linear = places * tf.cast(dimensions.product(lengths[axis + 1 :]), tf.int64)
    for other, count in enumerate(dimensions.dims(indices)):
        if other != axis and (isinstance(count, tf.Tensor) or count != 1):
            steps = tf.range(tf.cast(count, tf.int64)) * tf.cast(dimensions.product(lengths[other + 1 :]), tf.int64)
            linear += tf.reshape(steps, [-1] + [1] * (rank - other - 1))
    return linear


def gather_elements(data: tf.Tensor, indices: tf.Tensor, *, axis: int = 0) -> tf.Tensor:
    if data.shape.rank is None and indices.shape.rank is not None:
        data = tf.ensure_shape(data, [None] * indices.shape.rank)
    if data.shape.rank is None or indices.shape.rank is None:
        return _gather_elements_of_any_rank(data, indices, axis)
    places = _linear(indices, data, axis)
    return kernels.moved(lambda x: tf.gather(tf.reshape(x, [-1]), places), data)


def _gather_elements_of_any_rank(data: tf.Tensor, indices: tf.Tensor, axis: int) -> tf.Tensor:
    """Row by row along the axis, which is brought to the end for it."""
    rank = tf.rank(data)
    place = axis % rank
    order = tf.range(rank)
    forth = tf.concat([order[:place], order[place + 1 :], [place]], 0)
    lengths = tf.gather(tf.shape(indices), forth)
    places = tf.reshape(tf.transpose(from_front(indices, tf.shape(data)[place]), forth), tf.stack([-1, lengths[-1]]))

    def moved(x: tf.Tensor) -> tf.Tensor:
        x = tf.transpose(x, forth)
        x = tf.slice(x, tf.zeros_like(lengths), tf.concat([lengths[:-1], tf.shape(x)[-1:]], 0))
        rows = tf.reshape(x, tf.stack([tf.shape(places)[0], tf.shape(x)[-1]]))
        return tf.transpose(tf.reshape(tf.gather(rows, places, batch_dims=1), lengths), tf.argsort(forth))

    return kernels.moved(moved, data)


def gather_nd(data: tf.Tensor, indices: tf.Tensor, *, batch_dims: int = 0) -> tf.Tensor:
    places = from_front(indices, _indexed(data, indices, batch_dims))
    return kernels.moved(lambda x: tf.gather_nd(x, places, batch_dims=batch_dims), data)


def _indexed(data: tf.Tensor, indices: tf.Tensor, first: int = 0) -> tf.Tensor:
    """The lengths of the axes that the last axis of the indices goes through."""
    count = indices.shape[-1]
    if count is None:
        return tf.shape(data, tf.int64)[first : tf.cast(first, tf.int64) + tf.shape(indices, tf.int64)[-1]]
    return dimensions.vector(dimensions.dims(data)[first : first + count])


def _scatter(data: tf.Tensor, places: tf.Tensor, updates: tf.Tensor, reduction: str) -> tf.Tensor:
    """Updates, or slices of updates, at places [..., k] of the data."""
    if reduction == "none":
        return kernels.moved(lambda x, new: tf.tensor_scatter_nd_update(x, places, new), data, updates)
    if reduction == "mul":
        return kernels.widened(kernels.NUMBERS, lambda x, new: _multiplied(x, places, new), data, updates)
    scattering = {
        "add": tf.tensor_scatter_nd_add,
        "max": tf.tensor_scatter_nd_max,
        "min": tf.tensor_scatter_nd_min,
    }[reduction]
    return kernels.widened(kernels.NUMBERS, lambda x, new: scattering(x, places, new), data, updates)


def _multiplied(x: tf.Tensor, places: tf.Tensor, updates: tf.Tensor) -> tf.Tensor:
    """There is no scatter that multiplies: the products of what falls on the same place are taken first."""
    lengths = tf.cast(_indexed(x, places), tf.int64)
    strides = tf.math.cumprod(lengths, exclusive=True, reverse=True)
    linear = tf.reshape(tf.reduce_sum(tf.cast(places, tf.int64) * strides, axis=-1), [-1])
    rest = tf.shape(x, tf.int64)[tf.size(lengths) :]
    flat = tf.reshape(updates, tf.concat([tf.shape(linear, tf.int64), rest], 0))
    factors = tf.math.unsorted_segment_prod(flat, linear, tf.reduce_prod(lengths))
    return x * tf.reshape(factors, tf.shape(x))


def scatter_elements(
    data: tf.Tensor, indices: tf.Tensor, updates: tf.Tensor, *, axis: int = 0, reduction: str = "none"
) -> tf.Tensor:
    places = tf.reshape(_linear(indices, data, axis), [-1, 1])

    def scattered(x: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
        return _scatter(tf.reshape(x, [-1]), places, tf.reshape(new, [-1]), reduction)

    return tf.reshape(scattered(data, updates), dimensions.vector(dimensions.dims(data)))


def scatter_nd(data: tf.Tensor, indices: tf.Tensor, updates: tf.Tensor, *, reduction: str = "none") -> tf.Tensor:
    places = from_front(indices, _indexed(data, indices))
    return tf.ensure_shape(_scatter(data, places, updates, reduction), data.shape)


def tensor_scatter(
    past_cache: tf.Tensor,
    update: tf.Tensor,
    write_indices: tf.Tensor | None = None,
    *,
    axis: int = -2,
    mode: str = "linear",
) -> tf.Tensor:
    """A cache with rows of each sample written from an index on."""
    rank = past_cache.shape.rank
    axis = axis % rank
    order = [0, axis, *(one for one in range(1, rank) if one != axis)]
    back = [order.index(one) for one in range(rank)]
    lengths = dimensions.dims(past_cache)
    batch, count = dimensions.dims(update)[0], dimensions.dims(update)[axis]
    first = tf.zeros([batch], tf.int64) if write_indices is None else write_indices
    rows = first[:, None] + tf.range(tf.cast(count, tf.int64))
    if mode == "circular":
        rows %= tf.cast(lengths[axis], tf.int64)
    samples = tf.broadcast_to(tf.range(tf.cast(batch, tf.int64))[:, None], tf.shape(rows))
    places = tf.stack([samples, rows], axis=-1)

    def written(cache: tf.Tensor, new: tf.Tensor) -> tf.Tensor:
        answer = tf.tensor_scatter_nd_update(tf.transpose(cache, order), places, tf.transpose(new, order))
        return tf.transpose(answer, back)

    return kernels.moved(written, past_cache, update)


def one_hot(indices: tf.Tensor, depth: tf.Tensor, values: tf.Tensor, *, axis: int = -1) -> tf.Tensor:
    """Indices from -depth on count from the end; beyond that, and past the end, nothing is hot."""
    count = kernels.scalar(depth, tf.int32)
    axis = axis if axis >= -1 else axis + indices.shape.rank + 1
    places = tf.cast(indices, tf.int64)
    places = tf.where(places < 0, places + tf.cast(count, tf.int64), places)
    return kernels.moved(lambda pair: tf.one_hot(places, count, pair[1], pair[0], axis), values)


def nonzero(x: tf.Tensor) -> tf.Tensor:
    if x.dtype != tf.bool:
        x = x != (tf.constant("") if x.dtype == tf.string else tf.zeros((), x.dtype))
    return tf.transpose(tf.where(x))


def compress(data: tf.Tensor, condition: tf.Tensor, *, axis: int | None = None) -> tf.Tensor:
    places = tf.where(condition)[:, 0]
    flat = axis is None
    return kernels.moved(
        lambda x: tf.gather(tf.reshape(x, [-1]) if flat else x, places, axis=0 if flat else axis), data
    )


OPERATORS: tuple[Operator, ...] = (
    Operator("Gather", 1, gather),
    Operator("GatherElements", 11, gather_elements),
    Operator("GatherND", 11, gather_nd),
    Operator("Scatter", 9, scatter_elements),
    Operator("ScatterElements", 11, scatter_elements),
    Operator("ScatterND", 11, scatter_nd),
    Operator("TensorScatter", 24, tensor_scatter),
    Operator("OneHot", 9, one_hot),
    Operator("NonZero", 9, nonzero),
    Operator("Compress", 9, compress),
)
