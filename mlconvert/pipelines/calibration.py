"""Calibrated classifiers, and classifiers with a threshold of their own."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.classes import both_classes, label_by_probability, shares
from mlconvert.pipelines.functions import sigmoid, softmax

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def calibrated_classifier(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of calibration.py, CalibratedClassifierCV: the mean over its calibrated classifiers."""
    each = [_calibrated(build, one, given, str(k)) for k, one in enumerate(part.calibrated_classifiers_)]
    mean = reduce(lambda total, value: total + value, each) / float(len(each))
    return mean if method == "predict_proba" else label_by_probability(build, part.classes_, mean)


def _calibrated(build: Build, one: Any, given: Columns, step: str) -> Tensor:
    """Of calibration.py, _CalibratedClassifier.predict_proba."""
    asked = "decision_function" if hasattr(one.estimator, "decision_function") else "predict_proba"
    raw = build.answer(one.estimator, asked, given, f"{step} > estimator")
    raw = raw.column()
    if asked == "predict_proba" and len(one.classes) == 2:
        raw = raw.columns([1])
    if one.method == "temperature":
        return _at_temperature(build, one, raw, asked)
    if raw.dtype != build.floats and one.method == "sigmoid":
        raw = raw.cast(build.floats)
    places = np.searchsorted(one.classes, one.estimator.classes_)
    columns: list[Tensor | None] = [None] * len(one.classes)
    for k, calibrator in enumerate(one.calibrators):
        with build.at(f"calibrators > {k}"):
            value = _through(build, calibrator, raw.columns([k]))
        columns[places[k] + (len(one.classes) == 2)] = value
    if len(one.classes) == 2:
        likely = both_classes(columns[1]) if columns[1] is not None else None
    else:
        zero = raw.columns([0]).cast(build.floats) * 0.0  # of a class that the estimator did not meet
        likely = shares(build.graph.concat([zero if column is None else column for column in columns]))
    assert likely is not None
    return _at_most_one(likely)


def _through(build: Build, calibrator: Any, raw: Tensor) -> Tensor:
    """A calibrator's answer: [N, 1]."""
    if type(calibrator).__name__ == "IsotonicRegression":
        return build.answer(calibrator, "predict", raw).column()
    if type(calibrator).__name__ != "_SigmoidCalibration":
        raise build.refused(f"a calibrator of the type {type(calibrator).__name__} is not supported")
    return sigmoid(-(raw * float(calibrator.a_) + float(calibrator.b_)))


def _at_temperature(build: Build, one: Any, raw: Tensor, asked: str) -> Tensor:
    """Of calibration.py, _TemperatureScaling and _convert_to_logits."""
    raw = raw.cast(build.floats)
    if asked == "predict_proba":
        logits = ((both_classes(raw) if raw.width == 1 else raw) + 1e-12).apply("Log")
    else:
        logits = build.graph.concat([-raw, raw]) if raw.width == 1 else raw
    return _at_most_one(softmax(logits * float(one.calibrators[0].beta_)))


def _at_most_one(likely: Tensor) -> Tensor:
    over = (likely > 1.0) & (likely <= 1.0 + 1e-5)
    return likely.graph.where(over, 1.0, likely)


def threshold_classifier(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of model_selection/_classification_threshold.py: the positive class from the threshold on."""
    estimator = getattr(part, "estimator_", part.estimator)
    if method != "predict":
        return build.answer(estimator, method, given, "estimator")
    wanted = part.response_method
    asked = ("predict_proba", "decision_function") if wanted == "auto" else (wanted,)
    asked_for = next(name for name in asked if hasattr(estimator, name))
    scores = build.answer(estimator, asked_for, given, "estimator")
    classes = np.asarray(part.classes_)
    label = getattr(part, "pos_label", None)
    if label is None and hasattr(part, "_curve_scorer"):
        label = part._curve_scorer._get_pos_label()
    positive = 1 if label is None else int(np.flatnonzero(classes == label)[0])
    score = scores if positive == 1 else -scores
    if asked_for == "predict_proba":
        score = scores.columns([positive]).flat()
    cut = getattr(part, "best_threshold_", None)
    if cut is None:
        cut = part.threshold if part.threshold != "auto" else (0.5 if asked_for == "predict_proba" else 0.0)
    # numpy compares float32 numbers with a Python float in float32, and with one of its own in float64.
    if type(cut) is not float:
        score = score.cast(build.floats)
    above = (score >= float(cut)).cast("int64")
    return build.labels(classes if positive == 1 else classes[::-1], above)
