"""scikit-learn estimators of any kind to a model.py for Triton's python backend: the file itself is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mlconvert.errors import UsageError
from mlconvert.formats.pickles import read_pickle
from mlconvert.formats.served_python import ServedModel
from mlconvert.formats.skops_files import read_skops
from mlconvert.readers import estimator_files, estimators
from mlconvert.readers.estimator_answers import (
    methods_of,
    outputs_of,
    scores_of,
    signature_of,
    table_of,
    unanswered,
)
from mlconvert.readers.estimator_columns import check_columns
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact

Inputs = Literal["auto", "matrix", "columns"]
ROWS = 4  # of the samples: enough to learn the types from


def convert(
    source: Artifact,
    target: Path,
    *,
    inputs: Annotated[Inputs, "one matrix `input`, or one input per column; auto goes by the samples"] = "auto",
    scores: Annotated[bool, "also give `scores`, the decision function, beside probabilities"] = False,
    samples: Mapping[str, np.ndarray] | None = None,
) -> Artifact:
    """Write a model.py that loads the estimator and answers under the names that the runner of scikit-learn gives.

    Raises UsageError for a file that was not trusted, and when columns are needed and no samples tell their types;
    ConversionFailed for an estimator that gives no answers for new rows, or needs a module of no installed package.
    """
    from mlconvert.python_backend.writing import constants_of, write_served

    where = source.location
    estimator = estimators.load_estimator(source)
    signature, table = _signature(estimator, inputs, samples or {}, where)
    methods = methods_of(estimator)
    if scores and "scores" not in methods:
        signature = _with_scores(estimator, signature, samples or {}, where)
        methods["scores"] = "decision_function"
    skops = estimator_files.is_skops(source.path)
    constants: dict[str, Any] = {"MODEL": f"model{_suffix(source.path, skops=skops)}"}
    facts: dict[str, Any] = {"precision": "float64", "model": type(estimator).__name__}
    if skops:
        constants["TRUSTED"] = facts["trusted_types"] = sorted(estimator_files.types_to_trust(source.path))
    else:
        facts["runs_code"] = True
    constants |= constants_of(signature)
    if table == "named-matrix":
        constants["COLUMNS"] = list(signature.inputs[0].columns)
    constants["METHODS"] = methods
    served = ServedModel(f"sklearn-{table}", type(estimator).__name__, constants)
    return write_served(target, source, served, modules=_modules(source.path, table, skops=skops), facts=facts)


def _suffix(path: Path, *, skops: bool) -> str:
    if skops:
        return ".skops"
    summary = read_pickle(path)
    by_joblib = summary.compression or any(name.startswith("joblib.") for name in summary.globals)
    return ".joblib" if by_joblib else ".pkl"


def _modules(path: Path, table: str, *, skops: bool) -> list[str]:
    """What the file's objects come from, and what the code imports."""
    named = read_skops(path).types if skops else read_pickle(path).globals
    # A pickle that scikit-learn's own version wrote is read by it alone; scipy holds a part of what it computes.
    always = ["numpy", "sklearn", "scipy", "joblib", *(["skops"] if skops else [])]
    return [*named, *always, *(["pandas"] if table in ("columns", "named-matrix") else [])]


def _signature(estimator: Any, inputs: Inputs, samples: Mapping[str, np.ndarray], where: str) -> tuple[Signature, str]:
    """The signature, and as what the estimator takes its rows: text, columns, a matrix, a matrix with names."""
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


def _with_scores(estimator: Any, signature: Signature, samples: Mapping[str, np.ndarray], where: str) -> Signature:
    """The signature with the decision function; a row of it tells how wide that is."""
    import numpy as np

    if not hasattr(estimator, "decision_function"):
        what = f"scores: the {type(estimator).__name__} has no decision_function"
        raise UsageError(what, where=where, hint="leave the option scores out")
    rows: dict[str, np.ndarray] = {}
    for spec in signature.inputs:
        width = int(str(spec.shape[1]))
        made = np.full((1, width), "a text") if spec.dtype == "string" else np.ones((1, width))
        rows[spec.name] = np.asarray(samples[spec.name])[:1].reshape(1, width) if spec.name in samples else made
    with unanswered(estimator, "a row", where):
        answers = scores_of(estimator, table_of(estimator, rows))
    output = TensorSpec("scores", answers.dtype.name, ("batch", answers.shape[1]))
    return Signature(signature.inputs, (*signature.outputs, output))


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
