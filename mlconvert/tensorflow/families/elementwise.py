"""Functions of one tensor, element by element: arithmetic, exponentials, trigonometry, rounding, Dropout, Identity."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import kernels, subnormals
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator


def _unary(function: Callable[..., Any], computed_in: frozenset[tf.DType]) -> Callable[..., Any]:
    """The lowering of a function that TensorFlow has; up to opset 5 operators had an attribute without a meaning."""

    def lowered(x: tf.Tensor, *, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
        return kernels.widened(computed_in, function, x)

    return lowered


def absolute(x: tf.Tensor, *, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
    if x.dtype in kernels.UNSIGNED:
        return tf.identity(x)
    return kernels.widened(kernels.SIGNED_NUMBERS, tf.abs, x)


def sign(x: tf.Tensor) -> tf.Tensor:
    if x.dtype in kernels.UNSIGNED:
        return tf.cast(x != 0, x.dtype)
    return kernels.widened(kernels.SIGNED_NUMBERS, tf.sign, x)


def round_half_even(x: tf.Tensor) -> tf.Tensor:
    return kernels.widened(kernels.FLOATS, tf.round, x)


def is_nan(x: tf.Tensor) -> tf.Tensor:
    return kernels.judged(kernels.FLOATS, tf.math.is_nan, x)


def is_inf(x: tf.Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> tf.Tensor:
    def judge(x: tf.Tensor) -> tf.Tensor:
        found = tf.math.is_inf(x)
        if not detect_negative:
            found = tf.logical_and(found, x > 0)
        if not detect_positive:
            found = tf.logical_and(found, x < 0)
        return found

    return kernels.judged(kernels.FLOATS, judge, x)


def identity(x: Any) -> Any:
    """Of sequences and optionals too."""
    return tf.identity(x) if isinstance(x, tf.Tensor) else x


def dropout_1(
    data: tf.Tensor,
    *,
    node: Node,
    ratio: float = 0.5,
    is_test: int = 0,
    consumed_inputs: tuple[int, ...] = (),  # noqa: ARG001
) -> Any:
    """Opsets 1 to 6: training unless `is_test`; what is served is tested."""
    if not is_test and ratio:
        raise node.refuse("is a dropout of training (is_test=0)", hint="export the network for inference")
    return tf.identity(data), tf.ones_like(data)


def dropout_7(data: tf.Tensor, *, node: Node, ratio: float = 0.5) -> Any:  # noqa: ARG001
    mask = tf.ones_like(data) if node.version < 10 else tf.ones(kernels.lengths(data), tf.bool)
    return tf.identity(data), mask


def dropout(
    data: tf.Tensor,
    ratio: tf.Tensor | None = None,
    training_mode: tf.Tensor | None = None,
    *,
    node: Node,
    seed: int | None = None,
) -> Any:
    training = False if training_mode is None else node.constant(2)
    share = 0.5 if ratio is None else node.constant(1)
    everything = tf.ones(kernels.lengths(data), tf.bool)
    if (training is not None and not training) or (share is not None and not share):
        return tf.identity(data), everything
    drop = tf.cast(0.5 if ratio is None else ratio, tf.float32)
    kept = tf.random.uniform(kernels.lengths(data), seed=seed) >= drop
    if training is None:
        kept = tf.logical_or(kept, tf.logical_not(training_mode))
        drop = tf.where(training_mode, drop, 0.0)

    def scaled(x: tf.Tensor) -> tf.Tensor:
        return tf.where(kept, x / tf.cast(1.0 - drop, x.dtype), tf.zeros_like(x))

    return kernels.widened(kernels.DOUBLES, scaled, data), kept


_FUNCTIONS = {
    "Neg": (tf.negative, kernels.SIGNED_NUMBERS, 1),
    "Reciprocal": (tf.math.reciprocal, kernels.FLOATS, 1),
    "Floor": (subnormals.floor, kernels.DOUBLES, 1),
    "Ceil": (subnormals.ceil, kernels.DOUBLES, 1),
    "Sqrt": (tf.sqrt, kernels.FLOATS, 1),
    "Exp": (tf.exp, kernels.FLOATS, 1),
    "Log": (tf.math.log, kernels.FLOATS, 1),
    "Sin": (tf.sin, kernels.FLOATS, 7),
    "Cos": (tf.cos, kernels.FLOATS, 7),
    "Tan": (tf.tan, kernels.FLOATS, 7),
    "Asin": (tf.asin, kernels.FLOATS, 7),
    "Acos": (tf.acos, kernels.FLOATS, 7),
    "Atan": (tf.atan, kernels.FLOATS, 7),
    "Sinh": (tf.sinh, kernels.FLOATS, 9),
    "Cosh": (tf.cosh, kernels.FLOATS, 9),
    "Asinh": (tf.asinh, kernels.FLOATS, 9),
    "Acosh": (tf.acosh, kernels.FLOATS, 9),
    "Atanh": (tf.atanh, kernels.FLOATS, 9),
    "Erf": (tf.math.erf, kernels.FLOATS, 9),
}

OPERATORS: tuple[Operator, ...] = (
    *(
        Operator(name, since, _unary(function, computed_in), layout="any")
        for name, (function, computed_in, since) in _FUNCTIONS.items()
    ),
    Operator("Abs", 1, absolute, layout="any"),
    Operator("Sign", 9, sign, layout="any"),
    Operator("Round", 11, round_half_even, layout="any"),
    Operator("IsNaN", 9, is_nan, layout="any"),
    Operator("IsInf", 10, is_inf, layout="any"),
    Operator("Identity", 1, identity, layout="any"),
    Operator("Dropout", 1, dropout_1, until=6, layout="any", note="not in training mode"),
    Operator("Dropout", 7, dropout_7, until=11, layout="any"),
    Operator("Dropout", 12, dropout, layout="first", folds=False),
)
