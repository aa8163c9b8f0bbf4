"""Where a value lies among sorted edges, and what a table says of that place: bins, quantiles, interpolation.

The search is a tree for every column, in one TreeEnsemble node: exact in double, with time and memory that grow with
the logarithm of the edges and not with their number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlconvert.forests.model import Forest, Link, TreeModel
from mlconvert.pipelines.functions import clipped
from mlconvert.pipelines.trees import add_trees

if TYPE_CHECKING:
    from mlconvert.pipelines.graph import Tensor


def places(x: Tensor, edges: Sequence[np.ndarray]) -> Tensor:
    """How many of a column's edges (rising) are at most the value: int64 [N, F], as numpy.searchsorted(side="right").

    NaN is above all edges, as there.
    """
    model = TreeModel(search_trees(edges), "value", base=(0.0,) * len(edges), link=Link("identity"))
    found = add_trees(model, x, ["variable"])["variable"]  # of every tree one leaf: there is nothing to add up
    return replace(found, exact=x.exact).cast("int64")


def search_trees(edges: Sequence[np.ndarray]) -> Forest:
    """A balanced tree for each column: an inner node halves a range of edges, a leaf says how many lie below it."""
    columns = [_search_tree(np.asarray(of_column, np.float64)) for of_column in edges]
    nodes = np.cumsum([0] + [len(threshold) for threshold, _, _ in columns])
    leaves = nodes + np.arange(len(nodes))

    def moved(children: np.ndarray, column: int) -> np.ndarray:
        found: np.ndarray = np.where(children < 0, children - leaves[column], children + nodes[column]).astype(np.int32)
        return found

    counts = np.diff(nodes)
    return Forest(
        features=len(edges),
        compares="float64",
        strict=True,  # an edge itself is on the right
        roots=np.where(counts > 0, nodes[:-1], ~leaves[:-1]).astype(np.int32),
        feature=np.repeat(np.arange(len(edges), dtype=np.int32), counts),
        threshold=np.concatenate([threshold for threshold, _, _ in columns]),
        left=np.concatenate([moved(left, column) for column, (_, left, _) in enumerate(columns)]),
        right=np.concatenate([moved(right, column) for column, (_, _, right) in enumerate(columns)]),
        missing_left=np.zeros(nodes[-1], bool),
        category_set=np.full(nodes[-1], -1, np.int32),
        set_bounds=np.zeros(1, np.int64),
        set_values=np.empty(0),
        leaf_values=np.concatenate([np.arange(count + 1.0) for count in counts])[:, None],
        leaf_ids=np.concatenate([np.arange(count + 1, dtype=np.int32) for count in counts]),
        tree_output=np.arange(len(edges), dtype=np.int32),
        truncates=np.zeros(len(edges), bool),
        zero_is_missing=np.zeros(len(edges), bool),
    )


def _search_tree(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds and children, level by level: a node stands for the edges [low, high), the leaf ~k for k below."""
    low, high = np.zeros(1, np.int64), np.full(1, len(edges), np.int64)
    thresholds, lefts, rights = [np.empty(0)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    made = 0
    while len(low) and len(edges):
        middle = (low + high) // 2
        thresholds.append(edges[middle])
        lows, highs = np.stack([low, middle + 1], axis=1).ravel(), np.stack([middle, high], axis=1).ravel()
        inner = lows < highs
        made += len(low)
        children = np.where(inner, made + np.cumsum(inner) - 1, ~lows)
        lefts.append(children[::2])
        rights.append(children[1::2])
        low, high = lows[inner], highs[inner]
    return np.concatenate(thresholds), np.concatenate(lefts), np.concatenate(rights)


def look_up(tables: Sequence[np.ndarray], place: Tensor) -> Tensor:
    """`tables[column][place]` for every column: [N, F]. The tables, of floats or integers, may differ in length."""
    starts = np.cumsum([0] + [len(table) for table in tables[:-1]])
    values = np.concatenate(tables)
    graph = place.graph
    flat = graph.constant(values, graph.floats if values.dtype.kind == "f" else None)
    return graph.op("Gather", flat, place + starts, axis=0, width=place.width)


def interpolated(x: Tensor, knots: Sequence[np.ndarray], values: Sequence[np.ndarray]) -> Tensor:
    """numpy.interp for each column: straight lines between (knot, value), the outer values beyond; NaN stays NaN.

    Of knots that are equal the last counts, as there.
    """
    origins, slopes, bases = [], [], []
    for xs, ys in zip(knots, values, strict=True):
        step = np.diff(xs)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(step > 0, np.diff(ys) / step, 0)
        # A place p > 0 is behind knot p - 1; place 0 is before all of them.
        origins.append(np.concatenate([xs[:1], xs]))
        slopes.append(np.concatenate([[0], slope, [0]]))
        bases.append(np.concatenate([ys[:1], ys]))
    within = clipped(x, np.array([xs[0] for xs in knots]), np.array([xs[-1] for xs in knots]))
    place = places(x, knots)  # what is below the first knot is not at it
    return look_up(slopes, place) * (within - look_up(origins, place)) + look_up(bases, place)
