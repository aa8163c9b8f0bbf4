"""One step of an optimiser (ai.onnx.preview.training).

Each takes the rate, the count of steps so far, and then any number of tensors, all their gradients, and all of each
part of the state, in this order; and gives the tensors and the state.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator

_DOMAIN = "ai.onnx.preview.training"


def _for_each(inputs: tuple[Any, ...], parts: int, step: Callable[..., tuple[Any, ...]]) -> tuple[Any, ...]:
    """`step` for each tensor with its gradient and state, out of inputs in `parts` runs of as many."""
    count = len(inputs) // parts
    runs = [inputs[part * count : (part + 1) * count] for part in range(parts)]
    answers = [step(*one) for one in zip(*runs, strict=True)]
    return tuple(value for run in zip(*answers, strict=True) for value in run)


def adagrad(
    rate: Any, count: Any, *inputs: Any, decay_factor: float = 0.0, epsilon: float = 1e-6, norm_coefficient: float = 0.0
) -> tuple[Any, ...]:
    """Duchi, Hazan and Singer 2011: rates shrink with the sum of squared gradients."""

    def step(x: Any, gradient: Any, squares: Any) -> tuple[Any, ...]:
        slower = tf.cast(rate, x.dtype) / (1 + tf.cast(count, x.dtype) * decay_factor)
        gradient = norm_coefficient * x + gradient
        squares = squares + gradient * gradient
        return x - slower * gradient / (tf.sqrt(squares) + epsilon), squares

    return _for_each(inputs, 3, step)


def adam(
    rate: Any,
    count: Any,
    *inputs: Any,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> tuple[Any, ...]:
    """Kingma and Ba 2014: moving averages of the gradient and of its square, their start corrected for."""

    def step(x: Any, gradient: Any, average: Any, squares: Any) -> tuple[Any, ...]:
        steps, first = tf.cast(count, x.dtype), tf.cast(rate, x.dtype)
        gradient = norm_coefficient * x + gradient
        average = alpha * average + (1 - alpha) * gradient
        squares = beta * squares + (1 - beta) * gradient * gradient
        powers = [tf.pow(tf.constant(base, x.dtype), steps) for base in (beta, alpha)]
        corrected = tf.where(steps > 0, first * tf.sqrt(1 - powers[0]) / (1 - powers[1]), first)
        new = x - corrected * average / (tf.sqrt(squares) + epsilon)
        return (1 - norm_coefficient_post) * new, average, squares

    return _for_each(inputs, 4, step)


def momentum(
    rate: Any, count: Any, *inputs: Any, alpha: float, beta: float, mode: str, norm_coefficient: float, node: Node
) -> tuple[Any, ...]:
    """Gradient descent with momentum, `standard` or `nesterov`'s."""
    if mode not in ("standard", "nesterov"):
        raise node.refuse(f"has the mode '{mode}'", hint="standard or nesterov")

    def step(x: Any, gradient: Any, velocity: Any) -> tuple[Any, ...]:
        gradient = norm_coefficient * x + gradient
        share = tf.where(count > 0, tf.constant(beta, x.dtype), tf.ones((), x.dtype))
        velocity = alpha * velocity + share * gradient
        move = velocity if mode == "standard" else gradient + alpha * velocity
        return x - tf.cast(rate, x.dtype) * move, velocity

    return _for_each(inputs, 3, step)


OPERATORS = (
    Operator("Adagrad", 1, adagrad, domain=_DOMAIN),
    Operator("Adam", 1, adam, domain=_DOMAIN),
    Operator("Momentum", 1, momentum, domain=_DOMAIN),
)
