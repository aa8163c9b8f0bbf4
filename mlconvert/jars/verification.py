"""The rows that a jar tests itself with: at the thresholds of its trees, and the answers to them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from mlconvert.forests.evaluation import answers as tree_answers
from mlconvert.forests.evaluation import sums
from mlconvert.jars.model import JarModel, Steps, Table

ROWS = 32
SEED = 32
FILLING, PRODUCT, TABLE, COUNT = (3, 4), 8, 9, 10  # operations


def verification_rows(model: JarModel) -> bytes:
    """How many rows, the rows, and their answers, as `Main` reads them."""
    rows = _rows(model)
    looked = [len(model.names) + index for index, one in enumerate(model.steps.operation) if one == TABLE]
    rows = rows[~np.isinf(prepared(model.steps, rows)[:, looked]).any(axis=1)]  # the others are refused
    answers = answer_columns(model, rows)
    numbers = np.concatenate([rows.reshape(-1), answers.reshape(-1)]).astype(">f8")
    return struct.pack(">i", len(rows)) + numbers.tobytes()


def _rows(model: JarModel) -> np.ndarray:
    from mlconvert.forests.boundary import boundary_rows

    random = np.random.default_rng(SEED)
    width = len(model.names)
    rows = random.normal(size=(ROWS, width)).round(3)
    if not model.steps.operation and model.columns == tuple(range(width)) and len(model.trees.forest.feature):
        edges = boundary_rows(model.trees.forest, count=ROWS, seed=SEED, around=rows)
        rows = np.concatenate([edges, rows])[:ROWS]
    for column, texts in model.texts.items():
        rows[:, column] = random.integers(0, len(texts), ROWS)
    for column, table in _tables_of_columns(model):
        if column not in model.texts and len(table.keys):
            rows[:, column] = random.choice(table.keys, ROWS)
    return rows


def _tables_of_columns(model: JarModel) -> Iterator[tuple[int, Table]]:
    """The row's own columns that a table looks at, straight or behind what fills in missing values."""
    width, steps = len(model.names), model.steps
    for operation, column, first in zip(steps.operation, steps.column, steps.first, strict=True):
        own = column
        while own >= width and steps.operation[own - width] in FILLING:
            own = steps.column[own - width]
        if operation == TABLE and own < width:
            yield own, steps.tables[int(first)]


def answer_columns(model: JarModel, rows: np.ndarray) -> np.ndarray:
    """What the jar answers to rows [n, F], with codes for texts: float64 [n, W], a label as its place."""
    trees = model.trees
    columns = prepared(model.steps, rows)[:, list(model.columns)]
    found = tree_answers(trees, columns)
    if trees.task == "value":
        return found["variable"].astype(np.float64)
    label = found["label"].astype(np.float64) if trees.task == "outlier" else _places(trees.classes, found["label"])
    if model.answers == "scores" and trees.task != "outlier":
        own = sums(trees, columns)
    else:
        own = found["scores" if trees.task == "outlier" else "probabilities"]
    return np.concatenate([label.reshape(-1, 1), own.astype(np.float64)], axis=1)


def _places(classes: tuple[int, ...] | tuple[str, ...], labels: np.ndarray) -> np.ndarray:
    place = {one: index for index, one in enumerate(classes)}
    return np.array([place[one] for one in labels.tolist()], np.float64)


def prepared(steps: Steps, rows: np.ndarray) -> np.ndarray:
    """The rows and the columns that the steps make of them, as `Model` makes them."""
    columns = [rows[:, index] for index in range(rows.shape[1])]
    with np.errstate(all="ignore"):
        for operation, column, a, b in zip(steps.operation, steps.column, steps.first, steps.second, strict=True):
            columns.append(_made(steps, operation, columns[column], a, b, columns))
    return np.stack(columns, axis=1) if columns else rows


def _made(steps: Steps, operation: int, x: np.ndarray, a: float, b: float, columns: list[np.ndarray]) -> np.ndarray:
    if operation == PRODUCT:
        return np.asarray(x * columns[int(a)])
    if operation == TABLE:
        return _looked(steps, x, int(a), b)
    if operation == COUNT:
        return np.searchsorted(steps.tables[int(a)].keys, x, side="right").astype(np.float64)
    return np.asarray(OPERATIONS[operation](x, a, b), np.float64)


OPERATIONS: tuple[Callable[[np.ndarray, float, float], Any], ...] = (
    lambda x, a, b: (x - a) / b,
    lambda x, a, b: x * a + b,
    lambda x, a, b: np.where(x < a, a, np.where(x > b, b, x)),
    lambda x, a, _: np.where(np.isnan(x), a, x),
    lambda x, a, b: np.where(x == a, b, x),
    lambda x, _, __: np.isnan(x),
    lambda x, a, _: x == a,
    lambda x, a, _: x > a,
)


def _looked(steps: Steps, x: np.ndarray, table: int, otherwise: float) -> np.ndarray:
    known = steps.tables[table]
    place = np.searchsorted(known.keys, x)
    near = np.minimum(place, max(0, len(known.keys) - 1))
    met = known.keys[near] == x if len(known.keys) else np.zeros(len(x), bool)
    found = np.where(met, known.values[near] if len(known.keys) else 0.0, otherwise)
    return np.where(np.isnan(x), known.missing, found)
