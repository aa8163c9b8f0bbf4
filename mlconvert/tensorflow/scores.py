"""The post-transforms of ai.onnx.ml: what classifiers and regressors of that domain make of their scores."""

from __future__ import annotations

import math

import tensorflow as tf

_NEARLY_ZERO = 1e-7
"""SOFTMAX_ZERO's zero in ONNX Runtime."""
_WINITZKI = 0.147
"""The constant of the approximation of the inverse error function that ONNX Runtime has for PROBIT
(S. Winitzki, "A handy approximation for the error function and its inverse", 2008)."""


def transformed(scores: tf.Tensor, transform: str) -> tf.Tensor:
    """NONE, SOFTMAX, LOGISTIC, SOFTMAX_ZERO or PROBIT, over the last axis.

    SOFTMAX_ZERO leaves scores of zero out: their answer is zero. PROBIT is the quantile of the normal distribution, as
    near as ONNX Runtime has it. Raises ValueError for another name.
    """
    if transform == "NONE":
        return scores
    if transform == "SOFTMAX":
        return tf.nn.softmax(scores)
    if transform == "LOGISTIC":
        return tf.sigmoid(scores)
    if transform == "PROBIT":
        return _probit(scores)
    if transform == "SOFTMAX_ZERO":
        taken = tf.abs(scores) > tf.constant(_NEARLY_ZERO, scores.dtype)
        raised = tf.where(taken, tf.exp(scores - tf.reduce_max(scores, axis=-1, keepdims=True)), tf.zeros_like(scores))
        return tf.math.divide_no_nan(raised, tf.reduce_sum(raised, axis=-1, keepdims=True))
    raise ValueError(f"there is no post_transform '{transform}'")


def _probit(scores: tf.Tensor) -> tf.Tensor:
    x = 2 * scores - 1
    logarithm = tf.math.log((1 - x) * (1 + x))
    part = 2 / (math.pi * _WINITZKI) + logarithm / 2
    return math.sqrt(2) * tf.sign(x) * tf.sqrt(tf.sqrt(part * part - logarithm / _WINITZKI) - part)
