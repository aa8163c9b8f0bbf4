"""What an estimator answers to samples, under the agreed names: the reference, and what its conversion must look like.

An estimator of numbers only takes one float64 matrix `input`; one that was fitted on a data frame also takes one
input per column, which is the only way for one whose columns are not all numbers. One that begins with a text
vectoriser takes `input`, strings, one a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed, MlconvertError, UsageError
from mlconvert.readers import estimators
from mlconvert.readers.estimator_columns import check_columns
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np


def signature_of(estimator: Any, where: str) -> Signature | None:
    """The signature of an estimator of numbers or text, None for one that goes by columns of other types.

    The outputs are found by asking for one row. Raises ConversionFailed for an estimator of numbers that answers none
    of those that are tried: zeros, ones, and the first categories of an encoder.
    """
    import numpy as np

    names: tuple[str, ...] = ()
    if estimators.takes_text(estimator):
        matrix, rows = TensorSpec("input", "string", ("batch", 1)), [np.array([["a text"]])]
    elif estimators.is_matrix_like(estimator):
        names = estimators.column_names(estimator)
        rows = _rows_to_try(estimator)
        matrix = TensorSpec("input", "float64", ("batch", rows[0].shape[1]), names)
    else:
        return None
    failure: ConversionFailed | None = None
    for row in rows:
        try:
            with unanswered(estimator, f"a row of {matrix.dtype}", where):
                answers = outputs_of(estimator, table_of(estimator, {"input": row}))
        except ConversionFailed as error:
            failure = failure or error
        else:
            return Signature((matrix,), tuple(_spec(name, values) for name, values in answers.items()))
    if names:  # its columns may be something else than numbers
        return None
    assert failure is not None
    raise failure


def _rows_to_try(estimator: Any) -> list[np.ndarray]:
    import numpy as np

    count = estimators.feature_count(estimator) or 0
    learnt = getattr(estimators.first_step(estimator), "categories_", None)
    first = [np.array([[known[0] for known in learnt]], np.float64)] if isinstance(learnt, list) and learnt else []
    return [np.zeros((1, count)), np.ones((1, count)), *first]


@contextmanager
def unanswered(estimator: Any, what: str, where: str) -> Iterator[None]:
    """Turn whatever an estimator raises when it is asked into ConversionFailed."""
    try:
        yield
    except MlconvertError:
        raise
    except Exception as error:  # an estimator's methods are anyone's code
        reason = f"the {type(estimator).__name__} does not answer {what}: {error or type(error).__name__}"
        raise ConversionFailed(reason, where=where) from error


def _spec(name: str, values: np.ndarray) -> TensorSpec:
    dtype = "string" if values.dtype.kind == "U" else values.dtype.name
    return TensorSpec(name, dtype, ("batch", *values.shape[1:]))


def table_of(estimator: Any, inputs: Mapping[str, np.ndarray]) -> Any:
    """The inputs as the estimator was fitted on them: an array, a data frame, or a list of texts."""
    import numpy as np

    names = estimators.column_names(estimator)
    if estimators.takes_text(estimator):
        return [str(text) for text in np.asarray(inputs["input"]).reshape(-1)]
    if names and set(names) <= inputs.keys():
        import pandas as pd

        if extra := sorted(inputs.keys() - set(names)):
            what = f"the samples have columns that the model does not take: {', '.join(extra)}"
            raise UsageError(what, hint="remove them (the labels, perhaps) from the samples")
        check_columns(estimator, inputs)
        # pandas finds the dtype itself: its own string type in pandas 3, object in pandas 2.
        return pd.DataFrame({name: _column(name, inputs[name]) for name in names})
    if "input" not in inputs:
        missing = [name for name in names if name not in inputs] or ["input"]
        raise UsageError(f"the samples have no column '{missing[0]}'", hint=f"the model takes: {', '.join(names)}")
    matrix = _matrix(estimator, inputs["input"])
    if not names:
        return matrix
    import pandas as pd

    return pd.DataFrame(matrix, columns=list(names))


def _matrix(estimator: Any, values: np.ndarray) -> np.ndarray:
    import numpy as np

    if values.dtype.kind in "OU":
        raise UsageError(f"the samples hold text, and the {type(estimator).__name__} takes numbers")
    matrix = np.ascontiguousarray(values, dtype=np.float64)
    wanted = estimators.feature_count(estimator)
    if wanted is not None and (matrix.ndim != 2 or matrix.shape[1] != wanted):
        raise UsageError(f"the samples have the shape {list(matrix.shape)}, and the model takes [rows, {wanted}]")
    return matrix


def _column(name: str, values: np.ndarray) -> Any:
    if values.ndim > 2 or (values.ndim == 2 and values.shape[1] != 1):
        raise UsageError(f"the column '{name}' has the shape {list(values.shape)}, not [rows, 1]")
    column = values.reshape(-1)
    if column.dtype.kind == "U":
        return column.astype(object).tolist()
    return column.astype("float64") if column.dtype.kind == "f" else column  # as converted models compute


def methods_of(estimator: Any) -> dict[str, str]:
    """The outputs of an estimator, in order, and the methods that give them.

    Classifiers: `label` and `probabilities`; without predict_proba `scores`, the decision function. Regressors,
    transformers: `variable`. Clusterers: `label` and `scores`, the distances to the centres. Outlier detectors: `label`
    and `scores`. Mixtures: `label` and `probabilities`. Raises ConversionFailed for one that answers no new rows.
    """
    kind = estimators.kind_of(estimator)
    if kind in ("transformer", "regressor"):
        return {"variable": "transform" if kind == "transformer" else "predict"}
    if kind in ("classifier", "mixture") and estimators.has_probabilities(estimator):
        return {"label": "predict", "probabilities": "predict_proba"}
    scores = "transform" if kind == "clusterer" else "decision_function"
    return {"label": "predict", "scores": scores} if hasattr(estimator, scores) else {"label": "predict"}


def outputs_of(estimator: Any, table: Any) -> dict[str, np.ndarray]:
    """What the estimator answers, under the names of `methods_of`.

    `label` [N], int64 or unicode; `probabilities` [N, C]; `scores` [N, C], or [N, 1] for two classes and for outliers;
    `variable` [N, T], strings where a transformer gives objects.
    """
    import numpy as np

    outputs = {}
    for name, method in methods_of(estimator).items():
        answers = getattr(estimator, method)(table)
        answers = answers.toarray() if hasattr(answers, "toarray") else np.asarray(answers)
        if name == "label":
            outputs[name] = _labels(estimator, answers)
        elif name == "probabilities":
            outputs[name] = answers
        else:
            outputs[name] = (answers.astype(np.str_) if answers.dtype.kind == "O" else answers).reshape(
                len(answers), -1
            )
    return outputs


def scores_of(estimator: Any, table: Any) -> np.ndarray:
    """The decision function, [N, C] or [N, 1], of an estimator that has one beside its probabilities."""
    import numpy as np

    answers = np.asarray(estimator.decision_function(table))
    return answers.reshape(len(answers), -1)


def _labels(estimator: Any, answers: np.ndarray) -> Any:
    if answers.ndim == 2 and answers.shape[1] == 1:  # CatBoost, several classes
        answers = answers.reshape(-1)
    if answers.ndim != 1:
        name = type(estimators.final_step(estimator)).__name__
        raise ConversionFailed(f"the {name} gives several labels a row, which is not supported")
    return estimators.label_values(answers)
