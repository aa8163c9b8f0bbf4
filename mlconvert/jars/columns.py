"""The columns of a table, and those that steps make of them, on the way from an estimator to a JarModel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.jars.model import Steps, Table

OTHERWISE = "use --to onnx, which has more of scikit-learn's parts, or --set jar.via=pmml"


@dataclass(frozen=True)
class Column:
    """A column of the table, or one that a step made. `text`: the column whose texts its numbers stand for."""

    number: int
    text: int | None = None


Columns = tuple[Column, ...]


@dataclass(eq=False)
class Build:
    names: tuple[str, ...]
    where: str
    place: tuple[str, ...] = ()
    rows: list[tuple[int, int, float, float]] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    codes: dict[int, dict[str, int]] = field(default_factory=dict)  # of a column of text, text -> number

    def steps(self) -> Steps:
        operation, column, first, second = zip(*self.rows, strict=True) if self.rows else ((), (), (), ())
        return Steps(operation, column, first, second, tuple(self.tables))

    # --- messages ---

    @contextmanager
    def at(self, name: str, part: Any) -> Iterator[None]:
        before = self.place
        self.place = (*before, *([name] if name else []), type(part).__name__)
        try:
            yield
        finally:
            self.place = before

    @property
    def here(self) -> str:
        return " > ".join(self.place)

    def refused(self, reason: str = "") -> ConversionFailed:
        message = f"{self.here}: {reason}" if self.place and reason else reason or f"{self.here} has no form in a jar"
        return ConversionFailed(message, where=self.where, hint=OTHERWISE)

    def wrong_type(self, column: Column, holds: str, takes: str) -> UsageError:
        shown = f"the column '{self.names[column.number]}'" if column.number < len(self.names) else "a column"
        what = f"{shown} {holds}, and {self.here} {takes}"
        return UsageError(what, where=self.where, hint="give samples of the types that the model was fitted on")

    # --- columns ---

    def made(self, operation: int, column: Column, a: float = 0.0, b: float = 0.0) -> Column:
        """A new column."""
        self.rows.append((operation, column.number, float(a), float(b)))
        return Column(len(self.names) + len(self.rows) - 1)

    def number(self, column: Column) -> Column:
        if column.text is not None:
            raise self.wrong_type(column, "holds text", "takes numbers")
        return column

    def code(self, column: int, text: str) -> int:
        codes = self.codes.setdefault(column, {})
        return codes.setdefault(text, len(codes))

    def looked_up(self, column: Column, categories: np.ndarray, values: np.ndarray) -> Column:
        """What the categories of a column become: `values`, and behind them that of any other value."""
        keys, kept, missing = [], [], float(values[-1])
        for category, value in zip(categories.tolist(), values[:-1].tolist(), strict=True):
            if category is None or category != category or type(category).__name__ == "NAType":
                missing = float(value)
            elif isinstance(category, str) != (column.text is not None):
                holds, other = ("text", "numbers") if column.text is not None else ("numbers", "text")
                raise self.wrong_type(column, f"holds {holds}", f"was fitted on {other} in its place")
            else:
                key = self.code(column.text, category) if column.text is not None else self._key(category)
                keys.append(float(key))
                kept.append(float(value))
        order = np.argsort(keys) if keys else np.empty(0, np.int64)
        self.tables.append(Table(np.array(keys)[order], np.array(kept)[order], missing))
        return self.made(9, column, len(self.tables) - 1, float(values[-1]))

    def _key(self, category: Any) -> float:
        try:
            key = float(category)
        except (TypeError, ValueError) as error:
            raise self.refused("its categories are neither texts nor numbers") from error
        if isinstance(category, int) and int(key) != category:
            raise self.refused(f"its category {category} is no number that a double can be")
        return key
