"""scikit-learn's API: what a service in Python calls, with a row in a data frame and in an array."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mlconvert.artifact import Artifact
from mlconvert.benchmarking.turns import Feed, Model
from mlconvert.errors import NotVerified


def frame(artifact: Artifact, threads: int) -> Model:
    """Raises NotVerified for an estimator of text, which takes no data frame."""
    import pandas as pd

    from mlconvert.readers.estimator_answers import table_of
    from mlconvert.readers.estimators import takes_text

    estimator = _loaded(artifact, threads)
    if takes_text(estimator):
        raise NotVerified("a vectoriser takes texts, and no data frame", where=artifact.location)

    def prepare(feed: Feed) -> Any:
        table = table_of(estimator, feed)
        if isinstance(table, pd.DataFrame):
            return table
        return pd.DataFrame(table, columns=[f"column_{index}" for index in range(table.shape[1])])

    return _model(estimator, "DataFrame", prepare)


def array(artifact: Artifact, threads: int) -> Model:
    """Raises NotVerified for an estimator of columns that are not all numbers."""
    from mlconvert.readers.estimator_answers import table_of
    from mlconvert.readers.estimators import is_matrix_like, takes_text

    estimator = _loaded(artifact, threads)
    if takes_text(estimator):
        return _model(estimator, "list of texts", lambda feed: table_of(estimator, feed))
    if not is_matrix_like(estimator):
        raise NotVerified("its columns are not all numbers: it takes a data frame alone", where=artifact.location)
    return _model(estimator, "array", lambda feed: np.asarray(table_of(estimator, feed), dtype=np.float64))


def _model(estimator: Any, given: str, prepare: Callable[[Feed], Any]) -> Model:
    from mlconvert.readers.estimator_answers import methods_of

    # One call that a service would make: probabilities where there are some, since they tell the label too.
    methods = methods_of(estimator)
    output = "probabilities" if "probabilities" in methods else next(iter(methods))
    method = methods[output]
    called = getattr(estimator, method)
    warnings.simplefilter("ignore")  # about names that an array has not: one a call, and each takes time

    def read(told: Any) -> dict[str, np.ndarray]:
        answers = told.toarray() if hasattr(told, "toarray") else np.asarray(told)
        if output == "label":
            from mlconvert.readers.estimators import label_values

            return {output: label_values(answers.reshape(-1))}
        answers = answers.astype(np.str_) if answers.dtype.kind == "O" else answers
        return {output: answers if output == "probabilities" else answers.reshape(len(answers), -1)}

    return Model(f"{method}({given})", prepare, called, read)


def _loaded(artifact: Artifact, threads: int) -> Any:
    from mlconvert.readers.estimators import load_estimator, walk

    estimator = load_estimator(artifact)
    for _, part in walk(estimator):
        if hasattr(part, "n_jobs"):
            part.n_jobs = threads
    return estimator
