"""Tables as a model's inputs: columns stacked into its matrix, or an input each; cells of text given a dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlconvert.errors import UsageError, suggest
from mlconvert.signature import KINDS, Signature, TensorSpec
from mlconvert.tensors.dtypes import cast, numpy_dtype

Column = Callable[[str, str | None], np.ndarray]
"""A column by its name, [N] or [N, K]; where cells are text, in the dtype asked for, or (None) what they look like."""

_PARSED = {"float": np.float64, "integer": np.int64, "bool": np.bool_}
_BOOLEANS = {"true": True, "false": False, "True": True, "False": False, "TRUE": True, "FALSE": False}


def inputs_of_table(names: Sequence[str], column: Column, signature: Signature | None) -> dict[str, np.ndarray]:
    """The inputs that a table holds. Columns that belong to no input stay, as inputs, for `check_samples` to name.

    Raises UsageError when a matrix's columns are not the ones the model knows, or not as many as it takes.
    """
    if signature is None:
        return {name: _upright(column(name, None)) for name in names}
    if len(signature.inputs) == 1 and signature.inputs[0].name not in names:
        spec = signature.inputs[0]
        if len(spec.shape) == 2:
            return {spec.name: _matrix(spec, names, column)}
        if len(spec.shape) == 1 and len(names) == 1:
            return {spec.name: _cast(spec, names[0], column)}
    inputs = {}
    used = set()
    for spec in signature.inputs:
        if spec.name in names:
            used.add(spec.name)
            array = _cast(spec, spec.name, column)
            inputs[spec.name] = array if len(spec.shape) == 1 else _upright(array)
        elif spec.columns and set(spec.columns) <= set(names):
            used.update(spec.columns)
            inputs[spec.name] = np.column_stack([_cast(spec, name, column) for name in spec.columns])
        elif len(spec.shape) > 2:
            raise UsageError(
                f"a table has no room for the input {spec}", hint="give the samples as .npz, an array per input"
            )
    return inputs | {name: _upright(column(name, None)) for name in names if name not in used}


def _matrix(spec: TensorSpec, names: Sequence[str], column: Column) -> np.ndarray:
    order = list(spec.columns or names)
    if spec.columns:
        _check_columns(spec, names)
    wanted = spec.shape[1]
    if len(order) == 1 and (lists := column(order[0], spec.dtype)).ndim == 2:
        return lists  # a .parquet column of lists is the matrix
    if isinstance(wanted, int) and len(order) != wanted:
        what = f"the table has {len(order)} columns and the input '{spec.name}' takes {wanted}"
        extra = len(order) == wanted + 1
        hint = f"leave the column of labels out (is it '{order[-1]}' or '{order[0]}'?)" if extra else None
        raise UsageError(what, hint=hint)
    return np.column_stack([_cast(spec, name, column) for name in order])


def _check_columns(spec: TensorSpec, names: Sequence[str]) -> None:
    lacking = [name for name in spec.columns if name not in names]
    extras = [name for name in names if name not in spec.columns]
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        what = f"the table lacks the column '{lacking[0]}'{more}.{suggest(lacking[0], extras)}"
        listed = ", ".join(spec.columns[:20]) + (", …" if len(spec.columns) > 20 else "")
        raise UsageError(what, hint=f"the model takes: {listed}")
    if extras:
        listed = ", ".join(f"'{name}'" for name in extras)
        raise UsageError(
            f"the table has {listed}, which the model does not take",
            hint="leave the labels and all else that is no feature out: df.drop(columns=[…])",
        )


def _cast(spec: TensorSpec, name: str, column: Column) -> np.ndarray:
    array = column(name, spec.dtype)
    if KINDS[spec.dtype] == "integer" and array.dtype.kind == "f":
        what = f"column '{name}': expected {spec.dtype}, got {array.dtype}"
        raise UsageError(what, hint="integers have no missing values: fill the empty cells")
    return cast(array, spec.dtype, what=f"column '{name}'", error=UsageError)


def _upright(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, 1) if array.ndim == 1 else array


# --- cells of text ---


@dataclass(frozen=True)
class Cells:
    """A column of text and the line that each cell stands on."""

    values: list[str]
    lines: list[int]


def typed(name: str, cells: Cells, dtype: str) -> np.ndarray:
    """The cells in a dtype; UsageError, with the line, when one is no such thing."""
    kind = KINDS[dtype]
    if kind == "string":
        return _text(cells)
    parse: Callable[[str], object] = {"float": _float, "integer": _int, "bool": _bool}[kind]
    values = []
    for line, cell in zip(cells.lines, cells.values, strict=True):
        try:
            values.append(parse(cell.strip()))
        except ValueError:
            shown = "an empty cell" if not cell.strip() else f"'{cell}'"
            raise UsageError(f"column '{name}', line {line}: expected {dtype}, got {shown}") from None
    try:
        array: np.ndarray = np.array(values, dtype=_PARSED[kind])
    except OverflowError:
        array = _unsigned(name, values, dtype)
    return cast(array, dtype, what=f"column '{name}'", error=UsageError)


def inferred(cells: Cells) -> np.ndarray:
    """The cells as what all of them are: booleans, int64, float64 (an empty cell is NaN), else text."""
    values = [cell.strip() for cell in cells.values]
    for parse, dtype in ((_bool, np.bool_), (_int, np.int64), (_float, np.float64)):
        try:
            array: np.ndarray = np.array([parse(value) for value in values], dtype=dtype)
        except (ValueError, OverflowError):
            continue
        # A column of nothing but empty cells says nothing of numbers.
        return array if any(values) or not values else _text(cells)
    return _text(cells)


def _text(cells: Cells) -> np.ndarray:
    return np.array(cells.values, dtype=numpy_dtype("string"))


def _unsigned(name: str, values: Sequence[object], dtype: str) -> np.ndarray:
    try:
        return np.array(values, dtype=np.uint64)
    except OverflowError:
        raise UsageError(f"column '{name}' holds an integer that does not fit {dtype}") from None


def _float(cell: str) -> float:
    if "_" in cell:  # Python's float takes 1_000; no other program does
        raise ValueError(cell)
    return float(cell) if cell else float("nan")


def _int(cell: str) -> int:
    if "_" in cell:
        raise ValueError(cell)
    return int(cell)


def _bool(cell: str) -> bool:
    if cell not in _BOOLEANS:
        raise ValueError(cell)
    return _BOOLEANS[cell]
