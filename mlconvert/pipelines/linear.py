"""Linear models: classifiers, regressors and detectors that have `coef_` and `intercept_`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.classes import both_classes, flat_if_one, inlier, label_by_score, shares
from mlconvert.pipelines.functions import clipped, sigmoid, softmax
from mlconvert.pipelines.graph import dense

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def weights_of(part: Any) -> np.ndarray:
    """`coef_` as an array [outputs, features]; after `sparsify()` it is a sparse matrix."""
    return np.atleast_2d(dense(part.coef_))


def linear_sums(build: Build, part: Any, given: Columns | Tensor) -> Tensor:
    """X @ coef_.T + intercept_: [N, outputs]."""
    total = build.numbers(given) @ weights_of(part).T
    intercept = dense(part.intercept_)
    return total + intercept if intercept.any() else total


def linear_classifier(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of linear_model/_base.py and the classes themselves."""
    scores = flat_if_one(linear_sums(build, part, given))
    if method == "decision_function":
        return scores
    if method == "predict":
        return label_by_score(build, part.classes_, scores)
    if method == "transform" and type(part).__name__ == "LinearDiscriminantAnalysis":
        return _discriminants(build, part, given)
    if method != "predict_proba":
        raise build.refused_method(method)
    if scores.width is not None and is_softmax(part):
        return softmax(scores)
    if getattr(part, "loss", "") == "modified_huber":
        likely = (clipped(scores, -1.0, 1.0) + 1.0) / 2.0
    else:
        likely = sigmoid(scores)
    return both_classes(likely) if scores.width is None else shares(likely)


def is_softmax(part: Any) -> bool:
    """Whether the probabilities of several classes are the softmax of their scores."""
    name = type(part).__name__
    if name == "LinearDiscriminantAnalysis":
        return True
    if not name.startswith("LogisticRegression"):
        return False
    how = part.get_params(deep=False).get("multi_class")  # scikit-learn 1.8 dropped it, and one-vs-rest with it
    return how is None or (how != "ovr" and part.solver != "liblinear")


def _discriminants(build: Build, part: Any, given: Columns) -> Tensor:
    x = build.numbers(given)
    if part.solver == "lsqr":
        raise build.refused_method("transform")
    if part.solver == "svd":
        x = x - dense(part.xbar_)
    return x @ dense(part.scalings_)[:, : part._max_components]


def linear_regressor(build: Build, part: Any, given: Columns) -> Tensor:
    """One value a row, [N], where the model was fitted on one axis of values."""
    total = linear_sums(build, part, given)
    return total.flat() if np.ndim(part.coef_) == 1 or type(part).__name__ == "SGDRegressor" else total


def generalized_linear(build: Build, part: Any, given: Columns) -> Tensor:
    """Of linear_model/_glm: the inverse of the loss's link."""
    total = linear_sums(build, part, given).flat()
    link = type(part._base_loss.link).__name__
    if link == "IdentityLink":
        return total
    if link == "LogLink":
        return total.apply("Exp")
    raise build.refused(f"its link {link} is not supported")


def pls(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of cross_decomposition/_pls.py: PLSRegression, PLSCanonical and CCA."""
    x = build.numbers(given) - dense(part._x_mean)
    if method == "transform":
        return (x / dense(part._x_std)) @ dense(part.x_rotations_)
    total = x @ weights_of(part).T + dense(part.intercept_)
    return total.flat() if part._predict_1d else total


def pls_svd(build: Build, part: Any, given: Columns) -> Tensor:
    return (build.numbers(given) - dense(part._x_mean)) / dense(part._x_std) @ dense(part.x_weights_)


def sgd_one_class(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    scores = (build.numbers(given) @ weights_of(part).T - dense(part.offset_)).flat()
    return scores if method == "decision_function" else inlier(scores, at_zero=True)
