"""Activations: what networks put between their layers. Softmax and its kin are reductions."""

from __future__ import annotations

import math

import tensorflow as tf

from mlconvert.tensorflow import kernels
from mlconvert.tensorflow.operators import Operator


def relu(x: tf.Tensor, *, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
    return kernels.widened(kernels.NUMBERS, tf.nn.relu, x)


def sigmoid(x: tf.Tensor, *, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
    return kernels.widened(kernels.FLOATS, tf.sigmoid, x)


def tanh(x: tf.Tensor, *, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
    return kernels.widened(kernels.FLOATS, tf.tanh, x)


def softplus(x: tf.Tensor) -> tf.Tensor:
    return kernels.widened(kernels.FLOATS, tf.math.softplus, x)


def softsign(x: tf.Tensor) -> tf.Tensor:
    return kernels.widened(kernels.FLOATS, tf.nn.softsign, x)


def leaky_relu(x: tf.Tensor, *, alpha: float = 0.01, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
    return kernels.widened(kernels.FLOATS, lambda x: tf.nn.leaky_relu(x, alpha), x)


def elu(x: tf.Tensor, *, alpha: float = 1.0, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
    # tf.nn.elu takes exp(x) - 1, which loses digits near zero.
    return kernels.widened(kernels.DOUBLES, lambda x: tf.where(x > 0, x, alpha * tf.math.expm1(x)), x)


def _selu(x: tf.Tensor, alpha: float, gamma: float) -> tf.Tensor:
    return kernels.widened(kernels.DOUBLES, lambda x: tf.where(x > 0, gamma * x, (gamma * alpha) * tf.math.expm1(x)), x)


def selu_1(
    x: tf.Tensor,
    *,
    alpha: float = 1.6732,
    gamma: float = 1.0507,
    consumed_inputs: tuple[int, ...] = (),  # noqa: ARG001
) -> tf.Tensor:
    return _selu(x, alpha, gamma)


def selu(
    x: tf.Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875
) -> tf.Tensor:
    return _selu(x, alpha, gamma)


def celu(x: tf.Tensor, *, alpha: float = 1.0) -> tf.Tensor:
    return kernels.widened(
        kernels.DOUBLES,
        lambda x: (
            tf.maximum(x, tf.zeros((), x.dtype)) + tf.minimum(alpha * tf.math.expm1(x / alpha), tf.zeros((), x.dtype))
        ),
        x,
    )


def gelu(x: tf.Tensor, *, approximate: str = "none") -> tf.Tensor:
    def by_tanh(x: tf.Tensor) -> tf.Tensor:  # tf.nn.gelu takes tf.pow(x, 3), which is slow
        return 0.5 * x * (1.0 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))

    return kernels.widened(kernels.DOUBLES, by_tanh if approximate == "tanh" else tf.nn.gelu, x)


def mish(x: tf.Tensor) -> tf.Tensor:
    return kernels.widened(kernels.DOUBLES, lambda x: x * tf.tanh(tf.math.softplus(x)), x)


def swish(x: tf.Tensor, *, alpha: float = 1.0) -> tf.Tensor:
    return kernels.widened(kernels.DOUBLES, lambda x: x * tf.sigmoid(alpha * x), x)


def _hard_sigmoid(x: tf.Tensor, alpha: float, beta: float) -> tf.Tensor:
    return tf.minimum(tf.maximum(alpha * x + beta, tf.zeros((), x.dtype)), tf.ones((), x.dtype))


def hard_sigmoid(
    x: tf.Tensor,
    *,
    alpha: float = 0.2,
    beta: float = 0.5,
    consumed_inputs: tuple[int, ...] = (),  # noqa: ARG001
) -> tf.Tensor:
    return kernels.widened(kernels.DOUBLES, lambda x: _hard_sigmoid(x, alpha, beta), x)


def hard_swish(x: tf.Tensor) -> tf.Tensor:
    return kernels.widened(kernels.DOUBLES, lambda x: x * _hard_sigmoid(x, 1 / 6, 0.5), x)


def thresholded_relu(x: tf.Tensor, *, alpha: float = 1.0) -> tf.Tensor:
    return kernels.widened(kernels.FLOATS, lambda x: tf.where(x > tf.cast(alpha, x.dtype), x, tf.zeros_like(x)), x)


def shrink(x: tf.Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> tf.Tensor:
    def shrunk(x: tf.Tensor) -> tf.Tensor:
        return tf.where(x < -lambd, x + bias, tf.where(x > lambd, x - bias, tf.zeros_like(x)))

    return kernels.widened(kernels.DOUBLES, shrunk, x)


def _leaking(x: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    return tf.where(x < 0, slope * x, x)


def prelu_1(x: tf.Tensor, slope: tf.Tensor, *, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
    """Up to opset 6 the slope is one for all, or one per channel."""
    if slope.shape.num_elements() == 1:
        slope = tf.reshape(slope, [])
    elif x.shape.rank > 2:
        slope = tf.reshape(slope, [-1] + [1] * (x.shape.rank - 2))
    return prelu(x, slope)


def prelu(x: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    kept = kernels.SIGNED_NUMBERS if x.dtype in kernels.INTEGERS else kernels.FLOATS
    if x.dtype in kernels.UNSIGNED:
        return tf.identity(x)  # never negative
    return kernels.widened(kept, _leaking, x, slope)


def clip_1(
    x: tf.Tensor,
    *,
    min: float | None = None,  # noqa: A002
    max: float | None = None,  # noqa: A002
    consumed_inputs: tuple[int, ...] = (),  # noqa: ARG001
) -> tf.Tensor:
    low = None if min is None else tf.cast(min, x.dtype)
    high = None if max is None else tf.cast(max, x.dtype)
    return clip(x, low, high)


def clip(x: tf.Tensor, low: tf.Tensor | None = None, high: tf.Tensor | None = None) -> tf.Tensor:
    """`min` above `max` gives `max`, for all elements."""

    def clipped(x: tf.Tensor, low: tf.Tensor | None, high: tf.Tensor | None) -> tf.Tensor:
        if low is not None:
            x = tf.maximum(x, kernels.scalar(low))
        return x if high is None else tf.minimum(x, kernels.scalar(high))

    return kernels.widened(kernels.NUMBERS, clipped, x, low, high)


def swiglu(a: tf.Tensor, b: tf.Tensor, *, alpha: float = 1.0) -> tf.Tensor:
    return kernels.widened(kernels.DOUBLES, lambda a, b: a * tf.sigmoid(alpha * a) * b, a, b)


OPERATORS: tuple[Operator, ...] = (
    Operator("Relu", 1, relu, layout="any"),
    Operator("Sigmoid", 1, sigmoid, layout="any"),
    Operator("Tanh", 1, tanh, layout="any"),
    Operator("Softplus", 1, softplus, layout="any"),
    Operator("Softsign", 1, softsign, layout="any"),
    Operator("LeakyRelu", 1, leaky_relu, layout="any"),
    Operator("Elu", 1, elu, layout="any"),
    Operator("Selu", 1, selu_1, until=5, layout="any"),
    Operator("Selu", 6, selu, layout="any"),
    Operator("Celu", 12, celu, layout="any"),
    Operator("Gelu", 20, gelu, layout="any"),
    Operator("Mish", 18, mish, layout="any"),
    Operator("Swish", 24, swish, layout="any"),
    Operator("SwiGLU", 28, swiglu, layout="any"),
    Operator("HardSigmoid", 1, hard_sigmoid, layout="any"),
    Operator("HardSwish", 14, hard_swish, layout="any"),
    Operator("ThresholdedRelu", 10, thresholded_relu, layout="any"),
    Operator("Shrink", 9, shrink, layout="any"),
    Operator("PRelu", 1, prelu_1, until=6),
    Operator("PRelu", 7, prelu, layout="any"),
    Operator("Clip", 1, clip_1, until=10, layout="any"),
    Operator("Clip", 11, clip, layout="any"),
)
