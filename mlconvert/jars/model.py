"""What a jar is made of: steps that prepare a row, a forest, and what its sums mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mlconvert.forests.model import Forest, LinearLeaves, TreeModel

Answers = Literal["probabilities", "scores", "variable"]


@dataclass(frozen=True)
class Table:
    """Values for keys, which rise; `missing` is the value for NaN."""

    keys: np.ndarray  # float64
    values: np.ndarray  # float64
    missing: float


@dataclass(frozen=True)
class Steps:
    """Operations, each of which makes a column of one before it; the first columns are the row's own.

    0: (x - a) / b; 1: x * a + b; 2: x between a and b; 3: a for NaN; 4: b for a; 5: whether x is NaN; 6: whether x is
    a; 7: whether x is above a; 8: x times the column a; 9: what the table a has for x, or b, where infinity says that
    the row is refused; 10: how many keys of the table a are at most x.
    """

    operation: tuple[int, ...] = ()
    column: tuple[int, ...] = ()
    first: tuple[float, ...] = ()
    second: tuple[float, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class JarModel:
    """`trees` takes the columns that `columns` names: the row's own, and behind them those of the steps."""

    trees: TreeModel
    answers: Answers
    names: tuple[str, ...]  # of the row's own columns
    columns: tuple[int, ...]  # for each feature of the forest
    steps: Steps = field(default_factory=Steps)
    texts: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # columns of text: a text's place is its number


def of_trees(model: TreeModel) -> JarModel:
    """A model of trees alone."""
    features = model.forest.features
    names = model.feature_names or tuple(f"f{index}" for index in range(features))
    answers: Answers = "probabilities"
    if model.task in ("value", "outlier"):
        answers = "variable" if model.task == "value" else "scores"
    return JarModel(model, answers, names, tuple(range(features)))


def linear_forest(weights: np.ndarray, intercept: np.ndarray) -> Forest:
    """`x @ weights.T + intercept` as a forest: for each output [K], a tree that is one leaf, a sum of features [F]."""
    outputs, features = weights.shape
    nothing = np.empty(0, np.int32)
    return Forest(
        features=features,
        compares="float64",
        strict=False,
        roots=~np.arange(outputs, dtype=np.int32),
        feature=nothing,
        threshold=np.empty(0),
        left=nothing,
        right=nothing,
        missing_left=np.empty(0, bool),
        category_set=nothing,
        set_bounds=np.zeros(1, np.int64),
        set_values=np.empty(0),
        leaf_values=np.full((outputs, 1), np.nan),  # the answer where a feature is NaN
        leaf_ids=np.zeros(outputs, np.int32),
        tree_output=np.arange(outputs, dtype=np.int32),
        truncates=np.zeros(features, bool),
        zero_is_missing=np.zeros(features, bool),
        linear=LinearLeaves(
            intercept.astype(np.float64),
            np.tile(np.arange(features, dtype=np.int32), (outputs, 1)),
            weights.astype(np.float64),
        ),
        takes_nan=False,
    )


def answers_of(model: JarModel) -> list[tuple[str, int]]:
    """The outputs and their widths, in the order of an answer's columns."""
    tree_model = model.trees
    if model.answers == "variable":
        return [("variable", tree_model.outputs)]
    binary = tree_model.task == "binary" and model.answers == "probabilities"
    return [("label", 1), (model.answers, 2 if binary else tree_model.outputs)]
