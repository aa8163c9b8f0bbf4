"""What classifiers have in common: a class from scores, and probabilities from what stands for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build
    from mlconvert.pipelines.graph import Tensor


def label_by_score(build: Build, classes: np.ndarray, scores: Tensor) -> Tensor:
    """Of a decision function: the second class where the one score [N] is positive, or the first of the largest."""
    index = (scores > 0.0).cast("int64") if scores.width is None else scores.argmax()
    return build.labels(classes, index)


def label_by_probability(build: Build, classes: np.ndarray, probabilities: Tensor) -> Tensor:
    return build.labels(classes, probabilities.argmax())


def both_classes(probability: Tensor) -> Tensor:
    """The probability of the second class, [N] or [N, 1], as those of both: [N, 2]."""
    second = probability.column()
    return second.graph.concat([1.0 - second, second])


def shares(values: Tensor) -> Tensor:
    """Rows over their sums; where that is zero, all classes alike."""
    total = values.reduced("ReduceSum")
    even = 1.0 / (values.width or 1)
    safe = values.graph.where(total.equals(0.0), 1.0, total)
    return values.graph.where(total.equals(0.0), even, values / safe)


def flat_if_one(scores: Tensor) -> Tensor:
    """Scores [N, 1] as [N], which is how scikit-learn gives those of two classes."""
    return scores.flat() if scores.width == 1 else scores


def inlier(scores: Tensor, *, at_zero: bool) -> Tensor:
    """1 for a score above zero (`at_zero`: or equal to it), else -1: int64 [N]."""
    inside = (scores >= 0.0) if at_zero else (scores > 0.0)
    return inside.cast("int64") * 2 - 1
