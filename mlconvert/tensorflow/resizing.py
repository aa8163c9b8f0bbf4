"""Resize and Upsample: interpolation along one axis after another, as ONNX's reference has it.

Along each axis the places of the output's elements in the input are computed in the graph, because lengths may be known
at run time alone, and from them the neighbours to gather and their weights. What images get most, whole multiples by
nearest neighbours and bilinear interpolation, is left to what TensorFlow is quickest at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow.interpolation import Axis, Rule, places_of, weights_of
from mlconvert.tensorflow.kernels import NUMBERS, known, length
from mlconvert.tensorflow.node import Node


def resize(
    x: Any,
    roi: Any = None,
    scales: Any = None,
    sizes: Any = None,
    *,
    antialias: int = 0,
    axes: tuple[int, ...] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    node: Node,
) -> Any:
    rank = x.shape.rank
    chosen = tuple(axis % rank for axis in axes) if axes else tuple(range(rank))
    rule = Rule(
        mode, coordinate_transformation_mode, nearest_mode, bool(antialias), cubic_coeff_a, bool(exclude_outside),
        extrapolation_value,
    )  # fmt: skip
    if mode not in ("nearest", "linear", "cubic"):
        raise node.refuse(f"has the mode '{mode}', which ONNX does not define")
    if sizes is not None and sizes.shape.num_elements() != 0:
        found = _by_sizes(x, sizes, chosen, keep_aspect_ratio_policy)
    elif scales is not None:
        found = _by_scales(x, scales, chosen)
    else:
        raise node.refuse("has neither scales nor sizes")
    if coordinate_transformation_mode == "tf_crop_and_resize":
        if roi is None:
            raise node.refuse("has no region of interest to crop")
        roi = tf.cast(roi, _real(x))
        found = [replace(one, begin=roi[i], end=roi[i + len(chosen)]) for i, one in enumerate(found)]
    return _resized(x, found, rule)


def resize_10(x: Any, scales: Any, *, mode: str = "nearest", node: Node) -> Any:
    """Resize of opset 10, and Upsample since opset 9."""
    return resize(
        x, None, scales, mode=mode, coordinate_transformation_mode="asymmetric", nearest_mode="floor", node=node
    )


def upsample_7(x: Any, *, mode: str = "nearest", scales: tuple[float, ...], node: Node) -> Any:
    return resize_10(x, tf.constant(scales, tf.float32), mode=mode, node=node)


def upsample_1(x: Any, *, height_scale: float, mode: str = "nearest", width_scale: float, node: Node) -> Any:
    mode = "linear" if mode == "bilinear" else mode
    return resize_10(x, tf.constant([1.0, 1.0, height_scale, width_scale], tf.float32), mode=mode, node=node)


# --- lengths ---


def _at(axis: int, rank: int) -> int:
    """Where an axis of ONNX's [N, C, …] is in [N, …, C]; tensors of less than three axes are as ONNX has them."""
    if rank < 3 or axis == 0:
        return axis
    return rank - 1 if axis == 1 else axis - 1


def _real(x: tf.Tensor) -> tf.DType:
    return tf.float64 if x.dtype == tf.float64 else tf.float32


def _by_scales(x: tf.Tensor, scales: tf.Tensor, axes: tuple[int, ...]) -> list[Axis]:
    value, found = known(scales), []
    for i, axis in enumerate(axes):
        at = _at(axis, x.shape.rank)
        before = length(x, at)
        if value is None:
            factor: Any = scales[i]
            after: Any = tf.cast(tf.floor(tf.cast(before, tf.float32) * factor), tf.int32)
        else:
            factor = np.float32(value[i])
            if isinstance(before, int):
                after = int(np.floor(np.float32(before) * factor))
            elif float(factor).is_integer():
                after = before * int(factor)
            else:
                after = tf.cast(tf.floor(tf.cast(before, tf.float32) * factor), tf.int32)
        found.append(Axis(at, before, after, factor))
    return found


