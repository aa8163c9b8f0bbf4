"""The signature of an estimator for a converter: one matrix, one column of text, or the columns of a data frame.

What the types of columns are is not in the file of an estimator that takes more than numbers: samples tell them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from mlconvert.errors import UsageError
from mlconvert.readers import estimators
from mlconvert.readers.estimator_answers import outputs_of, signature_of, table_of, unanswered
from mlconvert.readers.estimator_columns import check_columns
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

Inputs = Literal["auto", "matrix", "columns"]
Table = Literal["text", "columns", "matrix", "named-matrix"]
ROWS = 4  # of the samples: enough to learn the types from


def signature_and_table(
    estimator: Any, inputs: Inputs, samples: Mapping[str, np.ndarray], where: str
) -> tuple[Signature, Table]:
    """The signature, and as what the estimator takes its rows: text, columns, a matrix, a matrix with names.

    Raises UsageError when columns are needed and no samples tell their types, or one matrix cannot be the input.
    """
    names = estimators.column_names(estimator)
    if estimators.takes_text(estimator):
        known = signature_of(estimator, where)
        assert known is not None
        return known, "text"
    by_column = bool(names) and set(names) <= samples.keys()
    if inputs != "columns" and not (inputs == "auto" and by_column):
        known = signature_of(estimator, where)
        if known is not None:
            return known, "named-matrix" if names else "matrix"
        if inputs == "matrix":
            what = "the estimator has columns that are not numbers: one matrix cannot be its input"
            raise UsageError(what, where=where, hint="leave the option inputs out, or set it to columns")
    if not names:
        what = "the estimator was not fitted on a data frame, so its columns have no names"
        raise UsageError(what, where=where, hint="fit it on a pandas.DataFrame")
    if not by_column:
        missing = next(name for name in names if name not in samples)
        what = f"the types of the columns are not in the file, and no samples tell that of '{missing}'"
        raise UsageError(what, where=where, hint="give some: --samples FILE (.csv, .parquet or .npz)")
    return _by_column(estimator, {name: samples[name][:ROWS].reshape(-1, 1) for name in names}, where), "columns"


def _by_column(estimator: Any, rows: Mapping[str, np.ndarray], where: str) -> Signature:
    check_columns(estimator, rows)
    with unanswered(estimator, "the samples", where):
        answers = outputs_of(estimator, table_of(estimator, rows))
    outputs = tuple(TensorSpec(name, _dtype(values), ("batch", *values.shape[1:])) for name, values in answers.items())
    inputs = []
    for name, values in rows.items():
        # The runner gives floats of any width as float64, and so does a client.
        dtype = "float64" if values.dtype.kind == "f" else _dtype(values)
        inputs.append(TensorSpec(name, dtype, ("batch", 1)))
    return Signature(tuple(inputs), outputs)


def _dtype(values: np.ndarray) -> str:
    return "string" if values.dtype.kind in "OU" else values.dtype.name
