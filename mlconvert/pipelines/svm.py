"""Support vector machines in double: ONNX Runtime's own operators for them compute in float32."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.classes import inlier
from mlconvert.pipelines.coupling import coupled
from mlconvert.pipelines.functions import clipped, sigmoid
from mlconvert.pipelines.graph import dense
from mlconvert.pipelines.kernels import kernel
from mlconvert.pipelines.multiclass import ovr_scores, pair_sides

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def _similarities(build: Build, part: Any, given: Columns) -> Tensor:
    """The kernel between rows and support vectors: [N, S]."""
    if callable(part.kernel) or part.kernel == "precomputed":
        raise build.refused("its kernel is not one of linear, poly, rbf and sigmoid")
    vectors = dense(part.support_vectors_)
    settings = {"gamma": part._gamma, "coef0": part.coef0, "degree": part.degree}
    return kernel(build, part.kernel, build.numbers(given), vectors, settings)


def svm_regressor(build: Build, part: Any, given: Columns) -> Tensor:
    """SVR and NuSVR."""
    return (_similarities(build, part, given) @ dense(part._dual_coef_).T + dense(part._intercept_)).flat()


def one_class_svm(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    scores = (_similarities(build, part, given) @ dense(part._dual_coef_).T + dense(part._intercept_)).flat()
    return scores if method == "decision_function" else inlier(scores, at_zero=False)


def svm_classifier(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """SVC and NuSVC: svm/_base.py, and libsvm's svm_predict_values.

    There is a score for each pair of classes. libsvm's is positive for the first of the pair.
    """
    classes = len(part.classes_)
    pairs = _similarities(build, part, given) @ _pair_weights(part) + dense(part._intercept_)
    if method == "predict_proba":
        likely = sigmoid(-(pairs * dense(part._probA) + dense(part._probB)))
        return coupled(build, clipped(likely, 1e-7, 1 - 1e-7), classes)
    if classes == 2:
        if method == "decision_function":
            return -pairs.flat()
        return build.labels(part.classes_, (pairs <= 0.0).cast("int64").flat())
    if method == "decision_function" and part.decision_function_shape == "ovo":
        return pairs
    if method == "decision_function" or part.break_ties:
        scores = ovr_scores((pairs < 0.0).cast(build.floats), -pairs, classes)
        return scores if method == "decision_function" else build.labels(part.classes_, scores.argmax())
    votes = (pairs <= 0.0).cast(build.floats)
    first, second = pair_sides(classes)
    return build.labels(part.classes_, (votes @ second + (1.0 - votes) @ first).argmax())


def _pair_weights(part: Any) -> np.ndarray:
    """[S, pairs]: for the pair (i, j), the vectors of class i with row j - 1 of the dual, those of j with row i."""
    dual, ends = dense(part._dual_coef_), np.cumsum(part._n_support)
    starts = ends - part._n_support
    pairs = list(combinations(range(len(part._n_support)), 2))
    weights = np.zeros((dual.shape[1], len(pairs)))
    for k, (one, other) in enumerate(pairs):
        weights[starts[one] : ends[one], k] = dual[other - 1, starts[one] : ends[one]]
        weights[starts[other] : ends[other], k] = dual[one, starts[other] : ends[other]]
    return weights
