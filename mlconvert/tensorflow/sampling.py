"""Samples of images between their elements: GridSample, RoiAlign, and the sampling of DeformConv.

Images have channels last, [N, …, C]. A place is given axis by axis, in units of elements, and a sample is the weighted
sum of the elements around it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow.kernels import DOUBLES, STANDARD, length, moved, wide
from mlconvert.tensorflow.node import Node

Padding = Callable[[tf.Tensor, Any], tuple[tf.Tensor, tf.Tensor | None]]
"""From indices along an axis and its length: indices within, and what of it counts (None: all)."""


def lengths_of(x: tf.Tensor) -> list[Any]:
    return [length(x, axis) for axis in range(1, x.shape.rank - 1)]


def picked(x: tf.Tensor, indices: Sequence[tf.Tensor]) -> tf.Tensor:
    """The elements at indices [N, …] within the images, one tensor of them an axis: [N, …, C]."""
    lengths = lengths_of(x)
    flat = tf.reshape(x, tf.stack([length(x, 0), -1, length(x, -1)]))
    place = indices[0]
    for index, size in zip(indices[1:], lengths[1:], strict=True):
        place = place * size + index
    return tf.gather(flat, place, batch_dims=1)


def sampled(x: tf.Tensor, places: Sequence[tf.Tensor], mode: str, padding: Padding) -> tf.Tensor:
    """Samples of images at places [N, …], by linear or cubic interpolation, each neighbour padded by `padding`."""
    lengths, taps = lengths_of(x), []
    for place, size in zip(places, lengths, strict=True):
        base = tf.floor(place)
        ratio = tf.cast(place - base, x.dtype)
        base = tf.cast(base, tf.int32)
        offsets = (0, 1) if mode == "linear" else (-1, 0, 1, 2)
        along = []
        for offset in offsets:
            weight = _weight(tf.abs(ratio - offset), mode)
            index, counts = padding(base + offset, size)
            along.append((index, weight if counts is None else tf.where(counts, weight, tf.zeros_like(weight))))
        taps.append(along)
    result = None
    for corner in itertools.product(*taps):
        weight = corner[0][1]
        for _, other in corner[1:]:
            weight = weight * other
        part = picked(x, [index for index, _ in corner]) * weight[..., None]
        result = part if result is None else result + part
    assert result is not None
    return result


def _weight(distance: tf.Tensor, mode: str) -> tf.Tensor:
    if mode == "linear":
        return 1 - distance
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return tf.where(distance <= 1, near, far)


def zeros(index: tf.Tensor, size: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Nothing but zeros outside of the image."""
    return tf.clip_by_value(index, 0, size - 1), (index >= 0) & (index < size)