def _by_sizes(x: tf.Tensor, sizes: tf.Tensor, axes: tuple[int, ...], policy: str) -> list[Axis]:
    value, found = _partly_known(sizes, len(axes)), []
    for i, axis in enumerate(axes):
        at = _at(axis, x.shape.rank)
        before = length(x, at)
        after = value[i] if value[i] is not None else tf.cast(sizes[i], tf.int32)
        found.append(Axis(at, before, after, _ratio(after, before), exact=True))
    if policy == "stretch":
        return found
    factors = [tf.cast(one.factor, tf.float32) for one in found]
    factor = tf.reduce_min(factors) if policy == "not_larger" else tf.reduce_max(factors)
    if (fixed := known(factor)) is not None:
        factor = fixed
    aspect = []
    for one in found:
        after = tf.cast(tf.floor(tf.cast(one.before, tf.float32) * factor + 0.5), tf.int32)
        fixed = known(after)
        aspect.append(Axis(one.at, one.before, after if fixed is None else int(fixed), factor))
    return aspect


def _partly_known(sizes: tf.Tensor, count: int) -> list[int | None]:
    """The sizes as far as shape inference knows them: of a tensor of that shape, which nothing ever makes."""
    if isinstance(sizes, tf.__internal__.EagerTensor):
        return [int(size) for size in sizes.numpy()]
    shape = tf.fill(tf.ensure_shape(sizes, [count]), False).shape
    return list(shape.as_list()) if shape.rank is not None else [None] * count


def _ratio(after: Any, before: Any) -> Any:
    if isinstance(after, int) and isinstance(before, int):
        return np.float32(after) / np.float32(max(before, 1))
    return tf.cast(after, tf.float32) / tf.cast(before, tf.float32)


# --- axis by axis ---


def _resized(x: tf.Tensor, axes: list[Axis], rule: Rule) -> tf.Tensor:
    axes = [one for one in axes if not _is_same(one)]
    outer = [one for one in axes if _is_seldom_resized(one, x.shape.rank)]
    if outer:  # the batch and the channels, whose lengths are known at run time alone
        x = _resized(x, [one for one in axes if one not in outer], rule)
        for one in outer:
            x = _resized_if_need_be(x, one, rule)
        return x
    if not axes:
        return tf.identity(x)
    if rule.mode == "nearest":
        if _is_doubling(x, axes, rule):
            return _by_kernel(tf.raw_ops.ResizeNearestNeighbor, x, axes)
        for one in axes:
            x = _nearest(x, one, rule)
        return x
    if _is_bilinear(x, axes, rule):
        return _by_kernel(
            tf.raw_ops.ResizeBilinear, x, axes, align_corners=rule.places == "align_corners",
            half_pixel_centers=rule.places in ("half_pixel", "pytorch_half_pixel"),
        )  # fmt: skip
    dtype, values = x.dtype, tf.cast(x, _real(x))
    for one in axes:
        values = _interpolated(values, one, rule)
    if dtype.is_integer and rule.mode == "cubic":
        values = tf.clip_by_value(values, float(dtype.min), float(dtype.max))
    return tf.cast(values, dtype)


def _is_seldom_resized(one: Axis, rank: int) -> bool:
    known_lengths = isinstance(one.before, int) and isinstance(one.after, int)
    return rank > 2 and one.at in (0, rank - 1) and one.begin is None and not known_lengths and not _whole(one)


def _resized_if_need_be(x: tf.Tensor, one: Axis, rule: Rule) -> tf.Tensor:
    unchanged = tf.equal(one.before, one.after) & tf.equal(tf.cast(one.factor, tf.float32), 1.0)
    one_axis = replace(one, begin=None)

    def changed() -> tf.Tensor:
        if rule.mode == "nearest":
            return _nearest(x, one_axis, rule)
        return tf.cast(_interpolated(tf.cast(x, _real(x)), one_axis, rule), x.dtype)

    return tf.ensure_shape(tf.cond(unchanged, lambda: tf.identity(x), changed), _shape_after(x, one))


