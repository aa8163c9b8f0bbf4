"""Boundary rows for a fitted estimator: for its trees, for those at the end of a pipeline, and for those of others
that it asks.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.behind_steps import Columns, rows_behind
from mlconvert.forests.boundary import boundary_rows
from mlconvert.forests.boundary_features import Features
from mlconvert.forests.estimators import text_columns, tree_model_of
from mlconvert.forests.model import Forest
from mlconvert.readers.estimator_answers import outputs_of, table_of
from mlconvert.readers.estimators import column_names

Samples = dict[str, np.ndarray]

# Estimators that hand their own table to others: the attributes that these are in.
ASKED = {
    "AdaBoostRegressor": "estimators_",
    "CalibratedClassifierCV": "calibrated_classifiers_",
    "FixedThresholdClassifier": "estimator_",
    "MultiOutputClassifier": "estimators_",
    "MultiOutputRegressor": "estimators_",
    "OneVsOneClassifier": "estimators_",
    "OneVsRestClassifier": "estimators_",
    "StackingClassifier": "estimators_",
    "StackingRegressor": "estimators_",
    "TransformedTargetRegressor": "regressor_",
    "TunedThresholdClassifierCV": "estimator_",
    "VotingClassifier": "estimators_",
    "VotingRegressor": "estimators_",
    "_CalibratedClassifier": "estimator",
}


@dataclass(frozen=True)
class Trees:
    """A forest within an estimator, the steps before it, and its columns of text with their categories."""

    forest: Forest
    alone: bool  # it is all that the estimator is
    steps: tuple[Any, ...]
    texts: Mapping[int, tuple[str, ...]]


def estimator_rows(
    estimator: Any, samples: Mapping[str, np.ndarray], where: str, *, count: int, seed: int
) -> Samples | None:
    """At most `count` rows for an estimator, at the thresholds of its trees: made of `samples`, under the same names,
    of the same types and shapes but for the rows.

    Without samples (an empty mapping) an estimator that is nothing but trees gets columns of float64 and of text. Text
    varies among the known categories and an unknown one, where the trees themselves take it; otherwise it is as
    in the samples. None for an estimator without trees that can be read exactly, or whose trees' columns cannot be
    traced back to the table's.
    """
    parts = list(_trees(estimator, where, (), alone=True))[:count]
    made = []
    for index, part in enumerate(parts):
        samples = samples or (_first_samples(estimator, part, seed) if part.alone else {})
        share = count // len(parts) + (index < count % len(parts))
        rows = _rows(estimator, part, samples, count=share, seed=seed + index)
        if rows is not None and len(next(iter(rows.values()))):
            made.append(rows)
    if not made:
        return None
    return {name: np.concatenate([rows[name] for rows in made]) for name in made[0]}


def _trees(estimator: Any, where: str, steps: tuple[Any, ...], *, alone: bool) -> Iterator[Trees]:
    if hasattr(estimator, "steps"):  # a pipeline
        before, last = estimator[:-1], estimator.steps[-1][1]
        steps = (*steps, before) if len(before.steps) else steps
        yield from _trees(last, where, steps, alone=alone and not steps)
        return
    asked = getattr(estimator, ASKED.get(type(estimator).__name__, ""), None)
    if asked is not None:
        for other in asked if isinstance(asked, list) else [asked]:
            yield from _trees(other, where, steps, alone=False)
        return
    try:
        model = tree_model_of(estimator, where, text_as_codes=True)
        texts = {found.column: found.categories for found in text_columns(estimator, where)} if model else {}
    except ConversionFailed:  # it answers, but its trees are none that could be read
        return
    if model is not None:
        # Scalers, imputers and most estimators that ask others refuse infinities.
        forest = model.forest if alone else replace(model.forest, takes_infinity=False)
        yield Trees(forest, alone, steps, texts)


def _first_samples(estimator: Any, trees: Trees, seed: int) -> Samples:
    """Rows to start from, near the thresholds: one input [n, 1] for each column, or one matrix for unnamed ones."""
    random = np.random.default_rng(seed)
    matrix = Features.of(trees.forest).rows(256, random)
    columns: Columns = [
        random.choice(trees.texts[index], len(matrix)) if index in trees.texts else values
        for index, values in enumerate(matrix.T)
    ]
    names = column_names(estimator)
    return {name: values[:, None] for name, values in zip(names, columns, strict=True)} if names else {"input": matrix}


def _rows(estimator: Any, trees: Trees, samples: Mapping[str, np.ndarray], *, count: int, seed: int) -> Samples | None:
    names = column_names(estimator)
    by_column = bool(names) and set(names) <= samples.keys()
    matrix = None if by_column else samples.get("input")
    if not by_column and (matrix is None or matrix.ndim != 2):
        return None
    if matrix is not None and trees.alone and matrix.dtype == np.float64:
        return {"input": boundary_rows(trees.forest, count=count, seed=seed, around=matrix)}

    def as_samples(columns: Columns) -> Samples:
        if not by_column:
            return {"input": np.column_stack(columns)}
        return {name: values.reshape(-1, *samples[name].shape[1:]) for name, values in zip(names, columns, strict=True)}

    def forward(columns: Columns) -> np.ndarray:
        return _seen(trees, columns if not trees.steps else table_of(estimator, as_samples(columns)))

    table = [samples[name].reshape(-1) for name in names] if by_column else list(samples["input"].T)
    # Behind steps the trees' columns of text are not the table's.
    texts = {} if trees.steps else trees.texts
    # Steps are asked about numbers of every size, and some warn of them; some, and some estimators, refuse NaN.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for forest in (trees.forest, replace(trees.forest, takes_nan=False)):
            with contextlib.suppress(TypeError, ValueError):
                columns = rows_behind(forest, forward, table, count=count, seed=seed, texts=texts)
                if columns is None:
                    return None
                rows = as_samples(columns)
                outputs_of(estimator, table_of(estimator, rows))
                return rows
    return None


def _seen(trees: Trees, table: Any) -> np.ndarray:
    """What the trees see of a table: float64 [n, F]."""
    if not trees.steps:
        return coded(table, trees.texts)
    for step in trees.steps:
        table = step.transform(table)
    return np.asarray(table.toarray() if hasattr(table, "toarray") else table, np.float64)


def coded(columns: Columns, texts: Mapping[int, tuple[str, ...]]) -> np.ndarray:
    """The columns [n] of a table as trees take them: float64 [n, F], text as the number of its category, else NaN."""
    return np.column_stack([_numbers(values, texts.get(index)) for index, values in enumerate(columns)])


def _numbers(values: np.ndarray, categories: tuple[str, ...] | None) -> np.ndarray:
    if categories is None:
        return values.astype(np.float64)
    codes = {category: code for code, category in enumerate(categories)}
    return np.array([codes.get(text, np.nan) for text in values.tolist()], np.float64)
