"""Ensembles of other parts: voting, stacking, bagging and boosting of what is no tree."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.classes import label_by_probability, label_by_score
from mlconvert.pipelines.functions import softmax

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def _named(part: Any) -> list[tuple[str, Any]]:
    """The fitted estimators of a voting or stacking part, with their names."""
    names = [name for name, estimator in part.estimators if not isinstance(estimator, str)]
    return list(zip(names, part.estimators_, strict=True))


def _sum(values: list[Tensor]) -> Tensor:
    return reduce(lambda total, value: total + value, values)


def _average(values: list[Tensor], weights: np.ndarray | None) -> Tensor:
    """numpy.average: the weighted sum over the sum of the weights."""
    if weights is None:
        return _sum(values) / float(len(values))
    weighted = [value * float(weight) for value, weight in zip(values, weights, strict=True)]
    return _sum(weighted) / float(np.sum(weights))


def _weights(part: Any) -> np.ndarray | None:
    found = part._weights_not_none
    return None if found is None else np.asarray(found, np.float64)


def voting_classifier(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of ensemble/_voting.py. The estimators were fitted on the numbers of the classes."""
    if part.voting == "soft":
        each = [build.answer(one, "predict_proba", given, name).cast(build.floats) for name, one in _named(part)]
        if method == "transform":
            if not part.flatten_transform:
                raise build.refused("flatten_transform=False gives three axes", "fit it with flatten_transform=True")
            return build.graph.concat(each)
        mean = _average(each, _weights(part))
        return mean if method == "predict_proba" else label_by_probability(build, part.classes_, mean)
    votes = [build.answer(one, "predict", given, name).column() for name, one in _named(part)]
    if method == "transform":
        return build.graph.concat(votes)
    if method != "predict":
        raise build.refused_method(method)
    numbers = np.arange(len(part.classes_))
    weights = _weights(part)
    counts = [vote.equals(numbers).cast(build.floats) for vote in votes]
    if weights is not None:
        counts = [count * float(weight) for count, weight in zip(counts, weights, strict=True)]
    return label_by_probability(build, part.classes_, _sum(counts))


def voting_regressor(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    each = [build.answer(one, "predict", given, name).cast(build.floats) for name, one in _named(part)]
    if method == "transform":
        return build.graph.concat([value.column() for value in each])
    return _average(each, _weights(part))


def stacking(build: Build, part: Any, method: str, given: Columns) -> Tensor | Columns:
    """Of ensemble/_stacking.py: the answers of the estimators, and what was given, are what the last one is given."""
    found: Columns = ()
    for (name, one), asked in zip(_named(part), part.stack_method_, strict=True):
        answer = build.answer(one, asked, given, name).column()
        if asked == "predict_proba" and len(part.classes_) == 2:
            answer = answer.columns([1])
        found += (answer,)
    if part.passthrough:
        found += given
    if method == "transform":
        return found
    answer = build.answer(part.final_estimator_, method, found, "final_estimator")
    if method == "predict" and hasattr(part, "classes_"):
        return build.labels(part._label_encoder.classes_, answer)
    return answer


def bagging_classifier(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of ensemble/_bagging.py: the mean of the probabilities, or of the votes of those that have none."""
    if method == "decision_function":
        scores = [build.answer(one, method, build.take(given, which), str(k)) for k, (one, which) in _bags(part)]
        return _average(scores, None)
    classes = np.arange(len(part.classes_))
    each = []
    for k, (one, which) in _bags(part):
        seen = build.take(given, which)
        if not hasattr(one, "predict_proba"):
            votes = build.answer(one, "predict", seen, str(k)).column()
            each.append(votes.equals(classes).cast(build.floats))
            continue
        likely = build.answer(one, "predict_proba", seen, str(k)).cast(build.floats)
        if len(one.classes_) < len(classes):  # its sample lacked a class; its classes are numbers of ours
            likely = likely @ (np.asarray(one.classes_)[:, None] == classes).astype(np.float64)
        each.append(likely)
    mean = _average(each, None)
    return mean if method == "predict_proba" else label_by_probability(build, part.classes_, mean)


def bagging_regressor(build: Build, part: Any, given: Columns) -> Tensor:
    answers = [build.answer(one, "predict", build.take(given, which), str(k)) for k, (one, which) in _bags(part)]
    return _average([answer.cast(build.floats) for answer in answers], None)


def _bags(part: Any) -> list[tuple[int, tuple[Any, Any]]]:
    return list(enumerate(zip(part.estimators_, part.estimators_features_, strict=True)))


def ada_boost_classifier(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of ensemble/_weight_boosting.py: a weight for the class that an estimator says, minus shares for others."""
    from mlconvert.readers.estimators import label_values

    classes = part.classes_
    if len(classes) < 2:
        raise build.refused("it was fitted on one class")
    weights = np.asarray(part.estimator_weights_, np.float64)[: len(part.estimators_)]
    values = label_values(classes)
    votes = []
    for k, (one, weight) in enumerate(zip(part.estimators_, weights, strict=True)):
        label = build.answer(one, "predict", given, str(k)).column()
        says = label.equals(values) if values.dtype.kind == "i" else _equal_texts(build, label, values)
        votes.append(build.graph.where(says, float(weight), -1 / (len(classes) - 1) * float(weight)).cast(build.floats))
    total = _sum(votes) / float(np.sum(part.estimator_weights_))
    if len(classes) == 2:
        total = (total.columns([1]) - total.columns([0])).flat()
    if method == "decision_function":
        return total
    if method == "predict":
        return label_by_score(build, classes, total)
    if method != "predict_proba":
        raise build.refused_method(method)
    if len(classes) == 2:
        column = total.column()
        return softmax(build.graph.concat([-column, column]) / 2.0)
    return softmax(total / float(len(classes) - 1))


def _equal_texts(build: Build, label: Tensor, values: np.ndarray) -> Tensor:
    """Which of the values a label is: [N, K]. (Equal takes strings only since opset 19.)"""
    number = build.graph.op(
        "LabelEncoder",
        label,
        dtype="int64",
        domain="ai.onnx.ml",
        keys_strings=[str(value) for value in values],
        values_int64s=list(range(len(values))),
    )
    return number.equals(np.arange(len(values)))


def ada_boost_regressor(build: Build, part: Any, given: Columns) -> Tensor:
    """Of ensemble/_weight_boosting.py: the weighted median, the first answer at which half of the weight is reached."""
    graph = build.graph
    each = [build.answer(one, "predict", given, str(k)).column() for k, one in enumerate(part.estimators_)]
    answers = build.numbers(tuple(each))
    weights = np.asarray(part.estimator_weights_, np.float64)[: len(each)]
    rising, order = graph.top_k(answers, len(each), largest=False)
    weight = graph.op("Gather", graph.constant(weights, build.floats), order, axis=0, width=len(each))
    reached = graph.op("CumSum", weight, np.array(1))
    half = (reached.columns([len(each) - 1]) * 0.5) <= reached
    median = half.cast("int64").argmax().column()
    return graph.op("GatherElements", rising, median, axis=1, width=1).flat()
