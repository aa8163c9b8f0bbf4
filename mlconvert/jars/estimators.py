"""A fitted estimator of scikit-learn as a JarModel: steps that prepare a row, and a forest or a linear model.

The steps are those that give the library's own numbers to the last bit, as trees behind them compare what they are
given: scaling, imputing, encoding, selecting. What is not here is refused by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlconvert.forests.estimators import text_columns, tree_model_of
from mlconvert.forests.model import Link, TreeModel
from mlconvert.forests.sklearn_trees import class_labels
from mlconvert.jars.columns import Build, Column, Columns
from mlconvert.jars.model import Answers, JarModel, linear_forest
from mlconvert.jars.transformers import transformed
from mlconvert.pipelines.build import is_stock
from mlconvert.pipelines.graph import dense
from mlconvert.pipelines.linear import (
    generalized_linear,
    is_softmax,
    linear_classifier,
    linear_regressor,
    weights_of,
)
from mlconvert.pipelines.writers import PREDICTORS, WRITERS
from mlconvert.readers.estimator_answers import methods_of

HOLDERS = {
    **dict.fromkeys(
        ("GridSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV", "RandomizedSearchCV"), "best_estimator_"
    ),
    "FrozenEstimator": "estimator",
}
# Those that are written to ONNX in the same way.
LINEAR_CLASSIFIERS = frozenset(name for name, writer in WRITERS.items() if writer is linear_classifier)
LINEAR_REGRESSORS = frozenset(name for name, writer in PREDICTORS.items() if writer is linear_regressor)
GENERALIZED = frozenset(name for name, writer in PREDICTORS.items() if writer is generalized_linear)


def jar_model(estimator: Any, names: Sequence[str], texts: frozenset[int], where: str) -> JarModel:
    """The model of an estimator that takes columns of these names; `texts` are those that hold text.

    Raises ConversionFailed, naming the part by its place, for what has no exact form in a jar, UsageError where a
    column is not of the type that a part was fitted on.
    """
    build = Build(tuple(names), where)
    given = tuple(Column(index, index if index in texts else None) for index in range(len(names)))
    answers: Answers = "variable"
    methods = methods_of(estimator)
    if "label" in methods:
        answers = "probabilities" if "probabilities" in methods else "scores"
    trees, columns = _predictor(build, estimator, given, "")
    if (trees.task == "value") != (answers == "variable"):
        raise build.refused(f"a {type(estimator).__name__} that gives {', '.join(methods)} has no form in a jar")
    return JarModel(
        trees,
        answers,
        tuple(names),
        tuple(column.number for column in columns),
        build.steps(),
        {index: tuple(build.codes.get(index, ())) or ("",) for index in sorted(texts)},
    )


def _predictor(build: Build, part: Any, given: Columns, name: str) -> tuple[TreeModel, Columns]:
    """The model at the end, and the columns that it takes."""
    with build.at(name, part):
        held = HOLDERS.get(type(part).__name__) if is_stock(part) else None
        if held:
            return _predictor(build, getattr(part, held), given, held.rstrip("_"))
        if type(part).__name__ == "Pipeline" and is_stock(part):
            for step_name, step in part.steps[:-1]:
                given = transformed(build, step, given, step_name)
            return _predictor(build, part.steps[-1][1], given, part.steps[-1][0])
        trees = tree_model_of(part, build.where, text_as_codes=True)
        if trees is not None:
            return trees, _coded(build, part, given)
        given = tuple(map(build.number, given))
        kind = type(part).__name__
        if not is_stock(part) or kind not in LINEAR_CLASSIFIERS | LINEAR_REGRESSORS | GENERALIZED:
            raise build.refused()
        return _linear(build, part, kind), given


def _coded(build: Build, part: Any, given: Columns) -> Columns:
    """Columns of text as the numbers that trees take for them."""
    columns = {found.column: found.categories for found in text_columns(part, build.where)}
    found = []
    for index, column in enumerate(given):
        if index in columns:
            if column.text is None:
                raise build.wrong_type(column, "holds numbers", "was fitted on text in its place")
            values = np.append(np.arange(len(columns[index]), dtype=np.float64), np.nan)
            found.append(build.looked_up(column, np.array(columns[index], dtype=object), values))
        else:
            found.append(build.number(column))
    return tuple(found)


def _linear(build: Build, part: Any, kind: str) -> TreeModel:
    weights = weights_of(part)
    intercept = np.broadcast_to(np.atleast_1d(dense(part.intercept_)), (len(weights),)).astype(np.float64)
    forest = linear_forest(weights, intercept)
    base = (0.0,) * len(weights)
    if kind in GENERALIZED:
        own = type(part._base_loss.link).__name__
        if own not in ("IdentityLink", "LogLink"):
            raise build.refused(f"its link {own} has no form in a jar")
        return TreeModel(forest, "value", base, Link("exp" if own == "LogLink" else "identity"))
    if kind in LINEAR_REGRESSORS:
        return TreeModel(forest, "value", base, Link("identity"))
    classes = class_labels(part, build.where)
    if np.ndim(part.classes_) != 1 or max(2, len(weights)) != len(classes):
        raise build.refused("it gives several labels a row")
    likely = hasattr(part, "predict_proba")
    if likely and getattr(part, "loss", "") == "modified_huber":
        raise build.refused("its probabilities by loss='modified_huber' have no form in a jar")
    if len(weights) == 1:
        return TreeModel(forest, "binary", base, Link("sigmoid"), classes=classes)
    if likely and not is_softmax(part):
        raise build.refused("its one-versus-rest probabilities have no form in a jar")
    link = Link("softmax" if likely else "identity")
    return TreeModel(forest, "multiclass", base, link, classes=classes, label_by_sums=True)
