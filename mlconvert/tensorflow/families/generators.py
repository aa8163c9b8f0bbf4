"""Tensors out of little or nothing: constants, ranges, windows, chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow import dimensions, kernels
from mlconvert.tensorflow.element_types import as_constant, of_onnx
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator


def constant(
    *,
    value: np.ndarray | None = None,
    sparse_value: np.ndarray | None = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: tuple[int, ...] | None = None,
    value_string: str | None = None,
    value_strings: tuple[str, ...] | None = None,
) -> tf.Tensor:
    """One of the attributes is there; a sparse tensor comes as a dense array."""
    array = value if value is not None else sparse_value
    if array is not None:
        return tf.constant(as_constant(np.asarray(array)))
    if value_float is not None or value_floats is not None:
        return tf.constant(value_float if value_float is not None else list(value_floats or ()), tf.float32)
    if value_int is not None or value_ints is not None:
        return tf.constant(value_int if value_int is not None else list(value_ints or ()), tf.int64)
    return tf.constant(value_string if value_string is not None else list(value_strings or ()), tf.string)


def constant_of_shape(shape: tf.Tensor, *, value: np.ndarray | None = None) -> tf.Tensor:
    scalar = tf.constant(0.0) if value is None else tf.constant(as_constant(value.reshape(-1)))[0:1]
    scalar = tf.reshape(scalar, [])
    lengths = dimensions.elements(shape)
    wanted = shape if lengths is None else dimensions.vector(lengths)
    return kernels.moved(lambda x: tf.fill(wanted, x), scalar)


def eye_like(data: tf.Tensor, *, dtype: int | None = None, k: int = 0) -> tf.Tensor:
    rows, columns = dimensions.dims(data)
    offset = tf.range(tf.cast(columns, tf.int64)) - tf.range(tf.cast(rows, tf.int64))[:, None]
    return kernels.cast(tf.cast(offset == k, tf.int32), data.dtype if dtype is None else of_onnx(dtype))


def sequence(start: tf.Tensor, limit: tf.Tensor, delta: tf.Tensor, *, stash_type: int = 1) -> tf.Tensor:  # noqa: ARG001
    """Each element by itself, so that errors do not add up."""
    start, limit, delta = (kernels.scalar(one) for one in (start, limit, delta))
    if start.dtype.is_integer:
        return kernels.widened(frozenset({tf.int32, tf.int64}), _whole_numbers, start, limit, delta)

    def counted(start: tf.Tensor, limit: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
        count = tf.math.ceil(tf.cast(limit - start, tf.float64) / tf.cast(delta, tf.float64))
        steps = tf.range(tf.maximum(tf.cast(count, tf.int64), 0))
        return start + tf.cast(steps, start.dtype) * delta

    return kernels.widened(kernels.DOUBLES, counted, start, limit, delta)


def _whole_numbers(start: tf.Tensor, limit: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    """A limit on the wrong side gives no numbers; tf.range refuses it."""
    limit = tf.where(delta > 0, tf.maximum(start, limit), tf.minimum(start, limit))
    return tf.range(start, limit, delta)


def _seed(seed: float | None) -> int | None:
    return None if seed is None else int(np.float32(seed).view(np.int32))


def _drawn(shape: Any, dtype: tf.DType, draw: Any) -> tf.Tensor:
    made = dtype if dtype in kernels.DOUBLES else tf.float32
    return kernels.cast(draw(shape, made), dtype)


def random_normal(
    *, shape: tuple[int, ...], dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> tf.Tensor:
    return _normal(list(shape), of_onnx(dtype), mean, scale, seed)


def random_normal_like(
    x: tf.Tensor, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> tf.Tensor:
    return _normal(kernels.lengths(x), x.dtype if dtype is None else of_onnx(dtype), mean, scale, seed)


def _normal(shape: Any, dtype: tf.DType, mean: float, scale: float, seed: float | None) -> tf.Tensor:
    return _drawn(shape, dtype, lambda shape, made: tf.random.normal(shape, mean, scale, made, seed=_seed(seed)))


def random_uniform(
    *, shape: tuple[int, ...], dtype: int = 1, low: float = 0.0, high: float = 1.0, seed: float | None = None
) -> tf.Tensor:
    return _uniform(list(shape), of_onnx(dtype), low, high, seed)


def random_uniform_like(
    x: tf.Tensor, *, dtype: int | None = None, low: float = 0.0, high: float = 1.0, seed: float | None = None
) -> tf.Tensor:
    return _uniform(kernels.lengths(x), x.dtype if dtype is None else of_onnx(dtype), low, high, seed)


def _uniform(shape: Any, dtype: tf.DType, low: float, high: float, seed: float | None) -> tf.Tensor:
    return _drawn(shape, dtype, lambda shape, made: tf.random.uniform(shape, low, high, made, seed=_seed(seed)))


def bernoulli(x: tf.Tensor, *, dtype: int | None = None, seed: float | None = None) -> tf.Tensor:
    chance = x if x.dtype in kernels.DOUBLES else tf.cast(x, tf.float32)
    drawn = tf.random.uniform(kernels.lengths(x), dtype=chance.dtype, seed=_seed(seed)) < chance
    return kernels.cast(drawn, x.dtype if dtype is None else of_onnx(dtype))


def multinomial(x: tf.Tensor, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> tf.Tensor:
    drawn = tf.random.categorical(
        kernels.cast(x, kernels.wide(x.dtype, kernels.DOUBLES)), sample_size, seed=_seed(seed)
    )
    return tf.cast(drawn, of_onnx(dtype))


# The coefficients of a window: a0 - a1 cos(2 pi i / n) + a2 cos(4 pi i / n).
_WINDOWS = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}


def window(size: tf.Tensor, *, node: Node, output_datatype: int = 1, periodic: int = 1) -> tf.Tensor:
    count = kernels.scalar(size, tf.int64)
    over = tf.cast(count if periodic else count - 1, tf.float64)
    angle = tf.cast(tf.range(count), tf.float64) * (2 * np.pi) / over
    first, second, third = _WINDOWS[node.op_type]
    made = first - second * tf.cos(angle) + third * tf.cos(2 * angle)
    return kernels.cast(made, of_onnx(output_datatype))


def mel_weight_matrix(
    num_mel_bins: tf.Tensor,
    dft_length: tf.Tensor,
    sample_rate: tf.Tensor,
    lower_edge_hertz: tf.Tensor,
    upper_edge_hertz: tf.Tensor,
    *,
    output_datatype: int = 1,
) -> tf.Tensor:
    """Triangles between edges that are evenly spaced in mel, 2595 log10(1 + f / 700)."""
    bands, length = (kernels.scalar(one, tf.int64) for one in (num_mel_bins, dft_length))
    rate = kernels.scalar(sample_rate, tf.float64)
    low, high = (
        2595 * tf.math.log(1 + kernels.scalar(one, tf.float64) / 700) / np.log(10)
        for one in (lower_edge_hertz, upper_edge_hertz)
    )
    steps = tf.cast(tf.range(bands + 2), tf.float64)
    mel = steps * (high - low) / tf.cast(bands + 2, tf.float64) + low
    edges = tf.floor(tf.cast(length + 1, tf.float64) * (700 * (tf.pow(tf.cast(10, tf.float64), mel / 2595) - 1)) / rate)
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    bins = tf.cast(tf.range(length // 2 + 1), tf.float64)[:, None]
    zero = tf.zeros((), tf.float64)
    rising = tf.where((bins >= left) & (bins <= middle), tf.math.divide_no_nan(bins - left, middle - left), zero)
    rising = tf.where((left == middle) & (bins == middle), tf.ones((), tf.float64), rising)
    falling = tf.math.divide_no_nan(right - bins, right - middle)
    made = tf.where((bins >= middle) & (bins < right), falling, rising)
    return kernels.cast(made, of_onnx(output_datatype))


OPERATORS: tuple[Operator, ...] = (
    Operator("Constant", 1, constant),
    Operator("ConstantOfShape", 9, constant_of_shape),
    Operator("EyeLike", 9, eye_like),
    Operator("Range", 11, sequence),
    Operator("RandomNormal", 1, random_normal, folds=False),
    Operator("RandomNormalLike", 1, random_normal_like, folds=False),
    Operator("RandomUniform", 1, random_uniform, folds=False),
    Operator("RandomUniformLike", 1, random_uniform_like, folds=False),
    Operator("Bernoulli", 15, bernoulli, folds=False),
    Operator("Multinomial", 7, multinomial, folds=False),
    *(Operator(name, 17, window) for name in _WINDOWS),
    Operator("MelWeightMatrix", 17, mel_weight_matrix),
)
