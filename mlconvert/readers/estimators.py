"""scikit-learn estimators: loading them from .skops, .pkl and .joblib files, and what they take and give.

A pickle runs whatever code its author put into it, so one is opened only when the user said `--trust`. A .skops
file names its types: it is opened when all of them are on the list in `mlconvert.readers.trusted_types` (beside those
that skops itself trusts), which holds nothing that does more than keep data and compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlconvert.errors import ConversionFailed
from mlconvert.readers import estimator_files
from mlconvert.readers.estimator_versions import refusing_newer

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact

Kind = Literal["classifier", "regressor", "clusterer", "outlier", "mixture", "transformer"]

# The first step of a pipeline that takes one column of text.
TEXT_STEPS = frozenset({"CountVectorizer", "TfidfVectorizer", "HashingVectorizer"})


def load_estimator(artifact: Artifact) -> Any:
    """The fitted estimator in a .skops, .pkl or .joblib file; a search (GridSearchCV, …) gives its best estimator.

    Raises UsageError when the file can run code and was not trusted, ConversionFailed when it cannot be read, or
    holds something that is no fitted estimator.
    """
    path = artifact.path
    load = estimator_files.load_skops if estimator_files.is_skops(path) else estimator_files.load_pickle
    with refusing_newer(str(path)):
        estimator = load(path, trusted=artifact.trusted)
    name = type_name(estimator)
    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        hint = None
        if name in ("lightgbm.basic.Booster", "xgboost.core.Booster"):
            hint = "save it as the library's own file: booster.save_model('model.txt') or ('model.json')"
        raise ConversionFailed(f"the file holds a {name}, not a scikit-learn estimator", where=str(path), hint=hint)
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    _check_fitted(estimator, path)
    return estimator


def type_name(value: Any) -> str:
    cls = value if isinstance(value, type) else type(value)
    return f"{cls.__module__}.{cls.__qualname__}"


def _check_fitted(estimator: Any, path: Path) -> None:
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    if type(estimator).__module__.partition(".")[0] == "catboost":
        fitted = estimator.is_fitted()
    else:
        try:
            check_is_fitted(estimator)
            fitted = True
        except NotFittedError:
            fitted = False
        except (TypeError, AttributeError):  # third parties that only look like an estimator
            fitted = True
    if not fitted:
        raise ConversionFailed(f"the {type(estimator).__name__} is not fitted", where=str(path), hint="fit it first")


# --- what an estimator is made of, takes and gives ---


def walk(estimator: Any) -> Iterator[tuple[str, Any]]:
    """The estimator and everything with a `fit` inside it, fitted or not, each once: (place, estimator).

    The place is a path of classes and of the names that they hold others under: `Pipeline > scale > StandardScaler`.
    """
    seen: set[int] = set()
    stack: list[tuple[tuple[str, ...], Any]] = [((), estimator)]
    while stack:
        where, value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if not isinstance(value, type) and hasattr(value, "fit"):
            where = (*where, type(value).__name__)
            yield " > ".join(where), value
        stack.extend(reversed([((*where, name), part) for name, part in _parts(value)]))


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (list, tuple)) or (type(value).__name__ == "ndarray" and value.dtype == object):
        for index, item in enumerate(value.ravel() if hasattr(value, "ravel") else value):
            named = isinstance(item, tuple) and len(item) > 1 and isinstance(item[0], str)
            if named or _may_hold_estimators(item):
                yield (item[0], item[1]) if named else (str(index), item)
    elif isinstance(value, dict):
        yield from ((str(key), item) for key, item in value.items() if _may_hold_estimators(item))
    elif _may_hold_estimators(value) and hasattr(value, "__dict__"):
        for key, item in vars(value).items():
            # The unfitted twins of fitted parts (transformers and transformers_) would be looked at twice.
            if f"{key}_" not in vars(value) and _may_hold_estimators(item):
                if key in ("steps", "transformers_", "transformer_list", "estimators_") and not hasattr(item, "fit"):
                    yield from _parts(item)
                else:
                    yield key, item


def _may_hold_estimators(value: Any) -> bool:
    if isinstance(value, (list, tuple, dict)):
        return len(value) < 100_000
    if type(value).__name__ == "ndarray":
        return bool(value.dtype == object)
    module = type(value).__module__.partition(".")[0]
    return not isinstance(value, type) and (hasattr(value, "fit") or module == "sklearn")


def final_step(estimator: Any) -> Any:
    """The last step of a pipeline (of pipelines), else the estimator itself."""
    while hasattr(estimator, "steps"):
        estimator = estimator.steps[-1][1]
    return estimator


def first_step(estimator: Any) -> Any:
    """The first step of a pipeline (of pipelines) that is more than a name, else the estimator itself."""
    while hasattr(estimator, "steps"):
        estimator = next((step for _, step in estimator.steps if not _passes(step)), estimator.steps[-1][1])
    return estimator


def _passes(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def kind_of(estimator: Any) -> Kind:
    """What an estimator is, from scikit-learn's tags; raises ConversionFailed where it cannot answer for new rows."""
    from sklearn import base

    def tagged(test: Any) -> bool:
        try:
            return bool(test(estimator))
        except AttributeError:  # no tags: a third party from before scikit-learn 1.6
            return False

    predicts, transforms = hasattr(estimator, "predict"), hasattr(estimator, "transform")
    old_type = getattr(final_step(estimator), "_estimator_type", None)
    if predicts and (tagged(base.is_classifier) or old_type == "classifier"):
        return "classifier"
    if predicts and tagged(base.is_outlier_detector):
        return "outlier"
    if predicts and tagged(base.is_clusterer):
        return "clusterer"
    if predicts:
        return "mixture" if hasattr(estimator, "predict_proba") else "regressor"
    if transforms:
        return "transformer"
    name = type(final_step(estimator)).__name__
    raise ConversionFailed(f"a {name} has neither predict nor transform: it gives no answers for new rows")


