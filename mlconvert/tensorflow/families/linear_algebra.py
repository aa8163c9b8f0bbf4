"""Products of matrices: MatMul, Gemm, Einsum, Det."""

from __future__ import annotations

import tensorflow as tf

from mlconvert.tensorflow import dimensions, kernels
from mlconvert.tensorflow.operators import Operator

_PRODUCTS = kernels.DOUBLES | {tf.int32, tf.int64}  # half types are summed in float32


def matmul(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """As numpy has it: a vector is a row on the left, a column on the right."""
    return kernels.widened(_PRODUCTS, product, a, b)


def product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """The same for types that have a kernel."""
    if a.shape.rank == 1 and b.shape.rank == 1:
        return tf.reduce_sum(a * b)
    if a.shape.rank == 1:
        return tf.squeeze(product(a[None, :], b), -2)
    if b.shape.rank == 1:
        return tf.squeeze(product(a, b[:, None]), -1)
    if b.shape.rank == 2 and (a.shape.rank or 0) > 2 and b.shape[0]:
        # One product of two matrices is faster than one for each matrix of a batch.
        *outer, inner = dimensions.dims(a)
        del inner
        flat = tf.matmul(tf.reshape(a, [-1, b.shape[0]]), b)
        return tf.reshape(flat, dimensions.vector([*outer, b.shape[1] or tf.shape(b, tf.int64)[1]]))
    return tf.matmul(a, b)


def gemm(
    a: tf.Tensor,
    b: tf.Tensor,
    c: tf.Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
    broadcast: int = 1,  # noqa: ARG001 - up to opset 6; today C broadcasts in any case
) -> tf.Tensor:
    def computed(a: tf.Tensor, b: tf.Tensor, c: tf.Tensor | None) -> tf.Tensor:
        y = _scaled(tf.matmul(a, b, transpose_a=bool(transA), transpose_b=bool(transB)), alpha)
        if c is None or beta == 0.0:
            return y
        c = _scaled(c, beta)
        if c.shape.rank == 2 and c.shape[0] == 1 and c.shape[1] is not None:
            c = tf.reshape(c, [c.shape[1]])
        if c.shape.rank == 1 and c.shape[0] is not None and c.shape[0] == y.shape[1] and c.dtype in kernels.FLOATS:
            return tf.nn.bias_add(y, c)  # which TensorFlow fuses into the product
        return y + c

    return kernels.widened(_PRODUCTS, computed, a, b, c)


def _scaled(x: tf.Tensor, factor: float) -> tf.Tensor:
    if factor == 1.0:
        return x
    if x.dtype.is_integer:
        return tf.cast(tf.cast(x, tf.float64) * factor, x.dtype)
    return x * factor


def einsum(*inputs: tf.Tensor, equation: str) -> tf.Tensor:
    return kernels.widened(_PRODUCTS, lambda *tensors: tf.einsum(equation.replace(" ", ""), *tensors), *inputs)


def determinant(x: tf.Tensor) -> tf.Tensor:
    return kernels.widened(kernels.DOUBLES, tf.linalg.det, x)


OPERATORS: tuple[Operator, ...] = (
    Operator("MatMul", 1, matmul),
    Operator("Gemm", 1, gemm),
    Operator("Einsum", 12, einsum),
    Operator("Det", 11, determinant),
)
