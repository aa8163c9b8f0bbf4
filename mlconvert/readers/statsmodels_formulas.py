"""The design of a formula: which inputs it takes, and how its columns are made of them.

statsmodels leaves the design out of a pickle. It keeps the formula and the data frame of the fit, and has patsy work
the design out again when the pickle is opened, with whatever names the calling functions happen to hold
(`ModelData.__setstate__`). Here that is done with numpy and pandas as the only names, and the design is compared with
the one of the fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed
from mlconvert.readers.statsmodels_expressions import (
    Column,
    Dtype,
    Expression,
    columns_of,
    expression_of,
    is_boolean,
    source_of,
)

if TYPE_CHECKING:
    import numpy as np

_MARKS = ("restore_model_spec", "restore_design_info")  # of statsmodels 0.15, and of 0.14


@dataclass(frozen=True)
class Numeric:
    """A number for each row."""

    value: Expression


@dataclass(frozen=True)
class Categorical:
    """A level for each row; a row of any other value has no answer.

    `source` is a column as it stands, or a boolean expression, whose levels are False and True.
    """

    source: Expression
    levels: tuple[str, ...] | tuple[float, ...] | tuple[bool, ...]


Factor = Numeric | Categorical


@dataclass(frozen=True)
class Term:
    """Columns of the design: all products of a column of each factor, those of the first factor varying fastest.

    Beside a categorical factor stands its contrast matrix [L, K]: the row of a level holds its K columns. A numeric
    factor is one column, and None stands beside it. Without factors: one column of ones.
    """

    factors: tuple[tuple[Factor, np.ndarray | None], ...]

    @property
    def width(self) -> int:
        return math.prod(1 if contrasts is None else contrasts.shape[1] for _, contrasts in self.factors)


@dataclass(frozen=True)
class Design:
    """`inputs` are the columns of the data frame that are needed, in its order; `terms` come in the design's order."""

    inputs: tuple[Column, ...]
    terms: tuple[Term, ...]

    @property
    def width(self) -> int:
        return sum(term.width for term in self.terms)


# --- working the design out again ---


@contextmanager
def formulas_left_alone() -> Iterator[None]:
    """While this holds, statsmodels opens pickles without evaluating the formulas in them."""
    from statsmodels.base.data import ModelData

    kept = ModelData.__setstate__
    ModelData.__setstate__ = lambda self, state: self.__dict__.update(state)
    try:
        yield
    finally:
        ModelData.__setstate__ = kept


@contextmanager
def patsy_engine() -> Iterator[None]:
    """While this holds, statsmodels takes patsy for formulas, whatever SM_FORMULA_ENGINE says."""
    from statsmodels import formula

    kept = formula.options.formula_engine
    formula.options.formula_engine = "patsy"
    try:
        yield
    finally:
        formula.options.formula_engine = kept


def restore_design(data: Any, where: str) -> Any:
    """Give the data of a model (statsmodels' ModelData) its design back, and return it; None without a formula.

    Raises ConversionFailed when the formula needs what the pickle does not hold, or gives another design than the
    model was fitted on.
    """
    if any(getattr(data, mark, False) for mark in _MARKS):
        data.model_spec = _evaluated(data, where)
    return getattr(data, "model_spec", None)


def _evaluated(data: Any, where: str) -> Any:
    import numpy as np
    import pandas as pd
    from statsmodels.formula._manager import FormulaManager

    frame = getattr(data, "frame", None)
    if frame is None:
        raise ConversionFailed("the pickle holds a formula without the data frame of the fit", where=where)
    manager = FormulaManager("patsy")
    names = {"np": np, "numpy": np, "pd": pd, "pandas": pd}
    try:
        _, design = manager.get_matrices(data.formula, frame, eval_env=names, pandas=True)
    except Exception as error:  # the formula is code, so anything may be raised
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        what = f"the formula '{data.formula}' cannot be evaluated again: {reason}"
        hint = "the pickle holds the data frame, and no other variable or function: write it with columns and np.…"
        raise ConversionFailed(what, where=where, hint=hint) from error
    fitted = data.orig_exog
    same = fitted is None or list(design.columns) == list(fitted.columns)
    if same and fitted is not None and len(design) == len(fitted):  # a missing weight, say, left rows out later
        same = np.array_equal(np.asarray(design), np.asarray(fitted))
    if not same:
        what = f"the formula '{data.formula}', evaluated again, gives another design than the model was fitted on"
        hint = "fit the model with patsy, statsmodels' default, and without drop_cols"
        raise ConversionFailed(what, where=where, hint=hint)
    return manager.spec


