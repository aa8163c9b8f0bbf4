"""Normalizations: those of images with channels last, those over given axes as ONNX has them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow.kernels import DOUBLES, FLOATS, length, wide
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator

# --- by statistics of the training ---


def batch_normalization(
    x: Any,
    scale: Any,
    bias: Any,
    mean: Any,
    var: Any,
    *,
    consumed_inputs: tuple[int, ...] | None = None,  # noqa: ARG001 - of opset 1, a hint
    epsilon: float = 1e-5,
    is_test: int = 0,
    momentum: float = 0.9,
    spatial: int = 1,
    training_mode: int = 0,
    node: Node,
) -> Any:
    if node.version >= 14:
        training = bool(training_mode)
    else:  # by the number of outputs, or before opset 7 by an attribute
        training = not is_test if node.version < 7 else any(node.wants(i) for i in range(1, 5))
    if training:
        return _by_batch(x, scale, bias, mean, var, epsilon, momentum, spatial, node)
    if spatial and x.dtype == tf.float32 and x.shape.rank in (3, 4):
        return _fused(x, scale, bias, mean, var, epsilon)
    factor, offset = _factor_and_offset(node, scale, bias, mean, var, epsilon)
    return _of_type(x * _of_type(_per_channel(factor, spatial), x) + _of_type(_per_channel(offset, spatial), x), x)


def _of_type(tensor: Any, x: Any) -> Any:
    return tf.cast(tensor, x.dtype)


def _per_channel(values: Any, spatial: int) -> Any:
    """Values per channel, or (spatial=0) per channel and place [C, …], for a tensor [N, …, C]."""
    rank = values.shape.rank
    return values if spatial or rank is None or rank < 2 else tf.transpose(values, (*range(1, rank), 0))


def _fused(x: Any, scale: Any, bias: Any, mean: Any, var: Any, epsilon: float) -> Any:
    """By the kernel for images, which TensorFlow's optimiser joins with the convolution before it."""
    image = x if x.shape.rank == 4 else tf.expand_dims(x, 1)
    values = [tf.cast(tensor, tf.float32) for tensor in (scale, bias, mean, var)]
    result = tf.raw_ops.FusedBatchNormV3(
        x=image, scale=values[0], offset=values[1], mean=values[2], variance=values[3], epsilon=epsilon,
        is_training=False,
    ).y  # fmt: skip
    return result if x.shape.rank == 4 else tf.squeeze(result, 1)


