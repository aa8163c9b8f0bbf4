"""Parts that only pass columns on to others: pipelines, unions, column transformers, selections, wrappers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns, Writer


def pipeline(build: Build, part: Any, method: str, given: Columns) -> Columns:
    *before, (last_name, last) = part.steps
    for name, step in before:
        given = _transformed(build, step, given, name)
    if method == "transform":
        return _transformed(build, last, given, last_name)
    return build.columns(last, method, given, last_name)


def feature_union(build: Build, part: Any, given: Columns) -> Columns:
    """Of pipeline.py: the results side by side, each times its weight."""
    weights = part.transformer_weights or {}
    found: Columns = ()
    for name, step in part.transformer_list:
        if step != "drop":
            found += _weighted(build, _transformed(build, step, given, name), weights.get(name))
    return found


def column_transformer(build: Build, part: Any, given: Columns) -> Columns:
    """Of compose/_column_transformer.py: each step gets its columns; results side by side, in their order."""
    weights = part.transformer_weights or {}
    found: Columns = ()
    for name, step, _ in part.transformers_:
        which = part._transformer_to_input_indices[name]
        if (isinstance(step, str) and step == "drop") or not len(which):
            continue
        found += _weighted(build, _transformed(build, step, build.take(given, which), name), weights.get(name))
    if not found:
        raise build.refused("it gives no columns")
    return found


def _transformed(build: Build, step: Any, given: Columns, name: str) -> Columns:
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return given
    return build.columns(step, "transform", given, name)


def _weighted(build: Build, columns: Columns, weight: float | None) -> Columns:
    return columns if weight is None else (build.numbers(columns) * float(weight),)


def held(name: str) -> Writer:
    """A writer for parts that hand every method on to the one they hold under this name."""

    def write(build: Build, part: Any, method: str, given: Columns) -> Columns:
        return build.columns(getattr(part, name), method, given, name.rstrip("_"))

    return write


def selection(build: Build, part: Any, method: str, given: Columns) -> Columns:
    """SelectorMixin: some of the columns. RFE and RFECV answer for their estimator too."""
    chosen = build.take(given, np.flatnonzero(part.get_support()).tolist())
    if not chosen:
        raise build.refused("it selects no columns")
    if method == "transform":
        return chosen
    return build.columns(part.estimator_, method, chosen, "estimator")
