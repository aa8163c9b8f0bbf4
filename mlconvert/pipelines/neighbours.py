"""Nearest neighbours: distances as the sums of the differences themselves, so that a distance of zero is zero."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.classes import label_by_probability
from mlconvert.pipelines.functions import clipped
from mlconvert.pipelines.graph import Tensor, dense
from mlconvert.pipelines.scaling import normalised

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns

ROWS_ASKED = 1000  # at most twice as many training rows are asked for their neighbours
_POWERS = {"cityblock": 1.0, "euclidean": 2.0, "l1": 1.0, "l2": 2.0, "manhattan": 1.0, "sqeuclidean": 2.0}


def neighbours_classifier(build: Build, part: Any, method: str, given: Columns) -> Tensor:
    """Of neighbors/_classification.py: the weights of the neighbours, class by class."""
    if part.outputs_2d_:
        raise build.refused("it gives several labels a row")
    distances, places = build.once(part, "nearest", given, lambda: _nearest(build, part, given))
    labels = build.graph.gather(np.asarray(part._y, np.int64).reshape(-1), places)
    weights = _weights(build, part, build.numbers(given), distances)
    found = []
    for number in range(len(part.classes_)):
        of_class = labels.equals(number).cast(build.floats)
        found.append((of_class if weights is None else of_class * weights).reduced("ReduceSum"))
    votes = build.graph.concat(found)
    if method == "predict":
        return label_by_probability(build, part.classes_, votes)
    return votes / votes.reduced("ReduceSum")


def neighbours_regressor(build: Build, part: Any, given: Columns) -> Tensor:
    """Of neighbors/_regression.py: the mean, or the weighted mean, of the neighbours' values."""
    distances, places = _nearest(build, part, given)
    weights = _weights(build, part, build.numbers(given), distances)
    values = np.asarray(part._y, np.float64).reshape(len(part._y), -1)
    found = []
    for column in values.T:
        own = build.graph.gather(column.astype(build.floats), places)
        if weights is None:
            found.append(own.reduced("ReduceMean"))
        else:
            found.append((own * weights).reduced("ReduceSum") / weights.reduced("ReduceSum"))
    together = build.graph.concat(found)
    return together.flat() if part._y.ndim == 1 else together


def _weights(build: Build, part: Any, x: Tensor, distances: Tensor) -> Tensor | None:
    """Of neighbors/_base.py, _get_weights: the inverse of the distance; where one is zero, only those that are."""
    if part.weights in (None, "uniform"):
        return None
    if part.weights != "distance":
        raise build.refused("its weights are a function", "use weights='distance'")
    if part._fit_method == "brute" and part.effective_metric_ in ("cosine", "euclidean", "sqeuclidean"):
        hint = "fit it with algorithm='kd_tree'"
        raise build.refused("weights='distance' with brute force: it finds no distance of zero in scikit-learn", hint)
    if len(np.unique(dense(part._fit_X), axis=0)) < len(dense(part._fit_X)):
        build.need_bits(x, "weights='distance' asks which of its equal training rows are given")
    graph = build.graph
    zero = distances.equals(0.0)
    hit = zero.cast(build.floats).reduced("ReduceMax") > 0.0
    return graph.where(hit, zero.cast(build.floats), 1.0 / graph.where(zero, 1.0, distances))


def _nearest(build: Build, part: Any, given: Columns) -> tuple[Tensor, Tensor]:
    """The distances [N, k] of the nearest training rows, and their numbers."""
    rows, x = dense(part._fit_X), build.numbers(given)
    if part.metric == "cosine":
        sizes = np.sqrt((rows * rows).sum(axis=1, keepdims=True))
        alike = normalised(x, "l2", 10 * float(np.finfo(build.floats).eps)) @ (rows / np.where(sizes > 0, sizes, 1)).T
        distances = clipped(1.0 - alike, 0.0, 2.0)
    else:
        distances = _distances(build, part, x, rows)
    _refuse_ties(build, part)
    return build.graph.top_k(distances, part.n_neighbors, largest=False)


def _refuse_ties(build: Build, part: Any) -> None:
    """Refuse a model where training rows have, as their last neighbour, one of several at the same distance that would
    answer differently: which of them scikit-learn takes depends on the order in which it meets them.
    """
    count, rows = part.n_neighbors, part._fit_X
    if rows.shape[0] <= count:
        return
    asked = rows[:: max(1, rows.shape[0] // ROWS_ASKED)]
    distances, places = part.kneighbors(asked, count + 1)
    same = np.isclose(distances[:, -1], distances[:, -2], rtol=1e-12, atol=0)
    answers = np.asarray(part._y).reshape(rows.shape[0], -1)
    differ = (answers[places[:, -1]] != answers[places[:, -2]]).any(axis=1)
    if wrong := int(np.sum(same & differ)):
        reason = f"for {wrong} of {len(asked)} of its training rows, several others share place {count}"
        raise build.refused(f"{reason}, and they answer differently", "use another n_neighbors, or another model")


def _distances(build: Build, part: Any, x: Tensor, rows: np.ndarray) -> Tensor:
    """[N, S], row by row: all differences at once would be N * S * F numbers."""
    from onnx import TensorProto, helper

    metric = part.metric
    power = float(part.p) if metric == "minkowski" else _POWERS.get(metric) if isinstance(metric, str) else None
    if power in (None, np.inf) or part.metric_params:  # many distances of chebyshev are equal: any could come first
        known = ", ".join(sorted({*_POWERS, "cosine", "minkowski"}))
        raise build.refused(f"metric={metric!r} has no exact ONNX form here", f"known, without metric_params: {known}")
    graph = build.graph
    body = graph.inside()
    row = Tensor(body, graph.name("row"), x.dtype, x.width)
    off = body.op("Sub", row, rows.astype(x.dtype)).apply("Abs")
    raised = off if power == 1 else off * off if power == 2 else body.op("Pow", off, power)
    total = raised.reduced("ReduceSum", keep=False)
    if metric != "sqeuclidean" and power != 1:
        total = total.apply("Sqrt") if power == 2 else body.op("Pow", total, 1 / power)
    kind = TensorProto.DOUBLE if x.dtype == "float64" else TensorProto.FLOAT
    inner = helper.make_graph(
        body.nodes,
        "distances",
        [helper.make_tensor_value_info(row.name, kind, [x.width])],
        [helper.make_tensor_value_info(total.name, kind, [len(rows)])],
    )
    return graph.scan(x, inner, len(rows))
