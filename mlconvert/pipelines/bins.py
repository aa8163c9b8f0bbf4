"""Transformers that go by edges: bins and quantiles; and isotonic regression."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.normal import normal_quantile
from mlconvert.pipelines.search import interpolated, places

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
