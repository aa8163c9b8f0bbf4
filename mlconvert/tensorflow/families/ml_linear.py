"""Linear models and support vector machines of ai.onnx.ml, with the answers that ONNX Runtime gives.

Where ONNX leaves open what a lone score becomes, or ONNX Runtime leaves a post-transform out, its answer is given too.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow import grappler
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator
from mlconvert.tensorflow.scores import coupled, known_transform, transformed

ML = "ai.onnx.ml"
_CERTAIN = 1e-7
"""As near to 0 and 1 as a probability of one class against another comes."""


def _rows(x: tf.Tensor, node: Node) -> tf.Tensor:
    """Rows of float32, or of float64 where they are that; a vector is one row."""
    if x.shape.rank not in (1, 2):
        raise node.refuse(f"gets a tensor of shape {x.shape}: it takes [N, C] and [C]")
    rows = x if x.shape.rank == 2 else x[None]
    return rows if rows.dtype == tf.float64 else tf.cast(rows, tf.float32)


def _matrix(values: tuple[float, ...], count: int, what: str, node: Node) -> np.ndarray:
    """Attributes as [count, …] of float32, which is what they are stored in."""
    if not values or count < 1 or len(values) % count:
        raise node.refuse(f"has {len(values)} {what}, which are not {count} rows of one length")
    return np.array(values, np.float32).reshape(count, -1)


def _weight(node: Node, key: str, array: np.ndarray, kind: tf.DType) -> tf.Tensor:
    return node.weight(key, np.ascontiguousarray(array, kind.as_numpy_dtype))


def _affine(rows: tf.Tensor, matrix: np.ndarray, offset: tuple[float, ...] | None, node: Node) -> tf.Tensor:
    made = tf.matmul(rows, _weight(node, "coefficients", matrix.T, rows.dtype))
    return made if offset is None else made + tf.constant(offset, rows.dtype)


# --- linear models ---


def linear_regressor(
    x: tf.Tensor,
    *,
    coefficients: tuple[float, ...] = (),
    intercepts: tuple[float, ...] = (),
    targets: int = 1,
    post_transform: str = "NONE",
    node: Node,
) -> tf.Tensor:
    """Intercepts count only where there is one a target, and of the transforms only PROBIT changes a lone target."""
    known_transform(post_transform, node)
    matrix = _matrix(coefficients, targets, "coefficients", node)
    made = _affine(_rows(x, node), matrix, intercepts if len(intercepts) == targets else None, node)
    if targets > 1 or post_transform == "PROBIT":
        made = transformed(made, post_transform)
    return tf.cast(made, tf.float32)


def linear_classifier(
    x: tf.Tensor,
    *,
    coefficients: tuple[float, ...] = (),
    intercepts: tuple[float, ...] = (),
    classlabels_ints: tuple[int, ...] = (),
    classlabels_strings: tuple[str, ...] = (),
    multi_class: int = 0,  # noqa: ARG001  says how it was trained
    post_transform: str = "NONE",
    node: Node,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The class of the highest score; with one score, the second of two classes where that is positive."""
    known_transform(post_transform, node)
    if not intercepts:
        raise node.refuse("has no intercepts, which say how many scores it gives", "give it zeros")
    count = len(intercepts)
    scores = _affine(_rows(x, node), _matrix(coefficients, count, "coefficients", node), intercepts, node)
    labels = _labels(classlabels_ints, classlabels_strings)
    if count > 1:
        if len(labels) < count:
            raise node.refuse(f"has {len(labels)} labels for {count} scores")
        answer = transformed(scores, post_transform)
        return tf.gather(_constant(labels), tf.argmax(grappler.fenced(scores), axis=1)), tf.cast(answer, tf.float32)
    if len(labels) != 2:
        raise node.refuse(f"has one score and {len(labels)} labels, not two")
    label = tf.gather(_constant(labels), tf.cast(scores[:, 0] > 0, tf.int32))
    return label, _both(tf.cast(scores, tf.float32), post_transform, node)


def _labels(whole: tuple[int, ...], strings: tuple[str, ...]) -> np.ndarray:
    return np.array([one.encode() for one in strings], object) if strings else np.array(whole, np.int64)


def _constant(labels: np.ndarray) -> tf.Tensor:
    return tf.constant(labels.tolist(), tf.string if labels.dtype == object else tf.int64)


def _both(score: tf.Tensor, post_transform: str, node: Node) -> tf.Tensor:
    """The scores of two classes from that of the second, [N, 1]: it is taken for a probability, or made one."""
    if post_transform == "PROBIT":
        raise node.refuse("has two classes, one score and post_transform PROBIT, which give one column")
    if post_transform == "LOGISTIC":
        return tf.sigmoid(tf.concat([-score, score], axis=1))
    return tf.concat([1 - score, score], axis=1)


