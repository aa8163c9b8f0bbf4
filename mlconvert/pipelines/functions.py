"""Functions of numpy and scipy as graph arithmetic, and FunctionTransformer, which may hold any function at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def log1p(x: Tensor) -> Tensor:
    """log(1 + x) without the loss near zero: what 1 + x rounds away is put back as the factor x / ((1 + x) - 1)."""
    whole = x + 1.0
    rest = whole - 1.0
    small = x.graph.where(rest.equals(0.0), x, whole.apply("Log") * (x / rest))
    return x.graph.where(x.apply("Abs") < 0.5, small, whole.apply("Log"))


def expm1(x: Tensor) -> Tensor:
    """exp(x) - 1 without the loss near zero, by the same device."""
    power = x.apply("Exp")
    rest = power - 1.0
    small = x.graph.where(rest.equals(0.0), x, rest * (x / power.apply("Log")))
    return x.graph.where(x.apply("Abs") < 0.5, small, rest)


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + exp(-x)), small values to the last digit: those of ONNX Runtime's Sigmoid are off by up to 1e-16."""
    power = (-x.apply("Abs")).apply("Exp")
    return x.graph.where(x < 0.0, power, 1.0) / (power + 1.0)


def clipped(x: Tensor, low: np.ndarray | float, high: np.ndarray | float) -> Tensor:
    """Within [low, high]; NaN stays NaN, as with numpy and unlike ONNX Runtime's Clip."""
    graph = x.graph
    return graph.where(x < low, low, graph.where(x > high, high, x))


def softmax(x: Tensor) -> Tensor:
    return x.graph.op("Softmax", x, axis=1)


# By the function's own name; numpy.abs is numpy.absolute.
_NUMPY: Mapping[str, Callable[[Tensor], Tensor]] = {
    "absolute": lambda x: x.apply("Abs"),
    "fabs": lambda x: x.apply("Abs"),
    "ceil": lambda x: x.apply("Ceil"),
    "cos": lambda x: x.apply("Cos"),
    "exp": lambda x: x.apply("Exp"),
    "exp2": lambda x: (x * float(np.log(2))).apply("Exp"),
    "expm1": expm1,
    "floor": lambda x: x.apply("Floor"),
    "log": lambda x: x.apply("Log"),
    "log10": lambda x: x.apply("Log") / float(np.log(10)),
    "log1p": log1p,
    "log2": lambda x: x.apply("Log") / float(np.log(2)),
    "negative": lambda x: -x,
    "positive": lambda x: x,
    "reciprocal": lambda x: 1.0 / x,
    "rint": lambda x: x.apply("Round"),
    "sign": lambda x: x.apply("Sign"),
    "sin": lambda x: x.apply("Sin"),
    "sqrt": lambda x: x.apply("Sqrt"),
    "square": lambda x: x * x,
    "tanh": lambda x: x.apply("Tanh"),
}
_SCIPY: Mapping[str, Callable[[Tensor], Tensor]] = {
    "expit": sigmoid,
    "logit": lambda x: (x / (1.0 - x)).apply("Log"),
}


def function_transformer(build: Build, part: Any, given: Columns) -> Columns:
    if part.func is None:
        return given
    return (write_function(build, part.func, part.kw_args, build.numbers(given)),)


def write_function(build: Build, function: Any, arguments: Any, values: Tensor) -> Tensor:
    """A function of numpy or scipy.special, element by element; any other is refused."""
    if function is None:
        return values
    name = getattr(function, "__name__", type(function).__name__)
    known = {np: _NUMPY, _scipy_special(): _SCIPY}
    for module, table in known.items():
        if name in table and getattr(module, name, None) is function and not arguments:
            return table[name](values)
    if name == "<lambda>":
        name = "a lambda"
    shown = f"its function {name}{' with arguments' if arguments else ''} has no ONNX form here"
    listed = ", ".join(f"numpy.{known}" for known in _NUMPY)
    raise build.refused(shown, f"known: {listed}; or compute it before the model")


def _scipy_special() -> Any:
    from scipy import special

    return special