def border(index: tf.Tensor, size: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The outermost element goes on."""
    return tf.clip_by_value(index, 0, size - 1), None


def reflection(align_corners: int) -> Padding:
    """The image is mirrored, at its outermost elements or (align_corners=0) half an element beyond."""

    def padding(index: tf.Tensor, size: Any) -> tuple[tf.Tensor, tf.Tensor | None]:
        mirrored = _mirrored(tf.cast(index, tf.float32), size, align_corners)
        return tf.clip_by_value(tf.cast(mirrored, tf.int32), 0, size - 1), None

    return padding


def _ends(size: Any, align_corners: int, real: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    margin = 0.0 if align_corners else 0.5
    return tf.cast(-margin, real), tf.cast(size, real) - 1 + margin


def _mirrored(place: tf.Tensor, size: Any, align_corners: int) -> tf.Tensor:
    low, high = _ends(size, align_corners, place.dtype)
    span = high - low
    away = tf.where(place < low, low - place, place - high)
    turns = tf.floor(tf.math.divide_no_nan(away, span))
    rest = away - turns * span
    even = tf.equal(tf.math.floormod(turns, 2), 0)
    from_low, from_high = low + rest, high - rest
    below = tf.where(even, from_low, from_high)
    above = tf.where(even, from_high, from_low)
    return tf.where(place < low, below, tf.where(place > high, above, place))


def grid_sample(
    x: Any,
    grid: Any,
    *,
    align_corners: int = 0,
    mode: str = "linear",
    padding_mode: str = "zeros",
    node: Node,
) -> Any:
    """A place outside is brought inside first, and then each of its neighbours.

    With cubic interpolation and a border it is the neighbours alone, as in ONNX Runtime and PyTorch.
    """
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    if mode not in ("nearest", "linear", "cubic") or padding_mode not in ("zeros", "border", "reflection"):
        raise node.refuse(f"has the mode '{mode}' and the padding '{padding_mode}', which ONNX does not define")
    padding = {"zeros": zeros, "border": border}.get(padding_mode) or reflection(align_corners)
    real = wide(grid.dtype, DOUBLES)
    lengths, places = lengths_of(x), []
    for axis, size in enumerate(lengths):
        place = tf.cast(grid[..., len(lengths) - 1 - axis], real)
        span = tf.cast(size, real)
        place = (place + 1) / 2 * (span - 1) if align_corners else ((place + 1) * span - 1) / 2
        if mode == "nearest":
            place = tf.round(place)  # halves to even
        low, high = _ends(size, align_corners, real)
        if padding_mode == "border" and mode != "cubic":
            place = tf.where((place < low) | (place > high), tf.clip_by_value(place, 0, span - 1), place)
        elif padding_mode == "reflection":
            place = _mirrored(place, size, align_corners)
        places.append(place)
    if mode == "nearest":
        return moved(lambda x: _nearest(x, places, padding), x, kernels=STANDARD)
    dtype = x.dtype
    return tf.cast(sampled(tf.cast(x, wide(dtype, DOUBLES)), places, mode, padding), dtype)


def _nearest(x: tf.Tensor, places: Sequence[tf.Tensor], padding: Padding) -> tf.Tensor:
    indices, counted = [], None
    for place, size in zip(places, lengths_of(x), strict=True):
        index, counts = padding(tf.cast(place, tf.int32), size)
        indices.append(index)
        if counts is not None:
            counted = counts if counted is None else counted & counts
    result = picked(x, indices)
    return result if counted is None else tf.where(counted[..., None], result, tf.zeros_like(result))


# --- regions of interest ---


def roi_align_10(
    x: Any,
    rois: Any,
    batch_indices: Any,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Any:
    return roi_align(
        x, rois, batch_indices, coordinate_transformation_mode="output_half_pixel", mode=mode,
        output_height=output_height, output_width=output_width, sampling_ratio=sampling_ratio,
        spatial_scale=spatial_scale,
    )  # fmt: skip


def roi_align(
    x: Any,
    rois: Any,
    batch_indices: Any,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Any:
    dtype = x.dtype
    real = wide(dtype, DOUBLES)
    x, rois = tf.cast(x, real), tf.cast(rois, real)
    half = coordinate_transformation_mode == "half_pixel"
    corners = rois * spatial_scale - (0.5 if half else 0.0)
    start = tf.stack([corners[:, 1], corners[:, 0]], 1)  # rows, columns
    size = tf.stack([corners[:, 3], corners[:, 2]], 1) - start
    if not half:
        size = tf.maximum(size, 1)
    bins = (output_height, output_width)
    batch = tf.cast(batch_indices, tf.int32)
    if sampling_ratio > 0:
        result = _aligned(x, batch, start, size, bins, (sampling_ratio, sampling_ratio), mode)
    else:  # as many samples as the region has elements: another number for each region

        def one(item: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
            batch, start, size = item
            samples = tf.cast(tf.math.ceil(size / tf.cast(bins, real)), tf.int32)
            return _aligned(x, batch[None], start[None], size[None], bins, (samples[0], samples[1]), mode)[0]

        signature = tf.TensorSpec([*bins, x.shape[-1]], real)
        result = tf.map_fn(one, (batch, start, size), fn_output_signature=signature)
    return tf.cast(tf.ensure_shape(result, [rois.shape[0], *bins, x.shape[-1]]), dtype)


def _aligned(
    x: tf.Tensor, batch: tf.Tensor, start: tf.Tensor, size: tf.Tensor, bins: tuple[int, int],
    samples: tuple[Any, Any], mode: str,
) -> tf.Tensor:  # fmt: skip
    """The bins of each region [R, rows, columns, C], from so many samples along each axis of a bin."""
    lengths, taps = lengths_of(x), []
    for axis in range(2):
        limit = tf.cast(lengths[axis], x.dtype)
        width = size[:, axis] / bins[axis]
        within = (tf.cast(tf.range(samples[axis]), x.dtype) + 0.5) / tf.cast(samples[axis], x.dtype)
        steps = tf.cast(tf.range(bins[axis]), x.dtype)[:, None] + within
        place = tf.reshape(start[:, axis], [-1, 1, 1]) + tf.reshape(width, [-1, 1, 1]) * steps  # [R, bins, samples]
        inside = tf.cast((place >= -1) & (place <= limit), x.dtype)
        place = tf.clip_by_value(place, 0, limit - 1)
        base = tf.floor(place)
        ratio = place - base
        low = tf.cast(base, tf.int32)
        high = tf.minimum(low + 1, lengths[axis] - 1)
        taps.append(((low, (1 - ratio) * inside), (high, ratio * inside)))
    flat = tf.reshape(x, tf.stack([-1, length(x, -1)]))
    result = None
    for (row, above), (column, left) in itertools.product(*taps):
        index = batch[:, None, None] * lengths[0] + row
        index = index[:, :, :, None, None] * lengths[1] + column[:, None, None]
        weight = above[:, :, :, None, None] * left[:, None, None]
        part = tf.gather(flat, index) * weight[..., None]  # [R, bins, samples, bins, samples, C]
        both = tf.maximum if mode == "max" else tf.add
        result = part if result is None else both(result, part)
    assert result is not None
    if mode == "max":
        best = tf.reduce_max(result, [2, 4])
        return tf.where(tf.math.is_inf(best) & (best < 0), tf.zeros_like(best), best)
    count = tf.cast(tf.maximum(samples[0] * samples[1], 1), x.dtype)
    return tf.reduce_sum(result, [2, 4]) / count


def max_roi_pool(x: Any, rois: Any, *, pooled_shape: tuple[int, ...], spatial_scale: float = 1.0) -> Any:
    dtype = x.dtype
    real = wide(dtype, DOUBLES)
    values, regions = tf.cast(x, real), tf.cast(rois, real)
    rows, columns = pooled_shape

    def reach(begin: tf.Tensor, end: tf.Tensor, bins: int, size: Any) -> tf.Tensor:
        """Which elements of an axis each bin has, [bins, length]; in integers, so that no edge is rounded away."""
        start, stop = (tf.cast(_half_away(place * tf.cast(spatial_scale, real)), tf.int32) for place in (begin, end))
        width = tf.maximum(stop - start + 1, 1)
        index = tf.range(bins)
        first = index * width // bins + start
        last = -(-(index + 1) * width // bins) + start
        places = tf.range(size)
        return (places >= first[:, None]) & (places < last[:, None])

    def one(region: tf.Tensor) -> tf.Tensor:
        image = values[tf.cast(region[0], tf.int32)]
        lowest = tf.constant(float("-inf"), real)
        down = reach(region[2], region[4], rows, length(x, 1))
        across = reach(region[1], region[3], columns, length(x, 2))
        part = tf.reduce_max(tf.where(down[:, :, None, None], image[None], lowest), 1)  # [rows, W, C]
        best = tf.reduce_max(tf.where(across[None, :, :, None], part[:, None], lowest), 2)
        empty = ~(tf.reduce_any(down, 1)[:, None] & tf.reduce_any(across, 1)[None])
        return tf.where(empty[..., None], tf.zeros_like(best), best)

    signature = tf.TensorSpec([rows, columns, x.shape[-1]], real)
    return tf.cast(tf.map_fn(one, regions, fn_output_signature=signature), dtype)


def _half_away(place: tf.Tensor) -> tf.Tensor:
    """Rounded as C's round does: halves away from zero."""
    return tf.sign(place) * tf.floor(tf.abs(place) + 0.5)
