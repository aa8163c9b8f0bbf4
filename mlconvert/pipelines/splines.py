"""SplineTransformer: the values of basis splines, by the recursion that scipy computes them with, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.functions import clipped
from mlconvert.pipelines.search import places

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def spline_transformer(build: Build, part: Any, given: Columns) -> Tensor:
    """Of preprocessing/_polynomial.py."""
    degree = part.degree
    if part.extrapolation == "error":
        raise build.refused("extrapolation='error' has no ONNX form", "fit it with extrapolation='constant'")
    if getattr(part, "handle_missing", "error") != "error":
        hint = "put a SimpleImputer in front of it"
        raise build.refused(f"handle_missing={part.handle_missing!r} is not supported", hint)
    if degree <= 1 and part.extrapolation == "linear" and len(part.bsplines_) > 1:
        # Its loop over the features raises the degree, and with it shortens the range of those that follow.
        reason = f"degree={degree} with extrapolation='linear' does not treat all features alike in scikit-learn"
        raise build.refused(reason, "fit it with extrapolation='constant', or degree=2")
    x = build.numbers(given)
    columns = [
        _column(part.extrapolation, spline, degree, x.columns([index])) for index, spline in enumerate(part.bsplines_)
    ]
    found = build.graph.concat(columns)
    if not part.include_bias:
        count = part.bsplines_[0].c.shape[1]
        found = found.columns([k for k in range(found.width or 0) if (k + 1) % count])
    return found


def _column(extrapolation: str, spline: Any, degree: int, x: Tensor) -> Tensor:
    """The splines of one feature [N, 1]: [N, splines]."""
    low, high = float(spline.t[degree]), float(spline.t[-degree - 1])
    if extrapolation == "continue":
        return _basis(spline, degree, x)
    if extrapolation == "periodic":
        # numpy's %, whose result has the sign of the period.
        rest = x.graph.op("Mod", x - low, high - low, fmod=1)
        return _basis(spline, degree, x.graph.where(rest < 0.0, rest + (high - low), rest) + low)
    inside = _basis(spline, degree, clipped(x, low, high))
    if extrapolation == "constant":
        return inside
    below = _straight(spline, low, x, np.arange(spline.c.shape[1]) < max(degree, 2))
    above = _straight(spline, high, x, np.arange(spline.c.shape[1])[::-1] < max(degree, 2))
    return x.graph.where(x < low, below, x.graph.where(x > high, above, inside))


def _straight(spline: Any, edge: float, x: Tensor, own: np.ndarray) -> Tensor:
    """The outermost splines as straight lines beyond an edge; the others are zero there."""
    return (x - edge) * np.where(own, spline(edge, nu=1), 0) + np.where(own, spline(edge), 0)


def _basis(spline: Any, degree: int, x: Tensor) -> Tensor:
    """De Boor's recursion, as _deBoor_D in scipy/interpolate/src/__fitpack.cc, and the sum over its coefficients."""
    graph, knots = x.graph, np.asarray(spline.t, np.float64)
    inner = knots[degree + 1 : len(knots) - degree - 1]
    interval = places(x, [inner]) + np.array([degree])  # knots[interval] <= x, but at the ends
    near = {offset: _at(knots, interval, offset) for offset in range(1 - degree, degree + 1)}
    values = [graph.rows_like(1.0, x, graph.floats)]
    for order in range(1, degree + 1):
        before, values = values, [x * 0.0]
        for n in range(1, order + 1):
            upper, lower = near[n], near[n - order]
            width = upper - lower
            # Of two equal knots nothing is between them.
            share = graph.where(width.equals(0.0), 0.0, before[n - 1] / width)
            values[n - 1] = values[n - 1] + share * (upper - x)
            values.append(share * (x - lower))
    coefficients = np.asarray(spline.c, np.float64)
    total = None
    for place, value in enumerate(values):
        row = graph.gather(coefficients.astype(graph.floats), (interval + np.array([place - degree])).flat())
        total = row * value if total is None else total + row * value
    assert total is not None
    return total


def _at(knots: np.ndarray, interval: Tensor, offset: int) -> Tensor:
    graph = interval.graph
    return graph.gather(knots.astype(graph.floats), interval + np.array([offset]))
