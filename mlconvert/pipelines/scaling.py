"""Transformers of numbers, column by column or row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.functions import clipped, expm1, log1p
from mlconvert.pipelines.graph import dense

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def standard_scaler(build: Build, part: Any, given: Columns) -> Tensor:
    x = build.numbers(given)
    if part.with_mean:
        x = x - dense(part.mean_)
    return x / dense(part.scale_) if part.with_std else x


def min_max_scaler(build: Build, part: Any, given: Columns) -> Tensor:
    x = build.numbers(given) * dense(part.scale_) + dense(part.min_)
    return clipped(x, *map(float, part.feature_range)) if part.clip else x


def max_abs_scaler(build: Build, part: Any, given: Columns) -> Tensor:
    x = build.numbers(given) / dense(part.scale_)
    return clipped(x, -1.0, 1.0) if getattr(part, "clip", False) else x  # `clip` is new in scikit-learn 1.9


def robust_scaler(build: Build, part: Any, given: Columns) -> Tensor:
    x = build.numbers(given)
    if part.with_centering:
        x = x - dense(part.center_)
    return x / dense(part.scale_) if part.with_scaling else x


def normalizer(build: Build, part: Any, given: Columns) -> Tensor:
    return normalised(build.numbers(given), part.norm, 10 * float(np.finfo(build.floats).eps))


def normalised(x: Tensor, norm: str, least: float) -> Tensor:
    """Rows over their norm (`l1`, `l2`, `max`); one below `least` counts as 1 (_handle_zeros_in_scale)."""
    if norm == "l2":
        size = (x * x).reduced("ReduceSum").apply("Sqrt")
    else:
        size = x.apply("Abs").reduced("ReduceSum" if norm == "l1" else "ReduceMax")
    return x / x.graph.where(size < least, 1.0, size)


def binarizer(build: Build, part: Any, given: Columns) -> Tensor:
    return (build.numbers(given) > build.graph.floor(part.threshold)).cast(build.floats)


def power_transformer(build: Build, part: Any, given: Columns) -> Tensor:
    """Yeo-Johnson as scipy/stats/_morestats.py has it, Box-Cox as scipy/special/_boxcox.pxd; then a scaler."""
    x = build.numbers(given)
    write = _yeo_johnson if part.method == "yeo-johnson" else _box_cox
    x = write(x, dense(part.lambdas_))
    return build.answer(part._scaler, "transform", x, "scaler") if part.standardize else x


def _yeo_johnson(x: Tensor, power: np.ndarray) -> Tensor:
    graph, tiny = x.graph, np.finfo(np.float64).eps
    upper = log1p(clipped(x, 0.0, np.inf))
    lower = log1p(-clipped(x, -np.inf, 0.0))
    plain = np.abs(power) < tiny
    upper = graph.where(graph.constant(plain), upper, expm1(upper * power) / np.where(plain, 1, power))
    rest = 2 - power
    plain = np.abs(rest) <= tiny
    lower = graph.where(graph.constant(plain), -lower, -(expm1(lower * rest) / np.where(plain, 1, rest)))
    return graph.where(x < 0.0, lower, upper)


def _box_cox(x: Tensor, power: np.ndarray) -> Tensor:
    graph, logs = x.graph, x.apply("Log")
    plain = np.abs(power) < 1e-19
    return graph.where(graph.constant(plain), logs, expm1(logs * power) / np.where(plain, 1, power))


def polynomial_features(build: Build, part: Any, given: Columns) -> Tensor:
    """Products in the order of the powers, made as transform makes them: a column times a product of a degree less."""
    x = build.numbers(given)
    powers = part.powers_  # int [outputs, inputs]
    degrees = powers.sum(axis=1)
    found: dict[tuple[int, ...], int] = {}  # powers -> column of the products of one degree less
    parts: list[Tensor] = []
    products = build.graph.rows_like(1.0, x, build.floats)
    for degree in range(int(degrees.max(initial=0)) + 1):
        wanted = _last_factors(powers[degrees >= degree], degree)
        first = np.argmax(wanted > 0, axis=1)
        if degree == 1:
            products = x.columns(first)
        elif degree:
            rest = wanted.copy()
            rest[np.arange(len(wanted)), first] -= 1
            products = products.columns([found[tuple(row)] for row in rest]) * x.columns(first)
        found = {tuple(row): index for index, row in enumerate(wanted)}
        chosen = powers[degrees == degree]
        if len(chosen):
            parts.append(products.columns([found[tuple(row)] for row in chosen]))
    return build.graph.concat(parts)


def _last_factors(powers: np.ndarray, degree: int) -> np.ndarray:
    """The last `degree` factors of each product, each once: int [n, inputs]."""
    behind = np.cumsum(powers[:, ::-1], axis=1)[:, ::-1] - powers
    return np.unique(np.clip(degree - behind, 0, powers), axis=0)
