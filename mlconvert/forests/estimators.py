"""The trees of a fitted estimator: scikit-learn's own, and the wrappers of LightGBM, XGBoost and CatBoost."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from inspect import getattr_static
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.forests.histogram_boosting import CategoryCodes, category_codes, read_histogram_boosting
from mlconvert.forests.model import TreeModel, check_forest
from mlconvert.forests.sklearn_bagging import read_bagging, read_isolation_forest
from mlconvert.forests.sklearn_boosting import read_adaboost, read_gradient_boosting
from mlconvert.forests.sklearn_trees import class_labels, read_forest, read_tree
from mlconvert.readers.estimators import column_names, type_name

Reader = Callable[[Any, str], TreeModel]

# What answers, or makes the rows that are answered: a subclass that changes one of these is another estimator.
ANSWERS = (
    *("predict", "predict_proba", "decision_function", "score_samples", "apply"),
    *("_check_X", "_compute_score_samples", "_predict_iterations", "_preprocess_X"),
    *("_raw_predict", "_raw_predict_init", "_validate_X_predict"),
)


def tree_model_of(estimator: Any, where: str, *, text_as_codes: bool = False) -> TreeModel | None:
    """What a fitted estimator answers, as a TreeModel; None for one that is no tree ensemble.

    A subclass counts as its parent unless it answers in a way of its own. None is also for those whose answer is no
    sum of trees, though they may hold some: AdaBoostRegressor (a median), RandomTreesEmbedding, and Bagging and
    AdaBoost over anything but single trees.

    `text_as_codes`: see `text_columns`; without, an estimator with columns of text is refused. Raises
    ConversionFailed, naming the class, for trees that cannot be said exactly, are damaged or not fitted.
    """
    known = _known(type(estimator), READERS)
    if known is None:
        return None
    name, reader = type(estimator).__name__, READERS[type_name(known)]
    _check_fitted(estimator, where)
    if type_name(known) in OVER_TREES and not all(_is_single_tree(part) for part in estimator.estimators_):
        return None
    if changed := _changed(type(estimator), known):
        what = f"the {name} has a {changed} of its own: it does not answer as {known.__name__} does"
        raise ConversionFailed(what, where=where)
    try:
        if reader is read_histogram_boosting:
            model = read_histogram_boosting(estimator, where, text_as_codes=text_as_codes)
        else:
            model = reader(estimator, where)
        check_forest(model.forest)
    except (ValueError, IndexError) as error:
        raise ConversionFailed(f"the trees of the {name} are damaged: {error}", where=where) from error
    return model


def text_columns(estimator: Any, where: str) -> tuple[CategoryCodes, ...]:
    """The columns of text that the trees of a fitted estimator take as codes; empty for most.

    With `text_as_codes` the model takes, in such a column, the place of a text in `categories` as a float64, and NaN
    for any other text. Raises ConversionFailed for categories that are neither numbers nor text.
    """
    return category_codes(estimator, where) if _known(type(estimator), HISTOGRAM_BOOSTING) else ()


def _known(own: type, table: dict[str, Reader]) -> type | None:
    """The class itself, or its nearest parent, that is in a table."""
    return next((cls for cls in own.__mro__ if type_name(cls) in table), None)


def _changed(own: type, known: type) -> str | None:
    """The name of something that answers in `own` otherwise than in `known`."""
    # Not getattr: methods that come and go with a parameter are made anew each time that they are asked for.
    mine, theirs = ({name: getattr_static(cls, name, None) for name in ANSWERS} for cls in (own, known))
    return next((name for name in ANSWERS if mine[name] is not theirs[name]), None)


def _is_single_tree(estimator: Any) -> bool:
    known = _known(type(estimator), SINGLE_TREES)
    return known is not None and _changed(type(estimator), known) is None


def _check_fitted(estimator: Any, where: str) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(estimator)
        fitted = getattr(estimator, "is_fitted", lambda: True)()  # CatBoost's own
    except NotFittedError:
        fitted = False
    if not fitted:
        what = f"the {type(estimator).__name__} is not fitted"
        raise ConversionFailed(what, where=where, hint="fit it first")


# --- the wrappers of other libraries ---


def _lightgbm(estimator: Any, where: str) -> TreeModel:
    """The booster up to its best iteration, which is what the wrapper predicts with, and the wrapper's classes."""
    from mlconvert.forests.lightgbm import read_lightgbm

    name, booster = type(estimator).__name__, estimator.booster_
    if any(booster.pandas_categorical or ()):
        raise _category_columns(estimator, "with categorical_feature=[...]", where)
    if estimator.get_params().get("pred_early_stop"):
        what = f"the {name} has pred_early_stop: it does not add up all trees"
        raise ConversionFailed(what, where=where)
    return _wrapped(estimator, read_lightgbm(booster.model_to_string().encode(), where), where)


