"""Kernels between rows and fixed vectors, in double, without the loss of large offsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build
    from mlconvert.pipelines.graph import Tensor


def squared_distances(x: Tensor, vectors: np.ndarray) -> Tensor:
    """|x - v|**2 for every row and vector [S, F]: [N, S], never negative.

    As |x|**2 - 2xv + |v|**2, after both were moved by the mean of the vectors: what the products lose is then a part
    in 10**16 of the spread of the data, not of their distance from the origin.
    """
    centre = vectors.mean(axis=0)
    near = x - centre
    fixed = vectors - centre
    squares = (near * near).reduced("ReduceSum") + (fixed * fixed).sum(axis=1)
    found = squares - (near @ fixed.T) * 2.0
    return x.graph.where(found < 0.0, 0.0, found)


def kernel(build: Build, name: str, x: Tensor, vectors: np.ndarray, settings: Mapping[str, float]) -> Tensor:
    """Libsvm's kernels, which are those of metrics/pairwise.py: [N, S]."""
    if name == "rbf":
        return (squared_distances(x, vectors) * -float(settings["gamma"])).apply("Exp")
    inner = x @ vectors.T
    if name == "linear":
        return inner
    inner = inner * float(settings["gamma"]) + float(settings["coef0"])
    if name == "poly":
        degree = settings["degree"]
        return build.graph.op("Pow", inner, float(degree))
    if name == "sigmoid":
        return inner.apply("Tanh")
    raise build.refused(f"the kernel {name} is not supported")