# --- reading it ---


def design_of(spec: Any, frame: Any, where: str) -> Design:
    """The DesignInfo of patsy as a Design; `frame` tells the columns' types.

    Raises ConversionFailed for a factor that is not exact or not known, with the term's name.
    """
    types = types_of(spec, frame, where)
    try:
        factors = {factor: _factor(factor, info, types) for factor, info in spec.factor_infos.items()}
        for factor, read in factors.items():
            _check_widths(factor.code, _expression(read), frame)
    except ConversionFailed as error:
        raise ConversionFailed(error.message, where=where, hint=error.hint) from error
    terms = []
    for subterm in (subterm for subterms in spec.term_codings.values() for subterm in subterms):
        contrasts = {factor: coding.matrix for factor, coding in subterm.contrast_matrices.items()}
        terms.append(Term(tuple((factors[factor], contrasts.get(factor)) for factor in subterm.factors)))
    used = set().union(*(columns_of(_expression(factor)) for factor in factors.values()))
    inputs = tuple(Column(name, types[name]) for name in map(str, frame) if name in used)
    if not inputs:
        raise ConversionFailed("the formula has no column of the data frame, so the model has no input", where=where)
    return Design(inputs, tuple(terms))


def _expression(factor: Factor) -> Expression:
    return factor.source if isinstance(factor, Categorical) else factor.value


def _check_widths(code: str, expression: Expression, frame: Any) -> None:
    """Raise ConversionFailed for computing in narrow numbers: log of an int8 is a float16, 1 - 2 in uint8 is 255."""
    if isinstance(expression, Column):
        return
    for name in columns_of(expression):
        dtype = str(getattr(frame[name], "dtype", "float64"))
        if dtype.lower() not in ("float64", "int64", "bool"):
            what = f"the formula's term '{code}' computes with the column '{name}' in {dtype}, which is not converted"
            raise ConversionFailed(what, hint=f"make it float64 before the fit: table['{name}'].astype('float64')")


def types_of(spec: Any, frame: Any, where: str) -> dict[str, Dtype]:
    """The columns' types: of categorical ones by their levels, of all others by the data frame."""
    import numpy as np

    by_kind: dict[str, Dtype] = {"b": "bool", "i": "float64", "u": "float64", "f": "float64"}
    kinds = {str(name): by_kind.get(np.asarray(frame[name]).dtype.kind, "string") for name in frame}
    for factor, info in spec.factor_infos.items():
        source = source_of(factor.code, kinds)
        if info.type == "categorical" and source is not None:
            kinds[source.name] = _type_of_levels(info.categories, factor.code, where)
    return kinds


def _type_of_levels(levels: tuple[Any, ...], code: str, where: str) -> Dtype:
    import numpy as np

    if all(isinstance(level, str) for level in levels):
        return "string"
    if all(isinstance(level, (bool, np.bool_)) for level in levels):
        return "bool"
    numbers = (int, float, np.integer, np.floating)
    if all(isinstance(level, numbers) and not isinstance(level, bool) and float(level) == level for level in levels):
        return "float64"
    shown = ", ".join(map(repr, levels[:3]))
    what = f"the levels of the formula's term '{code}' are neither all text nor all numbers: {shown}"
    raise ConversionFailed(what, where=where, hint="make them text before the fit")


def _factor(factor: Any, info: Any, types: Mapping[str, Dtype]) -> Factor:
    code, transforms = info.state["eval_code"], info.state.get("transforms", {})
    if info.type == "categorical":
        column = source_of(factor.code, types)
        if column is not None:
            convert = {"string": str, "bool": bool, "float64": float}[column.dtype]
            return Categorical(column, tuple(convert(level) for level in info.categories))
        source = expression_of(code, types, transforms, shown=factor.code)
        if not is_boolean(source):
            what = f"the formula's term '{factor.code}' makes categories of a computation, which is not converted"
            raise ConversionFailed(what, hint="make the categories a column before the fit")
        return Categorical(source, tuple(bool(level) for level in info.categories))
    value = expression_of(code, types, transforms, shown=factor.code)
    if info.num_columns != 1:
        raise ConversionFailed(f"the formula's term '{factor.code}' gives several columns, which is not converted")
    if not columns_of(value):
        raise ConversionFailed(f"the formula's term '{factor.code}' has no column in it, which is not converted")
    return Numeric(value)
