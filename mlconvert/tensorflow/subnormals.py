"""Numbers too small for a normal float, which TensorFlow's kernels take for zero.

Its threads run with the processor's flush-to-zero. Where such a number decides something, as beside a tree's threshold
of zero, or as a category below it, it is converted and rounded by its bits.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

_NORMAL = float(np.finfo(np.float32).tiny)
_STEPS = 2.0**149
"""How many of float32's smallest numbers are 1."""
_LEAST = {tf.float32: 1 << 23, tf.float64: 1 << 52}
"""The bits of the smallest normal number."""
_SIGN = np.int32(np.iinfo(np.int32).min)


def narrowed(x: tf.Tensor) -> tf.Tensor:
    """float64 as float32."""
    size = tf.abs(x)
    steps = tf.cast(tf.round(tf.minimum(size, _NORMAL) * _STEPS), tf.int32)
    negative = tf.bitcast(x, tf.int64) < 0
    small = tf.bitcast(tf.bitwise.bitwise_or(steps, tf.where(negative, _SIGN, np.int32(0))), tf.float32)
    return tf.where(size < _NORMAL, small, tf.cast(x, tf.float32))


def widened(x: tf.Tensor) -> tf.Tensor:
    """float32 as float64."""
    bits = tf.bitcast(x, tf.int32)
    steps = tf.bitwise.bitwise_and(bits, np.iinfo(np.int32).max)
    small = tf.cast(steps, tf.float64) / _STEPS
    is_small = steps < np.array(_NORMAL, np.float32).view(np.int32)
    return tf.where(is_small, tf.where(bits < 0, -small, small), tf.cast(x, tf.float64))


def floor(x: tf.Tensor) -> tf.Tensor:
    return tf.where(_beside_zero(x, negative=True), tf.constant(-1, x.dtype), tf.floor(x))


def ceil(x: tf.Tensor) -> tf.Tensor:
    return tf.where(_beside_zero(x, negative=False), tf.constant(1, x.dtype), tf.math.ceil(x))


def _beside_zero(x: tf.Tensor, *, negative: bool) -> tf.Tensor:
    """Whether a float is too small for a normal one, not zero, and on this side of it."""
    kind = tf.int32 if x.dtype == tf.float32 else tf.int64
    bits = tf.bitcast(x, kind)
    least = _LEAST[x.dtype]
    zero = kind.min if negative else 0
    return (bits > zero) & (bits < zero + least)
