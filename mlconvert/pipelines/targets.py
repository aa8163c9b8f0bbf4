"""TransformedTargetRegressor, and the inverses of the transformers that targets are scaled with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.functions import log1p, write_function
from mlconvert.pipelines.graph import dense

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def transformed_target(build: Build, part: Any, given: Columns) -> Tensor:
    """Of compose/_target.py: the regressor's answer, taken back through the transformation of the target."""
    answer = build.answer(part.regressor_, "predict", given, "regressor")
    with build.at("transformer", type(part.transformer_).__name__):
        back = _inverse(build, part.transformer_, answer.column().cast(build.floats))
    return back.flat() if answer.width is None or (part._training_dim == 1 and back.width == 1) else back


def _inverse(build: Build, inner: Any, values: Tensor) -> Tensor:
    """What `inverse_transform` gives."""
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
        case "PowerTransformer":
            scaled = _inverse(build, inner._scaler, values) if inner.standardize else values
            return (_from_box_cox if inner.method == "box-cox" else _from_yeo_johnson)(scaled, dense(inner.lambdas_))
    hint = "use func and inverse_func of numpy (numpy.log1p, numpy.expm1)"
    raise build.refused("its inverse has no ONNX form here", hint)


def _from_yeo_johnson(x: Tensor, power: np.ndarray) -> Tensor:
    """Of preprocessing/_data.py, PowerTransformer._yeo_johnson_inverse_transform."""
    graph, tiny = x.graph, np.finfo(np.float64).eps
    plain = np.abs(power) < tiny
    root = graph.op("Pow", x * power + 1.0, 1 / np.where(plain, 1, power)) - 1.0
    upper = graph.where(graph.constant(plain), x.apply("Exp") - 1.0, root)
    rest = 2 - power
    plain = np.abs(rest) <= tiny
    root = 1.0 - graph.op("Pow", x * -rest + 1.0, 1 / np.where(plain, 1, rest))
    lower = graph.where(graph.constant(plain), 1.0 - (-x).apply("Exp"), root)
    return graph.where(x < 0.0, lower, upper)


def _from_box_cox(x: Tensor, power: np.ndarray) -> Tensor:
    """scipy.special.inv_boxcox."""
    plain = power == 0
    graph = x.graph
    root = (log1p(x * power) / np.where(plain, 1, power)).apply("Exp")
    return graph.where(graph.constant(plain), x.apply("Exp"), root)
