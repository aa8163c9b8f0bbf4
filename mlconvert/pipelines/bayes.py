"""Naive Bayes and mixtures of Gaussians: a log-likelihood for each class or component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.functions import softmax
from mlconvert.pipelines.graph import dense
from mlconvert.pipelines.search import look_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlconvert.pipelines.build import Build, Columns, Writer
    from mlconvert.pipelines.graph import Tensor


def _classifier(likelihood: Callable[[Any, Tensor], Tensor]) -> Writer:
    def write(build: Build, part: Any, method: str, given: Columns) -> Tensor:
        logs = likelihood(part, build.numbers(given))
        if method == "predict":
            return build.labels(part.classes_, logs.argmax())
        if method != "predict_proba":
            raise build.refused_method(method)
        return softmax(logs)

    return write


def _gaussian(part: Any, x: Tensor) -> Tensor:
    logs = []
    for mean, variance, prior in zip(part.theta_, part.var_, part.class_prior_, strict=True):
        off = x - mean
        constant = np.log(prior) - 0.5 * np.sum(np.log(2.0 * np.pi * variance))
        logs.append((off * off / variance).reduced("ReduceSum") * -0.5 + float(constant))
    return x.graph.concat(logs)


def _multinomial(part: Any, x: Tensor) -> Tensor:
    return x @ dense(part.feature_log_prob_).T + dense(part.class_log_prior_)


def _complement(part: Any, x: Tensor) -> Tensor:
    logs = x @ dense(part.feature_log_prob_).T
    return logs + dense(part.class_log_prior_) if len(part.classes_) == 1 else logs


def _bernoulli(part: Any, x: Tensor) -> Tensor:
    if part.binarize is not None:
        x = (x > x.graph.floor(part.binarize)).cast(x.dtype)
    present = dense(part.feature_log_prob_)
    absent = np.log(1 - np.exp(present))
    return x @ dense(present - absent).T + dense(part.class_log_prior_ + absent.sum(axis=1))


def _categorical(part: Any, x: Tensor) -> Tensor:
    """A value that is no category's number is outside the tables: an error, as in the library."""
    classes = len(part.classes_)
    codes = x.cast("int64")
    total: Tensor | None = None
    for feature, tables in enumerate(part.feature_log_prob_):
        code = codes.columns([feature])
        checked = x.graph.gather(np.arange(tables.shape[1]), code)
        logs = look_up(list(tables), checked.columns([0] * classes))
        total = logs if total is None else total + logs
    assert total is not None
    return total + dense(part.class_log_prior_)


gaussian_nb = _classifier(_gaussian)
multinomial_nb = _classifier(_multinomial)
complement_nb = _classifier(_complement)
bernoulli_nb = _classifier(_bernoulli)
categorical_nb = _classifier(_categorical)


def gaussian_mixture(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of mixture/_gaussian_mixture.py and _bayesian_mixture.py; constants are the library's own."""
    x = build.numbers(given)
    features = x.width or 1
    logs = []
    for mean, precision in zip(part.means_, _precisions(part, features), strict=True):
        off = (x - mean) @ precision if precision.ndim == 2 else (x - mean) * precision
        logs.append((off * off).reduced("ReduceSum") * -0.5)
    # What does not depend on the row is the library's own answer for a component's mean, where the rest is zero.
    constants = np.diagonal(part._estimate_weighted_log_prob(np.asarray(part.means_, np.float64)))
    scores = build.graph.concat(logs) + constants
    if method == "predict":
        return scores.argmax()
    return softmax(scores)


def _precisions(part: Any, features: int) -> list[np.ndarray]:
    """What differences from a mean are multiplied with, for each component: a matrix or a row."""
    count, kept = len(part.means_), np.asarray(part.precisions_cholesky_)
    if part.covariance_type == "tied":
        return [kept] * count
    if part.covariance_type == "spherical":
        return [np.full(features, value) for value in kept]
    return list(kept)
