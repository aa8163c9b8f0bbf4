"""Imputers, and the indicators of what was missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.functions import clipped

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def simple_imputer(build: Build, part: Any, given: Columns) -> Columns:
    """Of impute/_base.py: the statistic in the place of what is missing; columns that never had a value are dropped."""
    columns = build.each(given)
    kept = [
        index
        for index, value in enumerate(part.statistics_)
        if part.keep_empty_features or not (value is None or _is_nan(value))
    ]
    texts = {columns[index].dtype == "string" for index in kept}
    if texts == {False}:
        x = build.numbers(build.take(given, kept))
        if any(isinstance(part.statistics_[index], str) for index in kept):
            raise build.wrong_type(columns[kept[0]], "holds numbers", "was fitted on text in its place")
        fill = np.array([part.statistics_[index] for index in kept], np.float64)
        found: Columns = (build.graph.where(_missing(build, x, part.missing_values), fill, x),)
    else:
        found = tuple(_filled(build, part, columns[index], part.statistics_[index]) for index in kept)
    return found + _indicator(build, part, given)


def _filled(build: Build, part: Any, column: Tensor, value: Any) -> Tensor:
    if column.dtype != "string":
        return build.graph.where(_missing(build, column, part.missing_values), value, column)
    if isinstance(part.missing_values, str):
        return build.graph.where(_missing(build, column, part.missing_values), np.array([value], dtype=object), column)
    if not isinstance(value, str):
        raise build.wrong_type(column, "holds text", "was fitted on numbers in its place")
    return column  # a tensor of strings holds neither None nor NaN: nothing is missing


def missing_indicator(build: Build, part: Any, given: Columns) -> Tensor:
    """Of impute/_base.py: which values are missing, as 0 and 1."""
    columns = build.each(given)
    missing = [_missing(build, columns[index], part.missing_values) for index in part.features_]
    if not missing:
        raise build.refused("it gives no columns")
    return build.graph.concat(missing)


def _indicator(build: Build, part: Any, given: Columns) -> Columns:
    """The columns that `add_indicator` adds. In them error_on_new is off: a first missing value is no error."""
    if not part.add_indicator or not len(part.indicator_.features_):
        return ()
    return (missing_indicator(build, part.indicator_, given).cast(build.floats),)


def iterative_imputer(build: Build, part: Any, given: Columns) -> Columns:
    """Of impute/_iterative.py: a first filling, then each feature predicted from the others, in the learnt order."""
    if part.sample_posterior:
        raise build.refused(
            "with sample_posterior its answers are drawn at random", "fit it with sample_posterior=False"
        )
    x = build.numbers(given)
    filled = build.answer(part.initial_imputer_, "transform", x, "initial_imputer")
    missing = _missing(build, x, part.missing_values)
    kept = np.arange(x.width or 0) if part.keep_empty_features else np.flatnonzero(~part._is_empty_feature)
    columns = build.each((filled,))
    for round_, (feature, neighbours, estimator) in enumerate(part.imputation_sequence_):
        if part._is_empty_feature[kept[feature]]:
            continue  # what it was filled with stays
        known = build.graph.concat([columns[index] for index in neighbours])
        answer = build.answer(estimator, "predict", known, str(round_)).column().cast(build.floats)
        low, high = float(part._min_value[feature]), float(part._max_value[feature])
        bounded = clipped(answer, low, high)
        columns[feature] = build.graph.where(missing.columns([kept[feature]]), bounded, columns[feature])
    return (build.graph.concat(columns), *_indicator(build, part, given))


def _missing(build: Build, x: Tensor, marker: Any) -> Tensor:
    """Where x is the marker of missing values: bool, of the shape of x."""
    if isinstance(marker, str):
        if x.dtype != "string":
            raise build.wrong_type(x, "holds numbers", "looks for missing values written as text")
        found = build.graph.op(
            "LabelEncoder",
            x,
            dtype="int64",
            domain="ai.onnx.ml",
            keys_strings=[marker],
            values_int64s=[1],
            default_int64=0,
        )
        return found.cast("bool")
    if x.dtype == "string":
        raise build.wrong_type(x, "holds text", "takes numbers")
    if _is_nan(marker):
        return x.cast(build.floats).apply("IsNaN")
    if isinstance(marker, (int, float)):
        build.need_bits(x, f"it asks which numbers equal {marker}")
        return x.cast(build.floats).equals(float(marker))
    raise build.refused(f"missing_values={marker!r} is not supported", "mark missing values with NaN")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and bool(np.isnan(value))
