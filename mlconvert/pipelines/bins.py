"""Transformers that go by edges: bins, quantiles, splines, and isotonic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.functions import clipped
from mlconvert.pipelines.normal import normal_quantile
from mlconvert.pipelines.search import interpolated, look_up, places

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def k_bins_discretizer(build: Build, part: Any, given: Columns) -> Tensor:
    """Of preprocessing/_discretization.py: how many inner edges are at most the value; one-hot on demand."""
    x = build.numbers(given)
    if part.strategy == "quantile":
        build.need_bits(x, "its edges are values of the training data", "fit it with strategy='uniform'")
    bins = places(x, [edges[1:-1] for edges in part.bin_edges_])
    if part.encode == "ordinal":
        return bins.cast(build.floats)
    owner = np.repeat(np.arange(len(part.n_bins_)), part.n_bins_)
    which = np.concatenate([np.arange(count) for count in part.n_bins_])
    return bins.columns(owner).equals(which).cast(build.floats)


def quantile_transformer(build: Build, part: Any, given: Columns) -> Tensor:
    """Of preprocessing/_data.py, _transform_col: the mean of two interpolations, from below and from above.

    Where several quantiles are equal, the first takes the last of their references and the second the first.
    """
    x = build.numbers(given)
    quantiles = [np.asarray(column, np.float64) for column in part.quantiles_.T]
    references = [np.asarray(part.references_, np.float64)] * len(quantiles)
    if any((np.diff(column) == 0).any() for column in quantiles):
        build.need_bits(x, "some of its quantiles are equal: it jumps at values of the training data")
    first, last = (np.array([column[end] for column in quantiles]) for end in (0, -1))
    upper = interpolated(x, quantiles, references)
    lower = interpolated(-x, [-column[::-1] for column in quantiles], [-column[::-1] for column in references])
    where = build.graph.where
    found = (upper - lower) * 0.5
    if part.output_distribution == "uniform":
        return where(x.equals(first), 0.0, where(x.equals(last), 1.0, found))
    margin = 1e-7  # BOUNDS_THRESHOLD
    found = where(x - margin < first, 0.0, where(x + margin > last, 1.0, found))
    return normal_quantile(found, margin - np.spacing(1))


def spline_transformer(build: Build, part: Any, given: Columns) -> Tensor:
    """Of preprocessing/_polynomial.py: basis splines as polynomials, the highest power first, looked up by interval."""
    from scipy.interpolate import PPoly

    if part.extrapolation == "error":
        raise build.refused("extrapolation='error' has no ONNX form", "fit it with extrapolation='constant'")
    if getattr(part, "handle_missing", "error") != "error":
        raise build.refused(
            f"handle_missing={part.handle_missing!r} is not supported", "put a SimpleImputer in front of it"
        )
    degree = part.degree
    if degree <= 1 and part.extrapolation == "linear" and len(part.bsplines_) > 1:
        # Its loop over the features raises the degree, and with it shortens the range of those that follow.
        reason = f"degree={degree} with extrapolation='linear' does not treat all features alike in scikit-learn"
        raise build.refused(reason, "fit it with extrapolation='constant', or degree=2")
    x = build.numbers(given)
    columns: list[Tensor] = []
    for index, spline in enumerate(part.bsplines_):
        column = x.columns([index])
        low, high = spline.t[degree], spline.t[-degree - 1]
        pieces = [PPoly.from_spline((spline.t, weights, degree)) for weights in spline.c.T]
        inside = [k for k in range(len(spline.t) - 1) if low <= spline.t[k] < spline.t[k + 1] <= high]
        starts = spline.t[inside]
        coefficients = np.stack([piece.c[:, inside] for piece in pieces], axis=2)  # [power, interval, spline]
        coefficients[-1] = spline(starts)  # at a knot it is exact: many are 0 there, and trees tell 0 from 1e-17
        if part.extrapolation == "periodic":
            period = high - low
            column = column - low
            column = column - (column / period).apply("Floor") * period + low
        elif part.extrapolation == "constant":
            column = clipped(column, low, high)
            starts, coefficients = _with_last_knot(spline, starts, coefficients, high)
        elif part.extrapolation == "linear":
            starts, coefficients = _with_straight_ends(spline, starts, coefficients, low, high, max(degree, 2))
        place = places(column, [starts[1:]]).flat()
        offset = column - look_up([starts], place.column())
        total = build.graph.gather(_as_floats(build, coefficients[0]), place)
        for power in coefficients[1:]:
            total = total * offset + build.graph.gather(_as_floats(build, power), place)
        columns.append(total.inexact())
    found = build.graph.concat(columns)
    if not part.include_bias:
        count = part.bsplines_[0].c.shape[1]
        found = found.columns([k for k in range(found.width or 0) if (k + 1) % count])
    return found


def _with_last_knot(
    spline: Any, starts: np.ndarray, coefficients: np.ndarray, high: float
) -> tuple[np.ndarray, np.ndarray]:
    """An interval more, which begins at the end: what is constant behind it."""
    last = np.zeros((len(coefficients), 1, coefficients.shape[2]))
    last[-1] = spline(high)
    return np.append(starts, high), np.concatenate([coefficients, last], axis=1)


def _with_straight_ends(
    spline: Any, starts: np.ndarray, coefficients: np.ndarray, low: float, high: float, ends: int
) -> tuple[np.ndarray, np.ndarray]:
    """Intervals before and behind, in which the first and the last `ends` splines go on as straight lines."""
    count = coefficients.shape[2]
    outer = np.zeros((len(coefficients), 2, count))
    for side, (edge, own) in enumerate(((low, np.arange(count) < ends), (high, np.arange(count) >= count - ends))):
        outer[-1, side] = np.where(own, spline(edge), 0)
        if len(coefficients) > 1:
            outer[-2, side] = np.where(own, spline(edge, nu=1), 0)
    first, last = outer[:, :1], outer[:, 1:]
    return np.concatenate([[low], starts, [high]]), np.concatenate([first, coefficients, last], axis=1)


def _as_floats(build: Build, values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, build.floats)


def isotonic_regression(build: Build, part: Any, given: Columns) -> Tensor:
    """Of isotonic.py, _transform: straight lines between the thresholds, in the type of the thresholds."""
    x = build.numbers(given)
    knots, values = part.X_thresholds_, part.y_thresholds_
    if knots.dtype == np.float32:
        x = x.cast("float32").cast(build.floats)
    if len(values) == 1:
        found = x * 0.0 + float(values[0])
    else:
        found = interpolated(x, [knots.astype(np.float64)], [values.astype(np.float64)])
        if part.out_of_bounds != "clip":  # "raise" raises in the library: NaN is no answer either
            outside = (x < float(knots[0])) | (x > float(knots[-1]))
            found = build.graph.where(outside, np.nan, found)
    if knots.dtype == np.float32:
        found = found.cast("float32").cast(build.floats)
    return found.flat()
