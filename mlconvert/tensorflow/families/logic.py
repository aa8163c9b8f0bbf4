"""Truth values: comparisons, their connectives, bits, Where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import kernels
from mlconvert.tensorflow.families.arithmetic import spread
from mlconvert.tensorflow.operators import Operator

_COMPARED = kernels.NUMBERS | {tf.bool, tf.string}


def _comparison(function: Callable[..., Any], computed_in: frozenset[tf.DType]) -> Callable[..., Any]:
    def lowered(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return kernels.judged(computed_in, function, a, b)

    return lowered


def _comparison_1(function: Callable[..., Any], computed_in: frozenset[tf.DType]) -> Callable[..., Any]:
    """Up to opset 6, broadcasting is asked for, and one-sided."""

    def lowered(a: tf.Tensor, b: tf.Tensor, *, broadcast: int = 0, axis: int | None = None) -> tf.Tensor:
        return kernels.judged(computed_in, function, a, spread(a, b, axis) if broadcast else b)

    return lowered


def negation(x: tf.Tensor) -> tf.Tensor:
    return tf.logical_not(x)


def _bitwise(function: Callable[..., Any]) -> Callable[..., Any]:
    def lowered(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return kernels.widened(kernels.INTEGERS, function, a, b)

    return lowered


def bitwise_not(x: tf.Tensor) -> tf.Tensor:
    return kernels.widened(kernels.INTEGERS, tf.bitwise.invert, x)


def bit_shift(x: tf.Tensor, y: tf.Tensor, *, direction: str) -> tf.Tensor:
    """Shifts by all bits or more leave 0, or -1 for a negative number to the right."""
    bits = 8 * x.dtype.size
    within = y < tf.constant(bits, y.dtype)
    if y.dtype in kernels.SIGNED:
        within = tf.logical_and(within, y >= 0)
    amount = tf.where(within, y, tf.zeros_like(y))
    zero = tf.zeros((), x.dtype)
    if direction == "LEFT":
        return tf.where(within, tf.bitwise.left_shift(x, amount), zero)
    rest = tf.where(x < 0, tf.constant(-1, x.dtype), zero) if x.dtype in kernels.SIGNED else zero
    return tf.where(within, tf.bitwise.right_shift(x, amount), rest)


def where(condition: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return kernels.moved(lambda x, y: tf.where(condition, x, y), x, y)


# operator -> (function, types, the first opset of today's broadcasting, whether it is older than that)
_COMPARISONS = {
    "Equal": (tf.equal, _COMPARED, 7, True),
    "Less": (tf.less, kernels.NUMBERS, 7, True),
    "Greater": (tf.greater, kernels.NUMBERS, 7, True),
    "LessOrEqual": (tf.less_equal, kernels.NUMBERS, 12, False),
    "GreaterOrEqual": (tf.greater_equal, kernels.NUMBERS, 12, False),
    "And": (tf.logical_and, frozenset({tf.bool}), 7, True),
    "Or": (tf.logical_or, frozenset({tf.bool}), 7, True),
    "Xor": (tf.math.logical_xor, frozenset({tf.bool}), 7, True),
}
_BITWISE = {
    "BitwiseAnd": tf.bitwise.bitwise_and,
    "BitwiseOr": tf.bitwise.bitwise_or,
    "BitwiseXor": tf.bitwise.bitwise_xor,
}

OPERATORS: tuple[Operator, ...] = (
    *(
        Operator(name, 1, _comparison_1(function, types), until=6)
        for name, (function, types, _, older) in _COMPARISONS.items()
        if older
    ),
    *(
        Operator(name, since, _comparison(function, types), layout="any")
        for name, (function, types, since, _) in _COMPARISONS.items()
    ),
    Operator("Not", 1, negation, layout="any"),
    *(Operator(name, 18, _bitwise(function), layout="any") for name, function in _BITWISE.items()),
    Operator("BitwiseNot", 18, bitwise_not, layout="any"),
    Operator("BitShift", 11, bit_shift, layout="any"),
    Operator("Where", 9, where, layout="any"),
)
