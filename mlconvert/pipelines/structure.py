"""Parts that only pass columns on to others: pipelines, unions, column transformers, selections, wrappers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.functions import write_function
from mlconvert.pipelines.graph import dense

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns, Writer
    from mlconvert.pipelines.graph import Tensor


def pipeline(build: Build, part: Any, method: str, given: Columns) -> Columns:
    *before, (last_name, last) = part.steps
    for name, step in before:
        given = _transformed(build, step, given, name)
    if method == "transform":
        return _transformed(build, last, given, last_name)
    return build.columns(last, method, given, last_name)


def feature_union(build: Build, part: Any, given: Columns) -> Columns:
    """Of pipeline.py: the results side by side, each times its weight."""
    weights = part.transformer_weights or {}
    found: Columns = ()
    for name, step in part.transformer_list:
        if step != "drop":
            found += _weighted(build, _transformed(build, step, given, name), weights.get(name))
    return found


def column_transformer(build: Build, part: Any, given: Columns) -> Columns:
    """Of compose/_column_transformer.py: each step gets its columns; results side by side, in their order."""
    weights = part.transformer_weights or {}
    found: Columns = ()
    for name, step, _ in part.transformers_:
        which = part._transformer_to_input_indices[name]
        if (isinstance(step, str) and step == "drop") or not len(which):
            continue
        found += _weighted(build, _transformed(build, step, build.take(given, which), name), weights.get(name))
    if not found:
        raise build.refused("it gives no columns")
    return found


def _transformed(build: Build, step: Any, given: Columns, name: str) -> Columns:
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return given
    return build.columns(step, "transform", given, name)


def _weighted(build: Build, columns: Columns, weight: float | None) -> Columns:
    return columns if weight is None else (build.numbers(columns) * float(weight),)


def held(*names: str) -> Writer:
    """A writer for parts that hand every method on to the one they hold, under the first of these names."""

    def write(build: Build, part: Any, method: str, given: Columns) -> Columns:
        name = next(name for name in names if hasattr(part, name))
        return build.columns(getattr(part, name), method, given, name.rstrip("_"))

    return write


def selection(build: Build, part: Any, method: str, given: Columns) -> Columns:
    """SelectorMixin: some of the columns. RFE and RFECV answer for their estimator too."""
    chosen = build.take(given, np.flatnonzero(part.get_support()).tolist())
    if not chosen:
        raise build.refused("it selects no columns")
    if method == "transform":
        return chosen
    return build.columns(part.estimator_, method, chosen, "estimator")


def transformed_target(build: Build, part: Any, given: Columns) -> Tensor:
    """Of compose/_target.py: the regressor's answer, taken back through the transformation of the target."""
    answer = build.answer(part.regressor_, "predict", given, "regressor")
    one = answer.width is None
    column = answer.column().cast(build.floats)
    with build.at("transformer", type(part.transformer_).__name__):
        back = _inverse(build, part.transformer_, column)
    return back.flat() if one or (part._training_dim == 1 and back.width == 1) else back


def _inverse(build: Build, inner: Any, values: Tensor) -> Tensor:
    """What `inverse_transform` gives, of the transformers that targets are scaled with."""
    match type(inner).__name__:
        case "FunctionTransformer":
            return write_function(build, inner.inverse_func, inner.inv_kw_args, values)
        case "StandardScaler":
            scaled = values * dense(inner.scale_) if inner.with_std else values
            return scaled + dense(inner.mean_) if inner.with_mean else scaled
        case "MinMaxScaler":
            return (values - dense(inner.min_)) / dense(inner.scale_)
        case "MaxAbsScaler":
            return values * dense(inner.scale_)
        case "RobustScaler":
            scaled = values * dense(inner.scale_) if inner.with_scaling else values
            return scaled + dense(inner.center_) if inner.with_centering else scaled
    hint = "use func and inverse_func of numpy (numpy.log1p, numpy.expm1)"
    raise build.refused("its inverse has no ONNX form here", hint)
