"""Arithmetic of several tensors, element by element with broadcasting: Add to Pow, Max to Mean."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import grappler, kernels
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator


def spread(a: tf.Tensor, b: tf.Tensor, axis: int | None) -> tf.Tensor:
    """`b` as it broadcasts to `a` up to opset 6: its axes are those of `a` from `axis` on, or the last ones."""
    if axis is None or axis < 0:
        return b
    return tf.reshape(b, tf.concat([tf.shape(b), [1] * (a.shape.rank - axis - b.shape.rank)], 0))


def _add(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """A row [1, …, N] is added as [N].

    TensorFlow 2.21's optimiser takes a row added to a product of matrices, the first of them transposed, for a bias of
    the product, and then its kernel refuses it: "bias must be 1-dimensional".
    """
    for biased, other in ((a, b), (b, a)):
        if grappler.is_biased(biased) and grappler.is_constant(other):
            return tf.add(grappler.fenced(biased), other)
    for row, other in ((a, b), (b, a)):
        if row.dtype in kernels.FLOATS and (other.shape.rank or 0) > 1 and _is_row(row):
            missing = row.shape.rank - other.shape.rank
            wide = other[(None,) * missing] if missing > 0 else other
            return tf.add(wide, tf.reshape(row, [row.shape[-1]]))
    return tf.add(a, b)


def _is_row(x: tf.Tensor) -> bool:
    return bool((x.shape.rank or 0) > 1 and x.shape[-1] is not None and all(n == 1 for n in x.shape[:-1]))


def _larger(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.maximum(a, grappler.fenced(b))


def _divide(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.truncatediv(a, b) if a.dtype.is_integer else tf.realdiv(a, b)


def _binary(function: Callable[..., Any]) -> Callable[..., Any]:
    def lowered(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return kernels.widened(kernels.NUMBERS, function, a, b)

    return lowered


def _binary_1(function: Callable[..., Any]) -> Callable[..., Any]:
    """Up to opset 6, broadcasting is asked for, and one-sided."""

    def lowered(
        a: tf.Tensor,
        b: tf.Tensor,
        *,
        broadcast: int = 0,
        axis: int | None = None,
        consumed_inputs: tuple[int, ...] = (),  # noqa: ARG001
    ) -> tf.Tensor:
        return kernels.widened(kernels.NUMBERS, function, a, spread(a, b, axis) if broadcast else b)

    return lowered


def power_1(a: tf.Tensor, b: tf.Tensor, *, node: Node, broadcast: int = 0, axis: int | None = None) -> tf.Tensor:
    return power(a, spread(a, b, axis) if broadcast else b, node=node)


def power(x: tf.Tensor, y: tf.Tensor, *, node: Node) -> tf.Tensor:
    """Of the type of `x`, whatever that of `y`. Integers are raised in double and truncated, as ONNX Runtime does."""
    exponent = node.constant(1)
    if exponent is not None and exponent.size == 1 and exponent.ndim <= (x.shape.rank or 0):
        if exponent.item() == 2:
            return kernels.widened(kernels.NUMBERS, tf.square, x)
        if exponent.item() == 3:
            return kernels.widened(kernels.NUMBERS, lambda x: x * x * x, x)
    if x.dtype.is_integer or y.dtype == tf.float64:
        return kernels.cast(tf.pow(kernels.cast(x, tf.float64), kernels.cast(y, tf.float64)), x.dtype)
    return kernels.widened(kernels.FLOATS, tf.pow, x, kernels.cast(y, x.dtype))


def modulo(a: tf.Tensor, b: tf.Tensor, *, fmod: int = 0) -> tf.Tensor:
    if a.dtype.is_integer:
        if not fmod:
            return kernels.widened(kernels.NUMBERS, tf.math.floormod, a, b)
        return kernels.widened(kernels.NUMBERS, lambda a, b: a - tf.truncatediv(a, b) * b, a, b)
    return kernels.widened(kernels.DOUBLES, tf.truncatemod if fmod else _floor_modulo, a, b)


def _floor_modulo(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Exact, unlike a - floor(a / b) * b, and right for an infinite divisor; a zero has the sign of the divisor."""
    rest = tf.truncatemod(a, b)
    zero = tf.zeros((), a.dtype)
    other_side = (rest < 0) != (b < 0)
    return tf.where(rest == 0, tf.where(b < 0, -zero, zero), tf.where(other_side, rest + b, rest))


def _variadic(function: Callable[..., Any]) -> Callable[..., Any]:
    def lowered(*tensors: tf.Tensor, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
        def together(*tensors: tf.Tensor) -> tf.Tensor:
            return functools.reduce(function, tensors)

        return kernels.widened(kernels.NUMBERS, together, *tensors) if len(tensors) > 1 else tf.identity(tensors[0])

    return lowered


def mean(*tensors: tf.Tensor, consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
    def together(*tensors: tf.Tensor) -> tf.Tensor:
        return functools.reduce(_add, tensors) / len(tensors)

    return kernels.widened(kernels.DOUBLES, together, *tensors)


_BINARY = {"Add": _add, "Sub": tf.subtract, "Mul": tf.multiply, "Div": _divide}
_VARIADIC = {"Max": _larger, "Min": tf.minimum, "Sum": _add}

OPERATORS: tuple[Operator, ...] = (
    *(Operator(name, 1, _binary_1(function), until=6) for name, function in _BINARY.items()),
    *(Operator(name, 7, _binary(function), layout="any") for name, function in _BINARY.items()),
    Operator("Pow", 1, power_1, until=6),
    Operator("Pow", 7, power, layout="any"),
    Operator("Mod", 10, modulo, layout="any"),
    *(Operator(name, 1, _variadic(function), layout="any") for name, function in _VARIADIC.items()),
    Operator("Mean", 1, mean, layout="any"),
)
