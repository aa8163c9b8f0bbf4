"""Reductions along axes, and Softmax, which needs them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import dimensions, grappler, kernels
from mlconvert.tensorflow.operators import Operator

Reduction = Callable[..., tf.Tensor]
_SUMMED = kernels.DOUBLES | kernels.INTEGERS  # half types are summed in float32


def _reduced(
    x: tf.Tensor, axes: tf.Tensor | None, keepdims: bool, noop: bool, reduction: Reduction, types: frozenset[tf.DType]
) -> tf.Tensor:
    """`axes` None or empty: all of them, or none with `noop`."""
    rank = x.shape.rank
    known = None if axes is None else kernels.known(axes)
    if axes is None or axes.shape.num_elements() == 0:
        along: Any = [] if noop else None
    elif known is not None:
        along = dimensions.plain_axes(known.reshape(-1), rank) if rank is not None else known.reshape(-1).tolist()
    else:
        along = tf.cast(kernels.flat(axes), tf.int32)
        if along.shape[0] is None and not noop:  # as long as it may be empty
            along = tf.cond(tf.size(along) == 0, lambda: tf.range(tf.rank(x)), lambda: along)
    answer = kernels.widened(types, lambda x: reduction(x, along, keepdims), x)
    if isinstance(along, tf.Tensor) and rank is not None:
        count = along.shape[0]
        if keepdims:
            answer = tf.ensure_shape(answer, [None] * rank)
        elif count is not None:
            answer = tf.ensure_shape(answer, [None] * (rank - count))
    return answer


def _by_attribute(reduction: Reduction, types: frozenset[tf.DType]) -> Callable[..., Any]:
    def lowered(data: tf.Tensor, *, axes: tuple[int, ...] | None = None, keepdims: int = 1) -> tf.Tensor:
        along = None if not axes else tf.constant(axes, tf.int64)
        return _reduced(data, along, bool(keepdims), False, reduction, types)

    return lowered


def _by_input(reduction: Reduction, types: frozenset[tf.DType]) -> Callable[..., Any]:
    def lowered(
        data: tf.Tensor, axes: tf.Tensor | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> tf.Tensor:
        return _reduced(data, axes, bool(keepdims), bool(noop_with_empty_axes), reduction, types)

    return lowered


def _largest(x: tf.Tensor, axes: Any, keepdims: bool) -> tf.Tensor:
    return tf.cast(tf.reduce_max(grappler.fenced(x), axes, keepdims), x.dtype)


def _smallest(x: tf.Tensor, axes: Any, keepdims: bool) -> tf.Tensor:
    return tf.cast(tf.reduce_min(grappler.fenced(x), axes, keepdims), x.dtype)


def _l1(x: tf.Tensor, axes: Any, keepdims: bool) -> tf.Tensor:
    return tf.reduce_sum(x if x.dtype in kernels.UNSIGNED else tf.abs(x), axes, keepdims)


def _l2(x: tf.Tensor, axes: Any, keepdims: bool) -> tf.Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(x), axes, keepdims))


def _sum_of_squares(x: tf.Tensor, axes: Any, keepdims: bool) -> tf.Tensor:
    return tf.reduce_sum(tf.square(x), axes, keepdims)


def _log_sum(x: tf.Tensor, axes: Any, keepdims: bool) -> tf.Tensor:
    return tf.math.log(tf.reduce_sum(x, axes, keepdims))


def _log_sum_exp(x: tf.Tensor, axes: Any, keepdims: bool) -> tf.Tensor:
    return tf.reduce_logsumexp(x, axes, keepdims)


def _in_rows(x: tf.Tensor, axis: int, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Up to opset 12 all axes from `axis` on are one."""
    lengths = dimensions.dims(x)
    axis = axis % len(lengths) if axis < 0 else axis
    rows = [dimensions.product(lengths[:axis]), dimensions.product(lengths[axis:])]
    return tf.reshape(function(tf.reshape(x, dimensions.vector(rows))), dimensions.vector(lengths))


def softmax_1(x: tf.Tensor, *, axis: int = 1) -> tf.Tensor:
    return _in_rows(x, axis, softmax)


def softmax(x: tf.Tensor, *, axis: int = -1) -> tf.Tensor:
    return kernels.widened(kernels.DOUBLES, lambda x: tf.nn.softmax(x, axis), x)


def log_softmax_1(x: tf.Tensor, *, axis: int = 1) -> tf.Tensor:
    return _in_rows(x, axis, log_softmax)


def log_softmax(x: tf.Tensor, *, axis: int = -1) -> tf.Tensor:
    return kernels.widened(kernels.DOUBLES, lambda x: tf.nn.log_softmax(x, axis), x)


# operator -> (function, types, the first opset that has axes as an input)
_REDUCTIONS: dict[str, tuple[Reduction, frozenset[tf.DType], int]] = {
    "ReduceSum": (tf.reduce_sum, _SUMMED, 13),
    "ReduceMean": (tf.reduce_mean, _SUMMED, 18),
    "ReduceProd": (tf.reduce_prod, _SUMMED, 18),
    "ReduceMax": (_largest, kernels.NUMBERS, 18),
    "ReduceMin": (_smallest, kernels.NUMBERS, 18),
    "ReduceL1": (_l1, _SUMMED, 18),
    "ReduceL2": (_l2, kernels.DOUBLES, 18),
    "ReduceSumSquare": (_sum_of_squares, _SUMMED, 18),
    "ReduceLogSum": (_log_sum, kernels.DOUBLES, 18),
    "ReduceLogSumExp": (_log_sum_exp, kernels.DOUBLES, 18),
}

OPERATORS: tuple[Operator, ...] = (
    *(
        Operator(name, 1, _by_attribute(reduction, types), until=since - 1, layout="axes")
        for name, (reduction, types, since) in _REDUCTIONS.items()
    ),
    *(
        Operator(name, since, _by_input(reduction, types), layout="axes")
        for name, (reduction, types, since) in _REDUCTIONS.items()
    ),
    Operator("Softmax", 1, softmax_1, until=12),
    Operator("Softmax", 13, softmax, layout="axis"),
    Operator("LogSoftmax", 1, log_softmax_1, until=12),
    Operator("LogSoftmax", 13, log_softmax, layout="axis"),
)