def _factor_and_offset(
    node: Node, scale: Any, bias: Any, mean: Any, var: Any, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """What a normalization by known statistics multiplies by and adds: made at conversion where all are constant."""
    known = [node.constant(i) for i in range(1, 5)]
    if any(array is None for array in known):
        wider = wide(scale.dtype, DOUBLES)
        scale, bias, mean, var = (tf.cast(tensor, wider) for tensor in (scale, bias, mean, var))
        factor = scale * tf.math.rsqrt(var + epsilon)
        return factor, bias - mean * factor
    _, offset, average, spread = (array.astype(np.float64) for array in known if array is not None)
    deviation = np.sqrt(spread + epsilon)
    key = f"{node.inputs[1:5]} {epsilon}"

    def factor_of(array: np.ndarray) -> np.ndarray:
        return np.asarray(array / deviation).astype(array.dtype)

    def offset_of(array: np.ndarray) -> np.ndarray:
        return np.asarray(offset - average * (array / deviation)).astype(array.dtype)

    return node.arranged(1, f"factor {key}", factor_of), node.arranged(1, f"offset {key}", offset_of)


def _by_batch(
    x: Any, scale: Any, bias: Any, mean: Any, var: Any, epsilon: float, momentum: float, spatial: int, node: Node
) -> Any:
    """By the batch's own statistics; the running ones are outputs."""
    wider = wide(x.dtype, DOUBLES)
    values = tf.cast(x, wider)
    axes = list(range(x.shape.rank - 1)) if spatial else [0]
    average = tf.reduce_mean(values, axes)
    spread = tf.reduce_mean(tf.math.squared_difference(values, average), axes)
    factor = tf.cast(_per_channel(scale, spatial), wider) * tf.math.rsqrt(spread + epsilon)
    result = (values - average) * factor + tf.cast(_per_channel(bias, spatial), wider)
    outputs = [tf.cast(result, x.dtype)]
    for old, new in ((mean, average), (var, spread)):
        old_values = tf.cast(_per_channel(old, spatial), wider)
        outputs.append(tf.cast(old_values * momentum + new * (1 - momentum), old.dtype))
    if node.version < 14:
        outputs += [tf.cast(average, mean.dtype), tf.cast(spread, var.dtype)]
    return tuple(outputs[: max(1, len(node.outputs))])


# --- by statistics of the tensor itself ---


def _standardized(x: tf.Tensor, axes: list[int], epsilon: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The tensor less its mean and over its deviation along the axes; the mean; one over the deviation."""
    mean = tf.reduce_mean(x, axes, keepdims=True)
    centered = x - mean
    inverse = tf.math.rsqrt(tf.reduce_mean(tf.square(centered), axes, keepdims=True) + tf.cast(epsilon, x.dtype))
    return centered * inverse, mean, inverse


def instance_normalization(
    x: Any,
    scale: Any,
    bias: Any,
    *,
    consumed_inputs: tuple[int, ...] | None = None,  # noqa: ARG001 - of opset 1, a hint
    epsilon: float = 1e-5,
) -> Any:
    wider = wide(x.dtype, DOUBLES)
    axes = list(range(1, x.shape.rank - 1))
    values = tf.cast(x, wider)
    centered = values - tf.reduce_mean(values, axes, keepdims=True)
    spread = tf.reduce_mean(tf.square(centered), axes, keepdims=True)
    factor = tf.math.rsqrt(spread + tf.cast(epsilon, wider)) * tf.cast(scale, wider)
    return tf.cast(centered * factor + tf.cast(bias, wider), x.dtype)


def group_normalization(
    x: Any,
    scale: Any,
    bias: Any,
    *,
    epsilon: float = 1e-5,
    num_groups: int,
    stash_type: int = 1,  # noqa: ARG001 - statistics are float32 at least
    node: Node,
) -> Any:
    """`scale` and `bias` have an element for each group until opset 20, for each channel from opset 21 on."""
    wider = wide(x.dtype, DOUBLES)
    axes = list(range(1, x.shape.rank - 1))
    size = length(x, -1) // num_groups
    values, scale, bias = (tf.cast(tensor, wider) for tensor in (x, scale, bias))

    def by_group(values: tf.Tensor) -> tf.Tensor:
        """The mean of each group, for each of its channels: first of each channel, which is quicker than at once."""
        channels = tf.reduce_mean(values, axes)
        groups = tf.reduce_mean(tf.reshape(channels, tf.stack([-1, num_groups, size])), 2, keepdims=True)
        return wide_of(tf.repeat(groups, size, 2))

    def wide_of(values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values, tf.stack([-1, *[1] * len(axes), num_groups * size]))

    if node.version < 21:
        scale, bias = tf.repeat(scale, size), tf.repeat(bias, size)
    centered = values - by_group(values)
    factor = tf.math.rsqrt(by_group(tf.square(centered)) + tf.cast(epsilon, wider)) * scale
    return tf.ensure_shape(tf.cast(centered * factor + bias, x.dtype), x.shape)


_STASH = {1: tf.float32, 10: tf.float16, 11: tf.float64, 16: tf.bfloat16}


def layer_normalization(
    x: Any,
    scale: Any,
    bias: Any = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
    node: Node,
) -> Any:
    rank = x.shape.rank
    if rank is None:
        raise node.refuse("gets a tensor whose number of axes is not known")
    wider = wide(x.dtype, DOUBLES)
    result, mean, inverse = _standardized(tf.cast(x, wider), list(range(axis % rank, rank)), epsilon)
    result = result * tf.cast(scale, wider)
    if bias is not None:
        result += tf.cast(bias, wider)
    stash = _STASH.get(stash_type, tf.float32)
    outputs = (tf.cast(result, x.dtype), tf.cast(mean, stash), tf.cast(inverse, stash))
    return outputs[: max(1, len(node.outputs))]


def rms_normalization(x: Any, scale: Any, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Any:
    rank = x.shape.rank
    wider = tf.float64 if x.dtype == tf.float64 else _STASH.get(stash_type, tf.float32)
    values = tf.cast(x, wider)
    square = tf.reduce_mean(tf.square(values), list(range(axis % rank, rank)), keepdims=True)
    result = values * tf.math.rsqrt(square + tf.cast(epsilon, wider))
    if x.dtype in DOUBLES or scale.dtype == wider:
        return tf.cast(result * tf.cast(scale, wider), scale.dtype)
    return tf.cast(tf.cast(result, x.dtype), scale.dtype) * scale


def mean_variance_normalization(x: Any, *, axes: tuple[int, ...] = (0, 2, 3)) -> Any:
    wider = wide(x.dtype, DOUBLES)
    values = tf.cast(x, wider)
    mean = tf.reduce_mean(values, axes, keepdims=True)
    centered = values - mean
    deviation = tf.sqrt(tf.reduce_mean(tf.square(centered), axes, keepdims=True))
    return tf.cast(centered / (deviation + 1e-9), x.dtype)


# --- by neighbours and norms ---


def lrn(x: Any, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Any:
    """Over the squares of the channels around, with channels last."""
    if size % 2 and x.shape.rank == 4 and x.dtype == tf.float32:
        return tf.nn.lrn(x, size // 2, bias, alpha / size, beta)
    wider = wide(x.dtype, DOUBLES)
    values = tf.cast(x, wider)
    before = (size - 1) // 2
    pads = [(0, 0)] * (x.shape.rank - 1) + [(before, size - 1 - before)]
    squares = tf.pad(tf.square(values), pads)
    channels = tf.shape(x)[-1]
    total = functools.reduce(tf.add, (squares[..., i : i + channels] for i in range(size)))
    return tf.cast(values / tf.pow(bias + alpha / size * total, tf.cast(beta, wider)), x.dtype)


def lp_normalization(x: Any, *, axis: int = -1, p: int = 2) -> Any:
    wider = wide(x.dtype, FLOATS)
    values = tf.cast(x, wider)
    size = tf.abs(values) if p == 1 else tf.square(values)
    norm = tf.reduce_sum(size, axis, keepdims=True)
    return tf.cast(tf.math.divide_no_nan(values, norm if p == 1 else tf.sqrt(norm)), x.dtype)


OPERATORS: tuple[Operator, ...] = (
    Operator("BatchNormalization", 1, batch_normalization, layout="last"),
    Operator("InstanceNormalization", 1, instance_normalization, layout="last"),
    Operator("GroupNormalization", 18, group_normalization, layout="last"),
    Operator("LayerNormalization", 17, layer_normalization),
    Operator("RMSNormalization", 23, rms_normalization),
    Operator("MeanVarianceNormalization", 9, mean_variance_normalization),
    Operator("LRN", 1, lrn, layout="last"),
    Operator("LpNormalization", 1, lp_normalization, layout="axis"),
)