def _xgboost(estimator: Any, where: str) -> TreeModel:
    """The booster up to its best iteration, which is what the wrapper predicts with, and the wrapper's classes."""
    from mlconvert.forests.xgboost import read_xgboost, trees_of_rounds

    name, booster = type(estimator).__name__, estimator.get_booster()
    if estimator.missing is not None and not math.isnan(estimator.missing):
        what = f"the {name} takes {estimator.missing} for a missing value: missing={estimator.missing}"
        raise ConversionFailed(what, where=where, hint="put NaN there, and train it with missing=nan")
    if callable(estimator.objective):
        raise ConversionFailed(f"the {name} has an objective of the user's own", where=where)
    best = getattr(estimator, "best_iteration", None)  # there is one after early stopping only
    trees = None
    if best is not None and estimator.booster != "gblinear":  # which the reader refuses
        trees = trees_of_rounds(booster, best + 1)
    model = _wrapped(estimator, read_xgboost(booster, where, trees=trees), where)
    if not booster.get_categories().empty():
        raise _category_columns(estimator, "with feature_types=['q', 'c', ...]", where)
    if model.task != "multiclass":
        return model
    by_sums = estimator.objective == "multi:softmax"  # else the wrapper looks for the largest probability
    if len(model.classes) == 2 and not by_sums:
        what = f"the {name} with {estimator.objective} and two classes predicts each of them as a label of its own"
        raise ConversionFailed(what, where=where, hint="train it with objective='binary:logistic'")
    return replace(model, label_by_sums=by_sums)


def _catboost(estimator: Any, where: str) -> TreeModel:
    from mlconvert.forests.catboost import read_catboost

    return read_catboost(estimator, where)


def _category_columns(estimator: Any, how: str, where: str) -> ConversionFailed:
    what = f"the {type(estimator).__name__} was fitted on data frame columns of the dtype category, and has their codes"
    return ConversionFailed(what, where=where, hint=f"fit it on whole numbers, {how}")


def _wrapped(estimator: Any, model: TreeModel, where: str) -> TreeModel:
    """A booster's model with the answers of its wrapper: classifiers give labels of their own, others only values."""
    from sklearn.base import is_classifier

    names = column_names(estimator) or model.feature_names
    if not is_classifier(estimator):
        if model.task == "multiclass":
            what = f"the {type(estimator).__name__} has an objective with classes, and gives no labels"
            raise ConversionFailed(what, where=where, hint="train a classifier")
        return replace(model, task="value", classes=(), feature_names=names)
    classes = class_labels(estimator, where)
    if len(classes) != len(model.classes):
        counted = "1 class" if len(classes) == 1 else f"{len(classes)} classes"
        what = f"the {type(estimator).__name__} has {counted}, its booster {len(model.classes)}"
        raise ConversionFailed(what, where=where)
    return replace(model, classes=classes, feature_names=names)


# --- the tables ---


_FOREST, _TREE = "sklearn.ensemble._forest.", "sklearn.tree._classes."

SINGLE_TREES: dict[str, Reader] = {
    f"{_TREE}DecisionTreeClassifier": read_tree,
    f"{_TREE}DecisionTreeRegressor": read_tree,
    f"{_TREE}ExtraTreeClassifier": read_tree,
    f"{_TREE}ExtraTreeRegressor": read_tree,
}
# Sums of trees if what they hold are single trees.
OVER_TREES: dict[str, Reader] = {
    "sklearn.ensemble._bagging.BaggingClassifier": read_bagging,
    "sklearn.ensemble._bagging.BaggingRegressor": read_bagging,
    "sklearn.ensemble._iforest.IsolationForest": read_isolation_forest,
    "sklearn.ensemble._weight_boosting.AdaBoostClassifier": read_adaboost,
}
HISTOGRAM_BOOSTING: dict[str, Reader] = {
    f"sklearn.ensemble._hist_gradient_boosting.gradient_boosting.{name}": read_histogram_boosting
    for name in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
}
READERS: dict[str, Reader] = {
    **SINGLE_TREES,
    **OVER_TREES,
    **HISTOGRAM_BOOSTING,
    f"{_FOREST}ExtraTreesClassifier": read_forest,
    f"{_FOREST}ExtraTreesRegressor": read_forest,
    f"{_FOREST}RandomForestClassifier": read_forest,
    f"{_FOREST}RandomForestRegressor": read_forest,
    "sklearn.ensemble._gb.GradientBoostingClassifier": read_gradient_boosting,
    "sklearn.ensemble._gb.GradientBoostingRegressor": read_gradient_boosting,
    "catboost.core.CatBoostClassifier": _catboost,
    "catboost.core.CatBoostRanker": _catboost,
    "catboost.core.CatBoostRegressor": _catboost,
    "lightgbm.sklearn.LGBMClassifier": _lightgbm,
    "lightgbm.sklearn.LGBMRanker": _lightgbm,
    "lightgbm.sklearn.LGBMRegressor": _lightgbm,
    "xgboost.sklearn.XGBClassifier": _xgboost,
    "xgboost.sklearn.XGBRFClassifier": _xgboost,
    "xgboost.sklearn.XGBRFRegressor": _xgboost,
    "xgboost.sklearn.XGBRanker": _xgboost,
    "xgboost.sklearn.XGBRegressor": _xgboost,
}
