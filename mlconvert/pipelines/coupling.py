"""Probabilities of classes from those of pairs of classes, as libsvm couples them: by an iteration that ends early.

Where it ends is part of its answer: it stops when it is within 0.005 / K, so its probabilities are not the limit.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from mlconvert.pipelines.graph import ELEMENTS, Tensor

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build


def coupled(build: Build, pairs: Tensor, classes: int) -> Tensor:
    """Libsvm's multiclass_probability (svm.cpp), for all rows at once: [N, classes].

    `pairs` [N, pairs]: of each pair, the probability of the first class. Rows that have ended stay as they are.
    """
    from onnx import helper

    graph = build.graph
    quadratic = _quadratic(build, pairs, classes)
    start = graph.rows_like(np.full(classes, 1 / classes), pairs, build.floats)
    body = graph.inside()
    step, going = Tensor(body, graph.name("step"), "int64", None), Tensor(body, graph.name("going"), "bool", None)
    before = Tensor(body, graph.name("before"), build.floats, classes)
    after, open_ = _sweep(quadratic, before, 0.005 / classes)
    again = open_.cast("int64").reduced("ReduceMax", 0, keep=False).cast("bool").reshaped(1)
    kind = ELEMENTS[build.floats]
    inner = helper.make_graph(
        body.nodes,
        "couple",
        [
            helper.make_tensor_value_info(step.name, ELEMENTS["int64"], []),
            helper.make_tensor_value_info(going.name, ELEMENTS["bool"], []),
            helper.make_tensor_value_info(before.name, kind, [None, classes]),
        ],
        [
            helper.make_tensor_value_info(again.name, ELEMENTS["bool"], [1]),
            helper.make_tensor_value_info(after.name, kind, [None, classes]),
        ],
    )
    most = graph.constant(np.array(max(100, classes)))
    name = graph.name("coupled")
    graph.add("Loop", [most.name, "", start.name], [name], body=inner)
    return Tensor(graph, name, build.floats, classes, exact=False)


def _quadratic(build: Build, pairs: Tensor, classes: int) -> list[Tensor]:
    """The rows of the matrix Q, [N, classes] each: sums of squares on the diagonal, products off it."""
    number = {pair: k for k, pair in enumerate(combinations(range(classes), 2))}

    def likely(one: int, other: int) -> Tensor:
        """The probability of `one` against `other`: [N, 1]."""
        if one < other:
            return pairs.columns([number[one, other]])
        return 1.0 - pairs.columns([number[other, one]])

    rows = []
    for one in range(classes):
        others = [k for k in range(classes) if k != one]
        square = likely(others[0], one) * likely(others[0], one)
        for other in others[1:]:
            square = square + likely(other, one) * likely(other, one)
        cells = [square if k == one else -(likely(k, one) * likely(one, k)) for k in range(classes)]
        rows.append(build.graph.concat(cells))
    return rows


def _sweep(quadratic: list[Tensor], before: Tensor, enough: float) -> tuple[Tensor, Tensor]:
    """One pass over the classes, and which rows needed it: [N, classes] and bool [N, 1]."""
    graph = before.graph
    rows = [Tensor(graph, row.name, row.dtype, row.width) for row in quadratic]
    p = before
    slope = graph.concat([(row * p).reduced("ReduceSum") for row in rows])
    total = (p * slope).reduced("ReduceSum")
    open_ = (slope - total).apply("Abs").reduced("ReduceMax") >= enough
    for one, row in enumerate(rows):
        own = row.columns([one])
        gradient = slope.columns([one])
        change = (total - gradient) / own
        scale = change + 1.0
        unit = np.eye(len(rows))[one]
        p = (p + change * unit) / scale
        total = (total + change * (change * own + gradient * 2.0)) / scale / scale
        slope = (slope + change * row) / scale
    return graph.where(open_, p, before), open_
