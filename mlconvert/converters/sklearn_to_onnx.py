"""scikit-learn's estimators to ONNX, through skl2onnx (and onnxmltools for LightGBM and XGBoost wrappers in them).

Which precision is right depends on the estimator. Linear models, neural networks, scalers and most others compute
in float64, and are exact with float64 inputs. scikit-learn's trees, and XGBoost, cast their input to float32: alone
they take float32; behind a scaler or an encoder the steps before them stay in float64 and the cast is put where the
library has it. What skl2onnx or ONNX Runtime has no float64 version of is converted in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mlconvert.converters import classical_graph, skl2onnx_stock, sklearn_refusals
from mlconvert.converters.classical_graph import Output
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers import estimators
from mlconvert.readers.estimator_answers import outputs_of, table_of

if TYPE_CHECKING:
    import numpy as np
    import onnx

    from mlconvert.artifact import Artifact


@dataclass(frozen=True)
class Attempt:
    """One way to convert: the element type of floats, and whether integers and booleans become floats first."""

    dtype: Literal["float32", "float64"]
    integers_as_floats: bool


def convert(
    source: Artifact,
    target: Path,
    *,
    opset: Annotated[int, "version of the ai.onnx operators"] = 18,
    inputs: Annotated[
        Literal["auto", "matrix", "columns"], "one matrix `input`, or one input per column; auto goes by the samples"
    ] = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "float64"],
        "of float inputs; auto: float32 for trees alone, else float64 if it can be",
    ] = "auto",
    samples: Mapping[str, np.ndarray] | None = None,
) -> Artifact:
    """Write an ONNX model whose outputs have the names that the runner of scikit-learn gives.

    Raises ConversionFailed for an estimator that skl2onnx cannot convert, or is known to convert wrongly, naming it
    and its place; UsageError when columns are needed and no samples tell their types.
    """
    from mlconvert.onnx_model import files as onnx_files

    estimator = estimators.load_estimator(source)
    if type(estimator).__module__.startswith("catboost."):
        from mlconvert.converters.catboost_to_onnx import export_catboost

        return export_catboost(estimator, target, opset=opset, where=source.location)
    sklearn_refusals.refuse(estimator, source.location)
    rows = _rows(estimator, inputs, samples or {}, source.location)
    wanted = _wanted(estimator, rows, source.location)
    model, attempt = _first_that_loads(estimator, rows, wanted, opset, dtype, source.location)
    onnx_files.check_opset(model, opset)
    files = onnx_files.write_onnx(model, target)
    return onnx_files.onnx_artifact(target, files, model=model, facts={"dtype": attempt.dtype})


def _rows(estimator: Any, inputs: str, samples: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """A few rows as the converted model will take them: they tell the inputs' names and types, and the outputs'."""
    import numpy as np

    names = estimators.column_names(estimator)
    if estimators.takes_text(estimator):
        return {"input": np.asarray(samples.get("input", np.array([["a text"]])))[:4].reshape(-1, 1)}
    by_column = bool(names) and set(names) <= samples.keys()
    matrix_like = estimators.is_matrix_like(estimator)
    if inputs == "matrix" or (inputs == "auto" and matrix_like and not by_column):
        if not matrix_like:
            what = "the estimator has columns that are not numbers: one matrix cannot be its input"
            raise UsageError(what, where=where, hint="leave the option inputs out, or set it to columns")
        return {"input": np.zeros((1, estimators.feature_count(estimator) or 0))}
    if not names:
        what = "the estimator was not fitted on a data frame, so its columns have no names"
        raise UsageError(what, where=where, hint="fit it on a pandas.DataFrame")
    if by_column:
        return {name: samples[name][:4].reshape(-1, 1) for name in names}
    if samples:
        missing = next(name for name in names if name not in samples)
        raise UsageError(f"the samples have no column '{missing}'", where=where, hint=f"needed: {', '.join(names)}")
    if matrix_like:
        return {name: np.zeros((1, 1)) for name in names}
    what = "the types of the columns are not in the file; samples tell them"
    raise UsageError(what, where=where, hint="give some: --samples FILE (.csv, .parquet or .npz)")


def _wanted(estimator: Any, rows: Mapping[str, np.ndarray], where: str) -> list[Output]:
    """The outputs as the estimator itself gives them for those rows."""
    with classical_graph.stock_errors(f"the {type(estimator).__name__} does not answer the samples", where):
        answers = outputs_of(estimator, table_of(estimator, rows))
    wanted = []
    for name, values in answers.items():
        if values.ndim == 1:
            wanted.append(Output(name, None, "flat"))
        elif name == "scores" and values.shape[1] == 1:
            # The decision function: one column for two classes, where skl2onnx writes one or, for both signs, two.
            wanted.append(Output(name, 1, "last" if estimators.kind_of(estimator) == "classifier" else "column"))
        else:
            wanted.append(Output(name, values.shape[1]))
    return wanted


def _attempts(estimator: Any, rows: Mapping[str, np.ndarray], dtype: str) -> Iterator[Attempt]:
    integers = any(values.dtype.kind in "biu" for values in rows.values())
    order: tuple[Literal["float32", "float64"], ...] = ("float64", "float32")
    if dtype == "float32" or (dtype == "auto" and skl2onnx_stock.is_trees(estimator)):
        order = ("float32",)
    elif dtype == "float64":
        order = ("float64",)
    for kind in order:
        yield Attempt(kind, integers_as_floats=False)
        if integers:
            yield Attempt(kind, integers_as_floats=True)


def _first_that_loads(
    estimator: Any, rows: Mapping[str, np.ndarray], wanted: list[Output], opset: int, dtype: str, where: str
) -> tuple[onnx.ModelProto, Attempt]:
    failure: ConversionFailed | None = None
    for attempt in _attempts(estimator, rows, dtype):
        try:
            model = _convert(estimator, rows, wanted, opset, attempt, where)
            classical_graph.check_loads(model)
        except ConversionFailed as error:
            failure = failure or error
        else:
            return model, attempt
    assert failure is not None
    raise failure


def _convert(
    estimator: Any, rows: Mapping[str, np.ndarray], wanted: list[Output], opset: int, attempt: Attempt, where: str
) -> onnx.ModelProto:
    from onnx import TensorProto

    element = TensorProto.FLOAT if attempt.dtype == "float32" else TensorProto.DOUBLE
    own = {name: _element(values, element) for name, values in rows.items()}
    columns = "input" not in rows or "input" in estimators.column_names(estimator)
    joined = columns and not hasattr(estimators.first_step(estimator), "transformers_")
    fed = own
    if joined:  # skl2onnx takes only the first of several inputs for most estimators
        fed = {"input": _common(own, element)}
        shapes = {"input": len(own)}
    else:
        shapes = {name: values.shape[1] for name, values in rows.items()}
        if attempt.integers_as_floats:
            fed = {n: element if e in (TensorProto.INT64, TensorProto.BOOL) else e for n, e in own.items()}
    model = skl2onnx_stock.to_onnx(estimator, {name: (fed[name], shapes[name]) for name in fed}, opset, where)
    classical_graph.set_opsets(model, opset)
    classical_graph.name_inner(model)
    if len(model.graph.input) != len(fed):
        raise ConversionFailed("skl2onnx left out some of the inputs", where=where)
    names = {value.name: name for value, name in zip(model.graph.input, fed, strict=True)}
    classical_graph.mend_inputs(model, names)
    if joined:
        classical_graph.join_columns(model, own, fed["input"])
    elif columns:
        classical_graph.cast_columns(model, own)
    classical_graph.mend_inputs(model, {})
    classical_graph.mend_outputs(model, wanted)
    return model


def _element(values: np.ndarray, floats: int) -> int:
    from onnx import TensorProto

    kinds = {"U": TensorProto.STRING, "b": TensorProto.BOOL, "i": TensorProto.INT64, "u": TensorProto.INT64}
    return int(kinds.get(values.dtype.kind, floats))


def _common(columns: Mapping[str, int], floats: int) -> int:
    from onnx import TensorProto

    strings = [name for name, element in columns.items() if element == TensorProto.STRING]
    if strings and len(strings) < len(columns):
        what = f"the columns are of several types (strings: {', '.join(strings)}) and go to a step that takes them all"
        raise ConversionFailed(what, hint="put a ColumnTransformer in front, and fit the pipeline again")
    return int(TensorProto.STRING) if strings else floats
