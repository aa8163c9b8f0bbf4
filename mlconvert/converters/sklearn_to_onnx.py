"""scikit-learn's estimators to ONNX, in double: ensembles of trees alone, and everything else part by part.

scikit-learn computes in float64, and so does the file, but for what the library itself computes in float32: its trees
and XGBoost cast their input, and the cast is where they have it, behind a scaler that works in double.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from mlconvert.converters.tree_options import LeafIndices, Opset, RawScores, TargetRuntime
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers import estimators
from mlconvert.readers.estimator_answers import outputs_of, table_of, unanswered
from mlconvert.readers.estimator_columns import check_columns

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact
    from mlconvert.forests.model import Float, TreeModel
    from mlconvert.onnx_model.releases import TreeOperators
    from mlconvert.pipelines.graph import Dtype
    from mlconvert.pipelines.model import Made

Dtypes = Literal["auto", "float32", "float64"]
Rows = Mapping[str, "np.ndarray"]


def convert(
    source: Artifact,
    target: Path,
    *,
    opset: Opset = 18,
    inputs: Annotated[
        Literal["auto", "matrix", "columns"], "one matrix `input`, or one input per column; auto goes by the samples"
    ] = "auto",
    dtype: Annotated[
        Dtypes, "of float inputs; auto: float64, but float32 for a part that ONNX Runtime has in no other"
    ] = "auto",
    target_runtime: TargetRuntime = None,
    raw_scores: RawScores = False,
    leaf_indices: LeafIndices = False,
    samples: Mapping[str, np.ndarray] | None = None,
) -> Artifact:
    """Write an ONNX model whose outputs have the names that the runner of scikit-learn gives.

    Raises ConversionFailed for an estimator that cannot be converted exactly, or has a part that cannot, naming the
    part and its place; UsageError when columns are needed and no samples tell their types, when samples are not of
    the types that a part was fitted on, and for `raw_scores` and `leaf_indices` of anything but trees alone.
    """
    from mlconvert.forests.onnx_file import write_trees
    from mlconvert.python_backend.refusals import served_as_it_is

    estimator, where = estimators.load_estimator(source), source.location
    rows = _rows(estimator, inputs, samples or {}, where)
    with served_as_it_is():
        trees = _trees_alone(estimator, rows, where)
        if trees is None and not (raw_scores or leaf_indices):
            return _write_graph(estimator, rows, target, opset, dtype, target_runtime, where)
    if trees is not None:
        return write_trees(
            trees,
            target,
            dtype="float32" if dtype == "float32" else "float64",
            opset=opset,
            target_runtime=target_runtime,
            raw_scores=raw_scores,
            leaf_indices=leaf_indices,
        )
    option = "raw_scores" if raw_scores else "leaf_indices"
    what = f"{option} is for an ensemble of trees that takes one matrix, not for a {type(estimator).__name__}"
    raise UsageError(what, where=where, hint=f"leave {option} out, or convert the model without its pipeline")


def _trees_alone(estimator: Any, rows: Rows, where: str) -> TreeModel | None:
    from mlconvert.forests.estimators import text_columns, tree_model_of

    if list(rows) != ["input"] or "input" in estimators.column_names(estimator) or text_columns(estimator, where):
        return None
    return tree_model_of(estimator, where)


def _rows(estimator: Any, inputs: str, samples: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """A few rows as the converted model will take them: they tell the inputs' names and types."""
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
        return {"input": np.asarray(samples.get("input", np.zeros((1, estimators.feature_count(estimator) or 0))))[:4]}
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


def _write_graph(
    estimator: Any, rows: Rows, target: Path, opset: int, dtype: Dtypes, target_runtime: str | None, where: str
) -> Artifact:
    from mlconvert.onnx_model import files as onnx_files

    check_columns(estimator, rows)
    made, floats, reason = _first_that_loads(estimator, rows, opset, dtype, target_runtime, where)
    onnx_files.check_opset(made.model, opset)
    written = onnx_files.write_onnx(made.model, target)
    reasons = [reason] if reason else list(made.rounding)
    facts: dict[str, Any] = {"precision": "float32" if floats == "float32" or reasons else "float64", "dtype": floats}
    if reasons:
        facts["float32_because"] = reasons
    return onnx_files.onnx_artifact(target, written, model=made.model, facts=facts)


def _first_that_loads(
    estimator: Any, rows: Rows, opset: int, dtype: Dtypes, target_runtime: str | None, where: str
) -> tuple[Made, Float, str | None]:
    """The model, the type of its floats, and for float32 that nobody asked for, the reason."""
    orders: dict[Dtypes, tuple[Float, ...]] = {"auto": ("float64", "float32")}
    order = orders.get(dtype, ("float32" if dtype == "float32" else "float64",))
    failure: ConversionFailed | None = None
    for floats in order:
        reason = failure.message if failure else None
        try:
            return _made(estimator, rows, floats, opset, target_runtime, where), floats, reason
        except ConversionFailed as error:
            failure = failure or error
            if not isinstance(error.__cause__, Exception):  # refused by name: no other type would help
                break
    assert failure is not None
    raise failure


def _made(estimator: Any, rows: Rows, floats: Float, opset: int, target_runtime: str | None, where: str) -> Made:
    from mlconvert.pipelines.loading import check_loads
    from mlconvert.pipelines.model import estimator_model

    def variable() -> Dtype:
        with unanswered(estimator, "the samples", where):
            return _dtype(outputs_of(estimator, table_of(estimator, rows))["variable"], None)

    made = estimator_model(
        estimator,
        {name: (_dtype(values, floats), values.shape[1]) for name, values in rows.items()},
        variable=variable,
        floats=floats,
        opset=opset,
        operators=_operators(opset, target_runtime),
        where=where,
    )
    check_loads(made.model, where)
    return made


def _operators(opset: int, target_runtime: str | None) -> TreeOperators:
    from mlconvert.onnx_model.releases import TreeOperators, runtime_limits, tree_operators

    if target_runtime is None:
        return TreeOperators()
    highest = runtime_limits(target_runtime).opset
    if opset > highest:
        what = f"opset {opset} is out of range"
        raise UsageError(what, hint=f"ONNX Runtime {target_runtime} takes opsets up to {highest}")
    return tree_operators(target_runtime)


def _dtype(values: np.ndarray, floats: Float | None) -> Dtype:
    kinds: dict[str, Dtype] = {"U": "string", "O": "string", "b": "bool", "i": "int64", "u": "int64"}
    own: Float = "float32" if values.dtype.name in ("float16", "float32") else "float64"
    return kinds.get(values.dtype.kind, floats or own)
