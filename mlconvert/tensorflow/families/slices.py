"""Slice and Pad: what takes or adds elements at the ends of axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow import dimensions, kernels
from mlconvert.tensorflow.operators import Operator

_FAR = np.iinfo(np.int64).max


def slice_1(
    data: tf.Tensor, *, starts: tuple[int, ...], ends: tuple[int, ...], axes: tuple[int, ...] | None = None
) -> tf.Tensor:
    given = None if axes is None else tf.constant(axes, tf.int64)
    return slice_10(data, tf.constant(starts, tf.int64), tf.constant(ends, tf.int64), given)


def slice_10(
    data: tf.Tensor,
    starts: tf.Tensor,
    ends: tf.Tensor,
    axes: tf.Tensor | None = None,
    steps: tf.Tensor | None = None,
) -> tf.Tensor:
    """Bounds beyond an axis are taken as its ends, as numpy and tf.strided_slice do."""
    rank = data.shape.rank
    first, last = dimensions.elements(starts), dimensions.elements(ends)
    stride = None if first is None else [1] * len(first) if steps is None else dimensions.elements(steps)
    if rank is None or first is None or last is None or stride is None:
        return _along_computed_axes(data, starts, ends, axes, steps)
    along = list(range(len(first))) if axes is None else kernels.known(axes)
    if along is None:
        return _along_computed_axes(data, starts, ends, axes, steps)
    along = dimensions.plain_axes(along, rank)
    parts = dimensions.elements(data) if dimensions.is_shape(data) else None
    if parts is not None and not any(isinstance(one, tf.Tensor) for one in (*first, *last, *stride)):
        for one in zip(first, last, stride, strict=True):
            parts = parts[slice(*one)]
        return dimensions.vector(parts, data.dtype)
    begin: list[Any] = [0] * rank
    end: list[Any] = [0] * rank
    step: list[Any] = [1] * rank
    whole = 2**rank - 1
    for axis, start, stop, by in zip(along, first, last, stride, strict=True):
        begin[axis], end[axis], step[axis] = start, stop, by
        whole &= ~(1 << axis)
    bounds = [dimensions.vector(one) for one in (begin, end, step)]
    return kernels.moved(lambda x: tf.strided_slice(x, *bounds, begin_mask=whole, end_mask=whole), data)


def _along_computed_axes(
    data: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor, axes: Any, steps: tf.Tensor | None
) -> tf.Tensor:
    rank = tf.cast(tf.rank(data), tf.int64) if data.shape.rank is None else data.shape.rank
    axes = tf.range(tf.size(starts)) if axes is None else axes
    places = (tf.cast(axes, tf.int64) % rank)[:, None]
    starts, ends = tf.cast(starts, tf.int64), tf.cast(ends, tf.int64)
    steps = tf.ones_like(starts) if steps is None else tf.cast(steps, tf.int64)
    begin = tf.tensor_scatter_nd_update(tf.fill([rank], tf.constant(0, tf.int64)), places, starts)
    end = tf.tensor_scatter_nd_update(tf.fill([rank], tf.constant(_FAR, tf.int64)), places, ends)
    step = tf.tensor_scatter_nd_update(tf.fill([rank], tf.constant(1, tf.int64)), places, steps)
    return kernels.moved(lambda x: tf.strided_slice(x, begin, end, step), data)


def pad_1(data: tf.Tensor, *, paddings: tuple[int, ...], mode: str = "constant", value: float = 0.0) -> tf.Tensor:
    return pad_2(data, pads=paddings, mode=mode, value=value)


def pad_2(data: tf.Tensor, *, pads: tuple[int, ...], mode: str = "constant", value: float = 0.0) -> tf.Tensor:
    return pad(data, tf.constant(pads, tf.int64), tf.cast(value, data.dtype), mode=mode)


def pad(
    data: tf.Tensor,
    pads: tf.Tensor,
    value: tf.Tensor | None = None,
    axes: tf.Tensor | None = None,
    *,
    mode: str = "constant",
) -> tf.Tensor:
    """Negative pads crop."""
    before, after = _pads(data.shape.rank, pads, axes)
    if mode != "constant":
        return kernels.moved(lambda x: _mirrored(x, before, after, _WALKS[mode]), data)
    own = dimensions.dims(data)
    crops = any(isinstance(one, tf.Tensor) or one < 0 for one in (*before, *after))
    grown = [_sum(length, low, high) for length, low, high in zip(own, before, after, strict=True)]

    def padded(x: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        if crops:
            starts = [_positive(_negative(one)) for one in before]
            stops = [_positive(_negative(one)) for one in after]
            lengths = [
                _sum(n, _negative(low), _negative(high)) for n, low, high in zip(own, starts, stops, strict=True)
            ]
            x = tf.slice(x, dimensions.vector(starts), dimensions.vector(lengths))
        amounts = [dimensions.vector([_positive(one) for one in side]) for side in (before, after)]
        x = tf.pad(x, tf.stack(amounts, axis=1), constant_values=value)
        return tf.ensure_shape(x, dimensions.static(grown))

    zero = _zero(data.dtype) if value is None else kernels.scalar(value)
    return kernels.moved(padded, data, zero)


def _zero(dtype: tf.DType) -> tf.Tensor:
    return tf.constant("") if dtype == tf.string else kernels.cast(tf.constant(0.0), dtype)


def _pads(rank: int, pads: tf.Tensor, axes: tf.Tensor | None) -> tuple[list[Any], list[Any]]:
    """What is added before and after each axis."""
    along = list(range(rank)) if axes is None else kernels.known(axes)
    if along is None:
        pairs = tf.transpose(tf.reshape(tf.cast(pads, tf.int64), [2, -1]))
        places = (tf.cast(axes, tf.int64) % rank)[:, None]
        placed = tf.tensor_scatter_nd_update(tf.zeros([rank, 2], tf.int64), places, pairs)
        return [placed[axis, 0] for axis in range(rank)], [placed[axis, 1] for axis in range(rank)]
    along = dimensions.plain_axes(along, rank)
    given = dimensions.elements(tf.ensure_shape(pads, [2 * len(along)])) or []
    before: list[Any] = [0] * rank
    after: list[Any] = [0] * rank
    for place, axis in enumerate(along):
        before[axis], after[axis] = given[place], given[place + len(along)]
    return before, after


def _sum(*lengths: Any) -> Any:
    total: Any = sum(length for length in lengths if not isinstance(length, tf.Tensor))
    for length in lengths:
        if isinstance(length, tf.Tensor):
            total = tf.cast(length, tf.int64) + total
    return total


def _negative(length: Any) -> Any:
    return -length


def _positive(length: Any) -> Any:
    return tf.maximum(length, tf.zeros((), length.dtype)) if isinstance(length, tf.Tensor) else max(length, 0)


def _edge(places: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(places, tf.zeros_like(length), length - 1)


def _wrap(places: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    return tf.math.floormod(places, length)


def _reflect(places: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """There and back again, the ends once only."""
    last = length - 1
    return last - tf.abs(last - tf.math.floormod(places, tf.maximum(2 * last, tf.ones_like(last))))


_WALKS = {"edge": _edge, "wrap": _wrap, "reflect": _reflect}


def _mirrored(
    x: tf.Tensor, before: Sequence[Any], after: Sequence[Any], walk: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Each axis gathered at the places that the padded one has."""
    for axis, (low, high) in enumerate(zip(before, after, strict=True)):
        if not isinstance(low, tf.Tensor) and not isinstance(high, tf.Tensor) and low == high == 0:
            continue
        length = dimensions.dims(x)[axis]
        places = tf.range(tf.cast(_negative(low), tf.int64), tf.cast(_sum(length, high), tf.int64))
        x = tf.gather(x, walk(places, tf.cast(length, tf.int64)), axis=axis)
    return x


OPERATORS: tuple[Operator, ...] = (
    Operator("Slice", 1, slice_1, until=9),
    Operator("Slice", 10, slice_10),
    Operator("Pad", 1, pad_1, until=1),
    Operator("Pad", 2, pad_2, until=10),
    Operator("Pad", 11, pad),
)
