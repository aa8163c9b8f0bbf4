"""What fitted statsmodels results answer to new rows: the reference, and what serving the results as they are gives.

Results that are converted to a formula (`statsmodels_results.Fit`) are known through and through. Others, a model or a
term of a formula that no converter takes, still answer by `results.predict(new rows)`; they are read here too.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed
from mlconvert.readers.estimator_files import load_pickle
from mlconvert.readers.statsmodels_expressions import Column, source_of
from mlconvert.readers.statsmodels_formulas import (
    Categorical,
    Design,
    formulas_left_alone,
    patsy_engine,
    restore_design,
    types_of,
)
from mlconvert.readers.statsmodels_results import TRUST, load_fit
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact

Levels = tuple[str, ...] | tuple[float, ...] | tuple[bool, ...]


@dataclass(frozen=True)
class Answering:
    """Results, and what they take: columns of a data frame, or (`by_column` false) one matrix `input`.

    `levels` are the categories that the fit had, by column; a row with any other has no answer.
    """

    results: Any
    model: str
    signature: Signature
    by_column: bool
    levels: Mapping[str, Levels]


def load_answering(artifact: Artifact) -> Answering:
    """The results in a pickle, converted or not.

    Raises UsageError when the file was not trusted; ConversionFailed when it cannot be read, or its results do not
    answer new rows (a time series), with the reason why they are not converted either.
    """
    try:
        fit = load_fit(artifact)
    except ConversionFailed as refused:
        found = _others(artifact, refused)
        if found is None:
            raise
        return found
    levels = {column.name: known for column, known in _categories(fit.design)} if fit.design else {}
    return Answering(fit.results, fit.model, fit.signature, fit.design is not None, levels)


def answers_of(answering: Answering, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """As `results.predict` does, [rows, K]; rows that it would refuse are NaN.

    statsmodels refuses all rows when one has a category that the fit did not. Such a row is answered with NaN here,
    and so is, as statsmodels has it, a row with a missing value.
    """
    import numpy as np

    (output,) = answering.signature.outputs
    rows = len(next(iter(inputs.values())))
    answers = np.full((rows, int(str(output.shape[1]))), np.nan)
    with np.errstate(all="ignore"), patsy_engine():
        if not answering.by_column:
            answers[:] = np.asarray(answering.results.predict(inputs["input"])).reshape(answers.shape)
        else:
            known = _known(answering.levels, inputs)
            if known.any():
                table = _frame(answering.signature, inputs)[known]
                answers[known] = np.asarray(answering.results.predict(table)).reshape(-1, answers.shape[1])
    return answers


def _frame(signature: Signature, inputs: Mapping[str, np.ndarray]) -> Any:
    import pandas as pd

    columns = {spec.name: inputs[spec.name][:, 0] for spec in signature.inputs}
    return pd.DataFrame(
        {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in columns.items()}
    )


def _known(levels: Mapping[str, Levels], inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which rows have, in every column of categories, one that the fit had."""
    import numpy as np

    known = np.ones(len(next(iter(inputs.values()))), bool)
    for name, values in levels.items():
        known &= np.isin(inputs[name][:, 0], np.array(values))
    return known


def _categories(design: Design) -> Iterator[tuple[Column, Levels]]:
    """The columns of categories as they stand, each with its levels."""
    for term in design.terms:
        for factor, _ in term.factors:
            if isinstance(factor, Categorical) and isinstance(factor.source, Column):
                yield factor.source, factor.levels


# --- results that no converter takes ---


def _others(artifact: Artifact, refused: ConversionFailed) -> Answering | None:
    """None where the results have no `predict(new rows)` of the usual kind, or do not answer rows of their own."""
    from statsmodels.base.model import Model, Results

    with formulas_left_alone():
        results = load_pickle(artifact.path, trusted=artifact.trusted, hint=TRUST)
    inner = getattr(results, "_results", results)
    model = getattr(inner, "model", None)
    if not isinstance(inner, Results) or not isinstance(model, Model):
        return None
    if next(iter(list(inspect.signature(type(inner).predict).parameters)[1:]), None) != "exog":
        return None  # a time series goes by dates, not by rows
    spec = restore_design(model.data, artifact.location)
    inputs, levels = _matrix(model), dict[str, Levels]()
    if spec is not None:
        inputs, levels = _columns(spec, model.data.frame, artifact.location)
    if not inputs:
        return None
    width = _width_of_answers(results, inputs, model, spec, refused)
    output = TensorSpec("variable", "float64", ("batch", width))
    return Answering(results, type(model).__name__, Signature(inputs, (output,)), spec is not None, levels)


def _matrix(model: Any) -> tuple[TensorSpec, ...]:
    if getattr(getattr(model, "exog", None), "ndim", 0) != 2:
        return ()
    return (TensorSpec("input", "float64", ("batch", int(model.exog.shape[1]))),)


def _columns(spec: Any, frame: Any, where: str) -> tuple[tuple[TensorSpec, ...], dict[str, Levels]]:
    """The columns that the formula uses, in the frame's order, and the levels of those that hold categories."""
    types = types_of(spec, frame, where)
    used, levels = set[str](), dict[str, Levels]()
    for factor, info in spec.factor_infos.items():
        for node in ast.walk(ast.parse(factor.code.strip(), mode="eval")):
            if isinstance(node, ast.Name):
                used.add(node.id)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # Q("a name with spaces")
                used.add(node.value)
        source = source_of(factor.code, types) if info.type == "categorical" else None
        if source is not None:
            convert = {"string": str, "bool": bool, "float64": float}[types[source.name]]
            levels[source.name] = tuple(convert(level) for level in info.categories)
    names = [name for name in map(str, frame) if name in used]
    return tuple(TensorSpec(name, types[name], ("batch", 1)) for name in names), levels


def _width_of_answers(
    results: Any, inputs: tuple[TensorSpec, ...], model: Any, spec: Any, refused: ConversionFailed
) -> int:
    """How many numbers `predict` gives a row, found by asking for two rows of the fit."""
    import numpy as np

    rows = model.exog[:2] if spec is None else model.data.frame[[column.name for column in inputs]][:2]
    try:
        with np.errstate(all="ignore"), patsy_engine():
            told = np.asarray(results.predict(rows), dtype=np.float64)
    except Exception as error:  # a model's predict is anyone's code
        raise refused from error
    if told.ndim not in (1, 2) or len(told) != 2:
        raise refused
    return 1 if told.ndim == 1 else int(told.shape[1])