def _is_same(one: Axis) -> bool:
    """Whether nothing happens along the axis."""
    if one.begin is not None:
        begin, end = known(one.begin), known(one.end)
        if begin is None or end is None or begin != 0 or end != 1:
            return False
    if not isinstance(one.factor, (float, np.floating)) or one.factor != 1:
        return False
    return not isinstance(one.after, int) or not isinstance(one.before, int) or one.after == one.before


def _whole(one: Axis) -> int:
    """The factor where it is a known whole number; else 0."""
    if isinstance(one.factor, (float, np.floating)) and float(one.factor).is_integer():
        return int(one.factor)
    return 0


def _is_bilinear(x: tf.Tensor, axes: list[Axis], rule: Rule) -> bool:
    """Whether TensorFlow's kernel for images computes the same."""
    if rule.mode != "linear" or rule.antialias or x.shape.rank != 4 or x.dtype != tf.float32:
        return False
    if sorted(one.at for one in axes) != [1, 2]:
        return False
    if rule.places not in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"):
        return False
    if rule.places == "pytorch_half_pixel" and not all(_is_many(one) for one in axes):
        return False  # it has a rule of its own for a length of one
    return all(_whole(one) or one.exact or _is_exact(one) for one in axes)


def _is_many(one: Axis) -> bool:
    """Whether there are at least two elements afterwards."""
    return _whole(one) > 1 or (isinstance(one.after, int) and one.after > 1)


def _is_exact(one: Axis) -> bool:
    lengths_known = isinstance(one.after, int) and isinstance(one.before, int) and one.before > 0
    return lengths_known and bool(np.float32(one.after) / np.float32(one.before) == one.factor)


def _is_doubling(x: tf.Tensor, axes: list[Axis], rule: Rule) -> bool:
    """Whether an image becomes 2 or 4 times as large: TensorFlow's kernel rounds no place of these."""
    if x.shape.rank != 4 or x.dtype not in NUMBERS - {tf.uint32, tf.uint64} or sorted(one.at for one in axes) != [1, 2]:
        return False
    return all(_whole(one) in (2, 4) and _is_repetition(_whole(one), rule) for one in axes)


def _by_kernel(kernel: Callable[..., tf.Tensor], x: tf.Tensor, axes: list[Axis], **attributes: bool) -> tf.Tensor:
    """What a kernel for images makes of rows and columns."""
    rows, columns = (one.after for one in sorted(axes, key=lambda one: one.at))
    result = kernel(images=x, size=tf.stack([rows, columns]), **attributes)
    known_lengths = [size if isinstance(size, int) else None for size in (rows, columns)]
    return tf.ensure_shape(result, [x.shape[0], *known_lengths, x.shape[3]])


def _cropped(result: tf.Tensor, places: tf.Tensor, one: Axis, rule: Rule) -> tf.Tensor:
    """What lies outside of the input gets a value of its own, when a region is cropped."""
    if rule.places != "tf_crop_and_resize":
        return result
    outside = (places < 0) | (places > tf.cast(one.before, places.dtype) - 1)
    return tf.where(_along(outside, one.at, result), tf.cast(rule.extrapolation, result.dtype), result)


def _along(vector: tf.Tensor, at: int, like: tf.Tensor) -> tf.Tensor:
    return tf.reshape(vector, [-1 if axis == at else 1 for axis in range(like.shape.rank)])


# --- nearest ---