# --- support vector machines ---


@dataclass(frozen=True)
class _Kernel:
    """What is made of a row and a support vector. Computed in double: distances and powers lose many digits."""

    kind: str
    gamma: float = 0.0
    offset: float = 0.0
    degree: float = 0.0

    def of(self, rows: tf.Tensor, vectors: np.ndarray, node: Node) -> tf.Tensor:
        """[N, vectors]."""
        products = tf.matmul(rows, _weight(node, "support_vectors", vectors.T, rows.dtype))
        if self.kind == "LINEAR":
            return products
        if self.kind == "RBF":
            lengths = tf.reduce_sum(rows * rows, axis=1, keepdims=True)
            own = _weight(node, "squared_lengths", np.square(vectors.astype(np.float64)).sum(axis=1), rows.dtype)
            apart = tf.where(tf.math.is_inf(lengths), lengths, tf.maximum(lengths + own - 2 * products, 0))
            return tf.exp(-self.gamma * apart)
        shifted = self.gamma * products + self.offset
        return tf.tanh(shifted) if self.kind == "SIGMOID" else tf.pow(shifted, tf.cast(self.degree, shifted.dtype))


def _kernel(kernel_type: str, kernel_params: tuple[float, ...], node: Node) -> _Kernel:
    if kernel_type not in ("LINEAR", "POLY", "RBF", "SIGMOID"):
        raise node.refuse(f"has kernel_type={kernel_type!r}", "known: LINEAR, POLY, RBF and SIGMOID")
    if len(kernel_params) not in (0, 3):
        raise node.refuse(f"has {len(kernel_params)} kernel_params, not gamma, coef0 and degree")
    return _Kernel(kernel_type, *kernel_params)


def svm_regressor(
    x: tf.Tensor,
    *,
    coefficients: tuple[float, ...] = (),
    kernel_params: tuple[float, ...] = (),
    kernel_type: str = "LINEAR",
    n_supports: int = 0,
    one_class: int = 0,
    post_transform: str = "NONE",
    rho: tuple[float, ...] = (),
    support_vectors: tuple[float, ...] = (),
    node: Node,
) -> tf.Tensor:
    """Without support vectors, the coefficients are those of the columns."""
    if post_transform != "NONE":
        raise node.refuse(f"has post_transform {post_transform}, which ONNX Runtime does not do here")
    if not rho:
        raise node.refuse("has no rho")
    rows = tf.cast(_rows(x, node), tf.float64)
    if n_supports > 0:
        vectors = _matrix(support_vectors, n_supports, "numbers of support vectors", node)
        rows = _kernel(kernel_type, kernel_params, node).of(rows, vectors, node)
        if len(coefficients) != n_supports:
            raise node.refuse(f"has {len(coefficients)} coefficients for {n_supports} support vectors")
    made = _affine(rows, _matrix(coefficients, 1, "coefficients", node), rho[:1], node)
    return tf.cast(tf.where(made > 0, 1.0, -1.0) if one_class else made, tf.float32)


