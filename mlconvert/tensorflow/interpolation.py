"""Where the elements of a resized axis lie among those of the axis before, and how its neighbours are weighed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Rule:
    """The attributes of Resize that say how an axis is interpolated."""

    mode: str = "nearest"
    places: str = "asymmetric"
    rounding: str = "floor"
    antialias: bool = False
    coefficient: float = -0.75
    exclude_outside: bool = False
    extrapolation: float = 0.0


@dataclass(frozen=True)
class Axis:
    """One axis to resize: where it is in the tensor, its lengths before and after, and by what factor.

    All numbers may be tensors. `begin` and `end` are of the region of interest, in units of the length; `exact` says
    that the factor is the one length over the other.
    """

    at: int
    before: Any
    after: Any
    factor: Any
    exact: bool = False
    begin: Any = None
    end: Any = None


def places_of(one: Axis, rule: Rule, real: tf.DType) -> tf.Tensor:
    """Where each element of the output lies among the elements of the input.

    Each step is rounded as ONNX Runtime rounds it, for the nearest of two neighbours may hang on that. So quotients
    come from double: TensorFlow's optimiser makes a division by a constant a product, whose last bit may differ.
    """

    def over(dividend: Any, divisor: Any) -> tf.Tensor:
        return tf.cast(tf.math.divide_no_nan(tf.cast(dividend, tf.float64), tf.cast(divisor, tf.float64)), real)

    index, factor = tf.cast(tf.range(one.after), real), tf.cast(one.factor, real)
    before, after = tf.cast(one.before, real), tf.cast(one.after, real)
    if rule.places == "align_corners":
        return over(index * (before - 1), after - 1)
    if rule.places == "asymmetric":
        return over(index, factor)
    if rule.places == "tf_crop_and_resize":
        begin, end = tf.cast(one.begin, real), tf.cast(one.end, real)
        single = (end - begin) * (before - 1) / 2 + tf.zeros_like(index)
        many = over(index * (end - begin) * (before - 1), after - 1)
        return tf.where(after > 1, many, single) + begin * (before - 1)
    place = over(index + 0.5, factor) - 0.5
    if rule.places == "half_pixel":
        return place
    if rule.places == "half_pixel_symmetric":
        return before / 2 * (1 - over(after, factor * before)) + place
    if rule.places == "pytorch_half_pixel":
        return tf.where(after > 1, place, tf.zeros_like(place) - 0.5)
    if rule.places == "tf_half_pixel_for_nn":  # of opset 11 and 12
        return over(index + 0.5, factor)
    raise ValueError(f"'{rule.places}' is no coordinate transformation of ONNX")


def weights_of(ratio: tf.Tensor, one: Axis, rule: Rule) -> tuple[tf.Tensor, tf.Tensor]:
    """Offsets [n] of the neighbours from the place rounded down, and their weights [output, n]."""
    real = ratio.dtype
    reach = 1 if rule.mode == "linear" else 2
    if not rule.antialias:
        offsets = tf.range(1 - reach, reach + 1)
        distance = tf.abs(tf.cast(offsets, real) - ratio[:, None])
        return offsets, _linear(distance) if rule.mode == "linear" else _cubic(distance, rule.coefficient)
    narrow = tf.minimum(tf.cast(one.factor, real), 1)
    wide_reach = tf.cast(tf.math.ceil(tf.cast(reach, real) / narrow), tf.int32)
    offsets = tf.range(-wide_reach, wide_reach + 2)
    distance = tf.abs(tf.cast(offsets, real) - ratio[:, None]) * narrow
    weights = _linear(distance) if rule.mode == "linear" else _cubic(distance, rule.coefficient)
    return offsets, weights / tf.reduce_sum(weights, 1, keepdims=True)


def _linear(distance: tf.Tensor) -> tf.Tensor:
    return tf.maximum(1 - distance, 0)


def _cubic(distance: tf.Tensor, a: float) -> tf.Tensor:
    """The kernel of cubic convolution: R. Keys, IEEE Trans. Acoustics, Speech and Signal Processing 29 (1981)."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return tf.where(distance <= 1, near, tf.where(distance < 2, far, tf.zeros_like(far)))
