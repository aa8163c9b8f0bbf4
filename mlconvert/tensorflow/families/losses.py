"""The losses of classification."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import dimensions, kernels
from mlconvert.tensorflow.families.indexing import from_front
from mlconvert.tensorflow.operators import Operator


def _negative_log_likelihood(
    scores: tf.Tensor, target: tf.Tensor, weight: tf.Tensor | None, ignore_index: int | None, reduction: str
) -> tf.Tensor:
    """Scores [N, C, …], classes [N, …]; the mean is one weighted by what each class weighs."""
    rank = scores.shape.rank
    scores = tf.transpose(scores, [0, *range(2, rank), 1])
    ignored = tf.zeros_like(target, tf.bool) if ignore_index is None else target == ignore_index
    classes = tf.where(ignored, tf.zeros_like(target), from_front(target, dimensions.dims(scores)[-1]))
    chosen = tf.gather(scores, classes, axis=-1, batch_dims=rank - 1)
    weights = tf.ones_like(chosen) if weight is None else tf.gather(weight, classes)
    weights = tf.where(ignored, tf.zeros_like(weights), weights)
    losses = -chosen * weights
    if reduction == "none":
        return losses
    total = tf.reduce_sum(losses)
    return total / tf.reduce_sum(weights) if reduction == "mean" else total


def negative_log_likelihood_loss(
    scores: tf.Tensor,
    target: tf.Tensor,
    weight: tf.Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> tf.Tensor:
    return kernels.widened(
        kernels.DOUBLES,
        lambda scores, weight: _negative_log_likelihood(scores, target, weight, ignore_index, reduction),
        scores,
        weight,
    )


def softmax_cross_entropy_loss(
    scores: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Any:
    """The loss, and the logarithms of the probabilities."""

    def computed(scores: tf.Tensor, weights: tf.Tensor | None) -> Any:
        logarithms = tf.nn.log_softmax(scores, axis=1)
        return _negative_log_likelihood(logarithms, labels, weights, ignore_index, reduction), logarithms

    return kernels.widened(kernels.DOUBLES, computed, scores, weights)


OPERATORS: tuple[Operator, ...] = (
    Operator("NegativeLogLikelihoodLoss", 12, negative_log_likelihood_loss),
    Operator("SoftmaxCrossEntropyLoss", 12, softmax_cross_entropy_loss),
)