def svm_classifier(
    x: tf.Tensor,
    *,
    classlabels_ints: tuple[int, ...] = (),
    classlabels_strings: tuple[str, ...] = (),
    coefficients: tuple[float, ...] = (),
    kernel_params: tuple[float, ...] = (),
    kernel_type: str = "LINEAR",
    post_transform: str = "NONE",
    prob_a: tuple[float, ...] = (),
    prob_b: tuple[float, ...] = (),
    rho: tuple[float, ...] = (),
    support_vectors: tuple[float, ...] = (),
    vectors_per_class: tuple[int, ...] = (),
    node: Node,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Each class is tried against each: the class of most wins, and a score a pair (of two classes, one for either),
    or with `prob_a` and `prob_b` a probability a class. Without support vectors, a linear score a class.
    """
    known_transform(post_transform, node)
    labels = _labels(classlabels_ints, classlabels_strings)
    if len(labels) < 2:
        raise node.refuse("has fewer than two classes")
    kernel = _kernel(kernel_type, kernel_params, node)
    rows = tf.cast(_rows(x, node), tf.float64)
    if not sum(vectors_per_class):
        if prob_a:
            raise node.refuse("has probabilities and no support vectors")
        index, scores = _linear_classes(rows, coefficients, rho, len(labels), node)
    else:
        pairs = list(itertools.combinations(range(len(labels)), 2))
        weights = _pair_weights(coefficients, vectors_per_class, pairs, len(labels), node)
        if len(rho) < len(pairs):
            raise node.refuse(f"has {len(rho)} rho for {len(pairs)} pairs of classes")
        vectors = _matrix(support_vectors, weights.shape[1], "numbers of support vectors", node)
        scores = _affine(kernel.of(rows, vectors, node), weights, rho[: len(pairs)], node)
        index = _most_wins(scores, pairs, len(labels))
        if prob_a or prob_b:
            if min(len(prob_a), len(prob_b)) < len(pairs):
                raise node.refuse(f"has {len(prob_a)} prob_a and {len(prob_b)} prob_b for {len(pairs)} pairs")
            scores = _probabilities(scores, prob_a[: len(pairs)], prob_b[: len(pairs)], pairs, len(labels))
    label, scores = tf.gather(_constant(labels), index), tf.cast(scores, tf.float32)
    if scores.shape[1] > 1:
        return label, transformed(scores, post_transform)
    if post_transform == "NONE":
        return label, tf.concat([-scores, scores], axis=1)
    return label, _both(scores, post_transform, node)


def _linear_classes(
    rows: tf.Tensor, coefficients: tuple[float, ...], rho: tuple[float, ...], classes: int, node: Node
) -> tuple[tf.Tensor, tf.Tensor]:
    if not rho:
        raise node.refuse("has no rho")
    scores = _affine(rows, _matrix(coefficients, classes, "coefficients", node), rho[:1], node)
    index = tf.argmax(grappler.fenced(scores), axis=1, output_type=tf.int32)
    if classes == 2:  # the second class wins where either score is high
        best = tf.reduce_max(grappler.fenced(scores), axis=1)
        high = best >= 0.5 if min(coefficients) >= 0 else best > 0
        index = tf.where(high, tf.ones_like(index), index)
    return index, scores


def _pair_weights(
    coefficients: tuple[float, ...],
    vectors_per_class: tuple[int, ...],
    pairs: list[tuple[int, int]],
    classes: int,
    node: Node,
) -> np.ndarray:
    """[pairs, vectors]: a vector of class i has a coefficient against each other class, in the order of those."""
    if len(vectors_per_class) != classes:
        raise node.refuse(f"has vectors_per_class of {len(vectors_per_class)} classes, and {classes} labels")
    ends = np.cumsum(vectors_per_class)
    table = _matrix(coefficients[: (classes - 1) * int(ends[-1])], classes - 1, "coefficients", node)
    if table.shape[1] != ends[-1]:
        raise node.refuse(f"has {len(coefficients)} coefficients for {ends[-1]} support vectors of {classes} classes")
    made = np.zeros((len(pairs), table.shape[1]), np.float32)
    of_class = [slice(end - count, end) for end, count in zip(ends, vectors_per_class, strict=True)]
    for row, (first, second) in zip(made, pairs, strict=True):
        row[of_class[first]] = table[second - 1, of_class[first]]
        row[of_class[second]] = table[first, of_class[second]]
    return made


def _most_wins(scores: tf.Tensor, pairs: list[tuple[int, int]], classes: int) -> tf.Tensor:
    first, second = (np.eye(classes, dtype=np.float32)[list(side)] for side in zip(*pairs, strict=True))
    won = tf.cast(scores > 0, tf.float32)
    wins = tf.matmul(won, first) + tf.matmul(1 - won, second)
    return tf.argmax(grappler.fenced(wins), axis=1, output_type=tf.int32)


def _probabilities(
    scores: tf.Tensor, slope: tuple[float, ...], offset: tuple[float, ...], pairs: list[tuple[int, int]], classes: int
) -> tf.Tensor:
    """Platt's sigmoid of each pair's score, and what that tells of all classes together."""
    against = tf.sigmoid(-(scores * tf.constant(slope, scores.dtype) + tf.constant(offset, scores.dtype)))
    against = tf.clip_by_value(against, _CERTAIN, 1 - _CERTAIN)
    number = {pair: place for place, pair in enumerate(pairs)}
    columns: list[Any] = []
    for one, other in itertools.product(range(classes), repeat=2):
        if one == other:
            columns.append(tf.zeros_like(against[:, 0]))
        elif one < other:
            columns.append(against[:, number[one, other]])
        else:
            columns.append(1 - against[:, number[other, one]])
    return coupled(tf.reshape(tf.stack(columns, axis=1), [-1, classes, classes]))


OPERATORS: tuple[Operator, ...] = (
    Operator("LinearClassifier", 1, linear_classifier, domain=ML, note="not without intercepts"),
    Operator("LinearRegressor", 1, linear_regressor, domain=ML),
    Operator("SVMClassifier", 1, svm_classifier, domain=ML, note="not of a single class"),
    Operator("SVMRegressor", 1, svm_regressor, domain=ML, note="post_transform NONE, as in ONNX Runtime"),
)