def _nearest(x: tf.Tensor, one: Axis, rule: Rule) -> tf.Tensor:
    whole = _whole(one)
    if whole > 1 and _is_repetition(whole, rule) and x.dtype in NUMBERS:
        return _repeated(x, one, whole)
    places = places_of(one, rule, _real(x))
    index = tf.clip_by_value(_rounded(places, rule.rounding), 0, tf.cast(one.before, tf.int32) - 1)
    result = _cropped(tf.gather(x, index, axis=one.at), places, one, rule)
    return tf.ensure_shape(result, _shape_after(x, one))


def _shape_after(x: tf.Tensor, one: Axis) -> list[int | None]:
    shape = x.shape.as_list()
    shape[one.at] = one.after if isinstance(one.after, int) else None
    return shape  # type: ignore[no-any-return]


def _is_repetition(whole: int, rule: Rule) -> bool:
    """Whether the nearest of a whole multiple are the elements, each so many times."""
    if rule.places == "asymmetric":
        return rule.rounding == "floor" or (rule.rounding == "round_prefer_floor" and whole == 2)
    halves = rule.places in ("half_pixel", "half_pixel_symmetric")
    return halves and rule.rounding in ("round_prefer_floor", "round_prefer_ceil")


def _repeated(x: tf.Tensor, one: Axis, whole: int) -> tf.Tensor:
    shape = tf.shape(x)
    wide_x = tf.repeat(tf.expand_dims(x, one.at + 1), whole, axis=one.at + 1)
    lengths = tf.concat([shape[: one.at], [tf.cast(one.after, tf.int32)], shape[one.at + 1 :]], 0)
    return tf.ensure_shape(tf.reshape(wide_x, lengths), _shape_after(x, one))


def _rounded(places: tf.Tensor, rounding: str) -> tf.Tensor:
    if rounding == "round_prefer_floor":
        places = tf.math.ceil(places - 0.5)
    elif rounding == "round_prefer_ceil":
        places = tf.floor(places + 0.5)
    elif rounding == "ceil":
        places = tf.math.ceil(places)
    else:
        places = tf.floor(places)
    return tf.cast(places, tf.int32)


# --- linear and cubic ---


def _interpolated(x: tf.Tensor, one: Axis, rule: Rule) -> tf.Tensor:
    real = x.dtype
    places = places_of(one, rule, real)
    base = tf.floor(places)
    ratio = places - base
    offsets, weights = weights_of(ratio, one, rule)
    index = tf.cast(base, tf.int32)[:, None] + offsets
    if rule.exclude_outside:
        inside = (index >= 0) & (index < tf.cast(one.before, tf.int32))
        weights = tf.where(inside, weights, tf.zeros_like(weights))
        weights = tf.math.divide_no_nan(weights, tf.reduce_sum(weights, 1, keepdims=True))
    index = tf.clip_by_value(index, 0, tf.cast(one.before, tf.int32) - 1)
    taps = offsets.shape[0]
    if taps is not None and taps <= 4:
        result = None
        for tap in range(taps):
            part = tf.gather(x, index[:, tap], axis=one.at) * _along(weights[:, tap], one.at, x)
            result = part if result is None else result + part
    else:
        result = _by_matrix(x, index, weights, one)
    assert result is not None
    return tf.ensure_shape(_cropped(result, places, one, rule), _shape_after(x, one))


def _by_matrix(x: tf.Tensor, index: tf.Tensor, weights: tf.Tensor, one: Axis) -> tf.Tensor:
    """The weights as a matrix of output by input places, for windows of any width."""
    before = tf.cast(one.before, tf.int32)
    rows = tf.range(tf.shape(index)[0])[:, None]
    places = tf.reshape(rows * before + index, [-1])
    matrix = tf.math.unsorted_segment_sum(tf.reshape(weights, [-1]), places, tf.shape(index)[0] * before)
    matrix = tf.reshape(matrix, [-1, before])
    rank = x.shape.rank
    moved = tf.tensordot(x, matrix, [[one.at], [1]])
    order = [*range(one.at), rank - 1, *range(one.at, rank - 1)]
    return tf.transpose(moved, order)
