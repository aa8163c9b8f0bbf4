"""The post-transforms of ai.onnx.ml: what classifiers and regressors of that domain make of their scores."""

from __future__ import annotations

import math

import tensorflow as tf

from mlconvert.tensorflow import grappler
from mlconvert.tensorflow.node import Node

TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
_NEARLY_ZERO = 1e-7
"""SOFTMAX_ZERO's zero in ONNX Runtime."""
_WINITZKI = 0.147
"""The constant of the approximation of the inverse error function that ONNX Runtime has for PROBIT
(S. Winitzki, "A handy approximation for the error function and its inverse", 2008)."""

_SWEEPS = 100
"""How often the probabilities of pairs are weighed at most."""
_COUPLED = 0.005
"""How far a class may be from its share, of all classes together, for the weighing to end."""


def known_transform(transform: str, node: Node) -> None:
    """Raises ConversionFailed for a post-transform that there is not."""
    if transform not in TRANSFORMS:
        raise node.refuse(f"has post_transform {transform!r}", f"known: {', '.join(TRANSFORMS)}")


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
        most = tf.reduce_max(grappler.fenced(scores), axis=-1, keepdims=True)
        raised = tf.where(taken, tf.exp(scores - most), tf.zeros_like(scores))
        return tf.math.divide_no_nan(raised, tf.reduce_sum(raised, axis=-1, keepdims=True))
    raise ValueError(f"there is no post_transform '{transform}'")


def _probit(scores: tf.Tensor) -> tf.Tensor:
    x = 2 * scores - 1
    logarithm = tf.math.log((1 - x) * (1 + x))
    part = 2 / (math.pi * _WINITZKI) + logarithm / 2
    return math.sqrt(2) * tf.sign(x) * tf.sqrt(tf.sqrt(part * part - logarithm / _WINITZKI) - part)


def coupled(pairwise: tf.Tensor) -> tf.Tensor:
    """Probabilities [N, classes] from [N, classes, classes]: at [i, j], that of class i where it is i or j.

    T. Wu, C. Lin, R. Weng, "Probability estimates for multi-class classification by pairwise coupling" (JMLR 2004),
    algorithm 2: minimises p'Qp where Q[i, i] is the sum of r[j, i]² and Q[i, j] is -r[j, i] r[i, j], a class after
    another. LIBSVM and ONNX Runtime end at the same tolerance, well before the minimum: so a row ends here when it ends
    there, and keeps its answer while others go on.
    """
    classes = int(pairwise.shape[1])
    swapped = tf.transpose(pairwise, [0, 2, 1])
    q = tf.linalg.set_diag(-swapped * pairwise, tf.reduce_sum(swapped * swapped, axis=2))
    start = tf.fill(tf.shape(pairwise)[:2], tf.constant(1 / classes, pairwise.dtype))
    start.set_shape([pairwise.shape[0], classes])

    def shares(p: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        each = tf.linalg.matvec(q, p)
        whole = tf.reduce_sum(p * each, axis=1)
        return each, whole, tf.reduce_max(grappler.fenced(tf.abs(each - whole[:, None])), axis=1) >= _COUPLED / classes

    def sweep(number: tf.Tensor, p: tf.Tensor, going: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        each, whole, _ = shares(p)
        made = p
        for one in range(classes):
            step = (whole - each[:, one]) / q[:, one, one]
            whole = (whole + step * (step * q[:, one, one] + 2 * each[:, one])) / tf.square(1 + step)
            each = (each + step[:, None] * q[:, one]) / (1 + step)[:, None]
            made = (made + step[:, None] * tf.one_hot(one, classes, dtype=p.dtype)) / (1 + step)[:, None]
        made = tf.where(going[:, None], made, p)
        return number + 1, made, going & shares(made)[2]

    _, found, _ = tf.while_loop(
        lambda number, _, going: (number < _SWEEPS) & tf.reduce_any(going),
        sweep,
        (tf.constant(0), start, shares(start)[2]),
        parallel_iterations=1,
    )
    return found
