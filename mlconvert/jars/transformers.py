"""scikit-learn's transformers as steps of a jar, each as the library computes it: the same numbers, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlconvert.jars.columns import Build, Column, Columns
from mlconvert.jars.model import Table
from mlconvert.pipelines.build import is_stock
from mlconvert.pipelines.categories import one_hot_places, ordinal_places, target_classes, target_places
from mlconvert.pipelines.graph import dense

REFUSE = float("inf")  # of a table: no answer for what is not in it


def transformed(build: Build, part: Any, given: Columns, name: str) -> Columns:
    """What a fitted transformer makes of columns; raises ConversionFailed, by its place, for one without a form."""
    if part is None or (isinstance(part, str) and part == "passthrough"):
        return given
    with build.at(name, part):
        if type(part).__name__ == "Pipeline" and is_stock(part):
            for step_name, step in part.steps:
                given = transformed(build, step, given, step_name)
            return given
        if hasattr(part, "get_support") and is_stock(part):
            return tuple(given[index] for index in np.flatnonzero(part.get_support()))
        writer = TRANSFORMERS.get(type(part).__name__) if is_stock(part) else None
        if writer is None:
            raise build.refused()
        return writer(build, part, given)


def _standard(build: Build, part: Any, given: Columns) -> Columns:
    means = dense(part.mean_) if part.with_mean else np.zeros(len(given))
    return _divided(build, given, means, dense(part.scale_) if part.with_std else np.ones(len(given)))


def _robust(build: Build, part: Any, given: Columns) -> Columns:
    centres = dense(part.center_) if part.with_centering else np.zeros(len(given))
    return _divided(build, given, centres, dense(part.scale_) if part.with_scaling else np.ones(len(given)))


def _max_abs(build: Build, part: Any, given: Columns) -> Columns:
    found = _divided(build, given, np.zeros(len(given)), dense(part.scale_))
    return tuple(build.made(2, one, -1, 1) for one in found) if getattr(part, "clip", False) else found


def _divided(build: Build, given: Columns, less: np.ndarray, by: np.ndarray) -> Columns:
    return tuple(build.made(0, build.number(one), a, b) for one, a, b in zip(given, less, by, strict=True))


def _min_max(build: Build, part: Any, given: Columns) -> Columns:
    pairs = zip(given, dense(part.scale_), dense(part.min_), strict=True)
    found = tuple(build.made(1, build.number(one), a, b) for one, a, b in pairs)
    return tuple(build.made(2, one, *part.feature_range) for one in found) if part.clip else found


def _binarizer(build: Build, part: Any, given: Columns) -> Columns:
    return tuple(build.made(7, build.number(one), part.threshold) for one in given)


def _simple_imputer(build: Build, part: Any, given: Columns) -> Columns:
    """The statistic in the place of what is missing; columns that never had a value are dropped."""
    found = []
    for column, value in zip(given, part.statistics_, strict=True):
        if not part.keep_empty_features and (value is None or value != value):
            continue
        fill = value
        if column.text is not None:
            if not isinstance(value, str):
                raise build.wrong_type(column, "holds text", "was fitted on numbers in its place")
            fill = build.code(column.text, value)
        elif isinstance(value, str):
            raise build.wrong_type(column, "holds numbers", "was fitted on text in its place")
        made = _filled(build, column, part.missing_values, float(fill))
        found.append(Column(made.number, column.text))
    if not part.add_indicator or not len(part.indicator_.features_):
        return tuple(found)
    return (*found, *_missing_indicator(build, part.indicator_, given))


def _filled(build: Build, column: Column, marker: Any, fill: float) -> Column:
    return (
        build.made(3, column, fill) if _is_nan(marker) else build.made(4, column, _marker(build, column, marker), fill)
    )


def _missing_indicator(build: Build, part: Any, given: Columns) -> Columns:
    found = []
    for index in part.features_:
        column, marker = given[index], part.missing_values
        found.append(
            build.made(5, column) if _is_nan(marker) else build.made(6, column, _marker(build, column, marker))
        )
    return tuple(found)


def _marker(build: Build, column: Column, marker: Any) -> float:
    """What stands for a missing value, as a number."""
    if isinstance(marker, str) and column.text is not None:
        return float(build.code(column.text, marker))
    if isinstance(marker, (int, float)) and column.text is None:
        return float(marker)
    raise build.refused(f"missing_values={marker!r} has no form in a jar")


def _is_nan(marker: Any) -> bool:
    return marker is None or (isinstance(marker, float) and bool(np.isnan(marker)))


def _one_hot(build: Build, part: Any, given: Columns) -> Columns:
    found = []
    for index, column in enumerate(given):
        places = one_hot_places(part, index).astype(np.float64)
        if part.handle_unknown == "error":
            places[-1] = REFUSE
        code = build.looked_up(column, np.asarray(part.categories_[index], dtype=object), places)
        found += [build.made(6, code, place) for place in range(part._n_features_outs[index])]
    return tuple(found)


def _ordinal(build: Build, part: Any, given: Columns) -> Columns:
    found = []
    for column, categories, places in zip(given, part.categories_, ordinal_places(part), strict=True):
        if part.handle_unknown == "error":
            places[-1] = REFUSE
        found.append(build.looked_up(column, np.asarray(categories, dtype=object), places))
    return tuple(found)


def _target(build: Build, part: Any, given: Columns) -> Columns:
    owners = np.repeat(np.arange(len(given)), target_classes(part))
    pairs = zip(owners, target_places(part), strict=True)
    return tuple(
        build.looked_up(given[owner], np.asarray(part.categories_[owner], dtype=object), places)
        for owner, places in pairs
    )


def _bins(build: Build, part: Any, given: Columns) -> Columns:
    """How many inner edges are at most the value; one-hot on demand."""
    found = []
    for index, column in enumerate(given):
        edges = np.asarray(part.bin_edges_[index][1:-1], np.float64)
        build.tables.append(Table(edges, np.zeros(len(edges)), float("nan")))
        code = build.made(10, build.number(column), len(build.tables) - 1)
        one_hot = range(int(part.n_bins_[index])) if part.encode != "ordinal" else ()
        found += [build.made(6, code, place) for place in one_hot] or [code]
    return tuple(found)


def _column_transformer(build: Build, part: Any, given: Columns) -> Columns:
    weights = part.transformer_weights or {}
    found: Columns = ()
    for name, step, _ in part.transformers_:
        which = part._transformer_to_input_indices[name]
        if (isinstance(step, str) and step == "drop") or not len(which):
            continue
        made = transformed(build, step, tuple(given[index] for index in which), name)
        found += _weighted(build, made, weights.get(name))
    return found


def _feature_union(build: Build, part: Any, given: Columns) -> Columns:
    weights = part.transformer_weights or {}
    found: Columns = ()
    for name, step in part.transformer_list:
        if not (isinstance(step, str) and step == "drop"):
            found += _weighted(build, transformed(build, step, given, name), weights.get(name))
    return found


def _weighted(build: Build, columns: Columns, weight: float | None) -> Columns:
    return columns if weight is None else tuple(build.made(1, build.number(one), weight, -0.0) for one in columns)


def _function(build: Build, part: Any, given: Columns) -> Columns:
    if part.func is not None:
        raise build.refused("a function of Python's has no form in a jar")
    return given


def _polynomial(build: Build, part: Any, given: Columns) -> Columns:
    """Products, made as transform makes them: a column times a product of a degree less, from the last factor on."""
    given = tuple(map(build.number, given))
    known: dict[tuple[int, ...], Column] = {}

    def product(factors: tuple[int, ...]) -> Column:
        if factors not in known:
            if not factors:
                known[factors] = build.made(1, build.made(3, build.made(1, given[0], 0.0, 0.0), 0.0), 0.0, 1.0)
            elif len(factors) == 1:
                known[factors] = given[factors[0]]
            else:
                known[factors] = build.made(8, product(factors[1:]), given[factors[0]].number)
        return known[factors]

    return tuple(product(tuple(np.repeat(np.arange(len(row)), row).tolist())) for row in part.powers_)


TRANSFORMERS: Mapping[str, Callable[[Build, Any, Columns], Columns]] = {
    "Binarizer": _binarizer,
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "FunctionTransformer": _function,
    "KBinsDiscretizer": _bins,
    "MaxAbsScaler": _max_abs,
    "MinMaxScaler": _min_max,
    "MissingIndicator": _missing_indicator,
    "OneHotEncoder": _one_hot,
    "OrdinalEncoder": _ordinal,
    "PolynomialFeatures": _polynomial,
    "RobustScaler": _robust,
    "SimpleImputer": _simple_imputer,
    "StandardScaler": _standard,
    "TargetEncoder": _target,
}