def has_probabilities(estimator: Any) -> bool:
    return hasattr(estimator, "predict_proba")


def column_names(estimator: Any) -> tuple[str, ...]:
    """The names of the columns that the estimator was fitted on, or nothing if it was fitted on an array."""
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        names = getattr(first_step(estimator), "feature_names_in_", None)
    return () if names is None else tuple(str(name) for name in names)


def feature_count(estimator: Any) -> int | None:
    if type(estimator).__module__.startswith("catboost."):  # its n_features_in_ is 0 once it was loaded
        return len(estimator.feature_names_)
    for holder in (estimator, first_step(estimator)):
        try:
            return int(holder.n_features_in_)
        except (AttributeError, TypeError, ValueError):
            continue
    return 1 if type(first_step(estimator)).__name__ == "IsotonicRegression" else None


def takes_text(estimator: Any) -> bool:
    """Whether the input is one column of text, for a vectoriser or several."""
    first = first_step(estimator)
    if type(first).__name__ == "FeatureUnion":
        return all(takes_text(step) for _, step in first.transformer_list)
    return type(first).__name__ in TEXT_STEPS


def is_matrix_like(estimator: Any) -> bool:
    """Whether one matrix of numbers can be the input: all columns are numeric, as far as the estimator shows."""
    if feature_count(estimator) is None:
        return False
    parts = [part for _, part in walk(estimator)]
    if column_names(estimator) and any(hasattr(part, "transformers_") for part in parts):
        return False
    learnt = [part.categories_ for part in parts if isinstance(getattr(part, "categories_", None), list)]
    learnt += [[part.statistics_] for part in parts if hasattr(part, "statistics_")]
    return not any(values.dtype.kind in "OUST" for lists in learnt for values in lists)


def label_values(labels: Any, what: str = "the labels") -> Any:
    """Labels as artifacts carry them: int64 (integers, booleans, whole floats) or numpy unicode strings."""
    import numpy as np

    labels = np.asarray(labels)
    if labels.dtype.kind in "biu":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f" and np.all(labels == np.trunc(labels)):
        return labels.astype(np.int64)
    if labels.dtype.kind == "U" or all(isinstance(label, str) for label in labels.ravel()):
        return labels.astype(np.str_)
    raise ConversionFailed(f"{what} are neither whole numbers nor strings", hint="encode them with a LabelEncoder")
