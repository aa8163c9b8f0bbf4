"""Several classifiers or regressors side by side: one-vs-rest, one-vs-one, output codes, several outputs, chains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.classes import both_classes, label_by_probability
from mlconvert.pipelines.graph import dense

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def _score_of_second(build: Build, one: Any, given: Columns, step: str) -> Tensor:
    """Of multiclass.py, _predict_binary: [N, 1]."""
    from sklearn.base import is_regressor

    if is_regressor(one):
        return build.answer(one, "predict", given, step).column().cast(build.floats)
    if hasattr(one, "decision_function"):
        return build.answer(one, "decision_function", given, step).column().cast(build.floats)
    return build.answer(one, "predict_proba", given, step).columns([1]).cast(build.floats)


def _cut(one: Any) -> float:
    """Of multiclass.py, _threshold_for_binary_predict: scores above it mean the second class."""
    from sklearn.base import is_classifier

    return 0.0 if hasattr(one, "decision_function") and is_classifier(one) else 0.5


def one_vs_rest(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of multiclass.py, OneVsRestClassifier."""
    if part.multilabel_:
        raise build.refused("it gives several labels a row")
    if method == "predict_proba":
        likely = [
            build.answer(one, method, given, str(k)).columns([1]).cast(build.floats)
            for k, one in enumerate(part.estimators_)
        ]
        if len(likely) == 1:
            return both_classes(likely[0])
        together = build.graph.concat(likely)
        total = together.reduced("ReduceSum")
        return together / build.graph.where(total.equals(0.0), 1.0, total)
    scores = [_score_of_second(build, one, given, str(k)) for k, one in enumerate(part.estimators_)]
    if len(scores) == 1:
        if method == "decision_function":
            return scores[0].flat()
        return build.labels(part.classes_, (scores[0] > _cut(part.estimators_[0])).cast("int64").flat())
    together = build.graph.concat(scores)
    return together if method == "decision_function" else label_by_probability(build, part.classes_, together)


def one_vs_one(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of multiclass.py, OneVsOneClassifier."""
    seen = [given if which is None else build.take(given, which) for which in _pairwise(part)]
    votes, scores = [], []
    for k, (one, own) in enumerate(zip(part.estimators_, seen, strict=True)):
        votes.append(build.answer(one, "predict", own, str(k)).column())
        scores.append(_score_of_second(build, one, own, str(k)))
    voted = build.graph.concat(votes).cast(build.floats)
    confidence = ovr_scores(voted, build.graph.concat(scores), len(part.classes_))
    if method == "decision_function":
        return confidence.columns([1]).flat() if len(part.classes_) == 2 else confidence
    if len(part.classes_) == 2:
        second = confidence.columns([1]) > _cut(part.estimators_[0])
        return build.labels(part.classes_, second.cast("int64").flat())
    return label_by_probability(build, part.classes_, confidence)


def _pairwise(part: Any) -> list[Any]:
    return [None] * len(part.estimators_) if part.pairwise_indices_ is None else list(part.pairwise_indices_)


def ovr_scores(votes: Tensor, scores: Tensor, classes: int) -> Tensor:
    """Of utils/multiclass.py, _ovr_decision_function: votes and scores of pairs of classes as a score of each class.

    `votes` [N, pairs] are 1 for the second class of a pair and 0 for the first.
    """
    first, second = pair_sides(classes)
    counted = votes @ second + (1.0 - votes) @ first
    total = scores @ dense(second - first)
    return counted + total / ((total.apply("Abs") + 1.0) * 3.0)


def pair_sides(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Which class is the first, and which the second, of each pair: two float64 [pairs, classes] of 0 and 1."""
    one, other = np.triu_indices(classes, 1)
    every = np.eye(classes)
    return every[one], every[other]


def constant_predictor(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of multiclass.py: what stands for a class that all rows, or none, belonged to."""
    value = float(part.y_[0])
    answer = build.graph.rows_like(value, given[0], build.floats)
    return both_classes(answer) if method == "predict_proba" else answer.flat()


def output_code(build: Build, part: Any, given: Columns) -> Tensor:
    """Of multiclass.py, OutputCodeClassifier: the class whose code is nearest."""
    scores = build.graph.concat([_score_of_second(build, one, given, str(k)) for k, one in enumerate(part.estimators_)])
    codes = np.asarray(part.code_book_, np.float64)
    distances = build.graph.concat([_squares(scores - code) for code in codes])
    return build.labels(part.classes_, distances.argmin())


def _squares(difference: Tensor) -> Tensor:
    return (difference * difference).reduced("ReduceSum")


def multi_output_regressor(build: Build, part: Any, given: Columns) -> Tensor:
    each = [build.answer(one, "predict", given, str(k)).column() for k, one in enumerate(part.estimators_)]
    return build.numbers(tuple(each))


def regressor_chain(build: Build, part: Any, given: Columns) -> Tensor:
    """Of multioutput.py: each estimator is also given the answers of those before it."""
    x = build.numbers(given)
    answers: list[Tensor] = []
    for k, one in enumerate(part.estimators_):
        seen = build.graph.concat([x, *answers])
        answers.append(build.answer(one, "predict", seen, str(k)).column().cast(build.floats))
    return build.graph.concat(answers).columns(np.argsort(part.order_))
