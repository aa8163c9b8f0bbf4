"""The design of a formula as ONNX nodes, in float64 as patsy has it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlconvert.readers.statsmodels_expressions import (
    Call,
    Column,
    Expression,
    Number,
    is_boolean,
)
from mlconvert.readers.statsmodels_formulas import Categorical, Design, Factor, Numeric, Term

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.forests.onnx_graph import Graph

ML = "ai.onnx.ml"
ML_OPSET = 2  # of LabelEncoder

# Operations of mlconvert.readers.statsmodels_expressions that are one operator. All of them have float64 kernels.
_OPERATORS = {
    "abs": "Abs", "add": "Add", "ceil": "Ceil", "cos": "Cos", "divide": "Div", "equal": "Equal", "exp": "Exp",
    "floor": "Floor", "greater": "Greater", "greater_equal": "GreaterOrEqual", "less": "Less",
    "less_equal": "LessOrEqual", "log": "Log", "logical_and": "And", "logical_not": "Not", "logical_or": "Or",
    "maximum": "Max", "minimum": "Min", "multiply": "Mul", "negative": "Neg", "power": "Pow", "sign": "Sign",
    "sin": "Sin", "sqrt": "Sqrt", "subtract": "Sub", "tanh": "Tanh",
}  # fmt: skip


@dataclass
class DesignNodes:
    """Adds a design's nodes to a graph; what several terms share is added once."""

    graph: Graph
    _values: dict[Expression, str] = field(default_factory=dict)
    _levels: dict[Categorical, str] = field(default_factory=dict)

    def linear_predictor(self, design: Design, parameters: np.ndarray) -> str:
        """`design @ parameters` [N, K], for parameters [P, K]; NaN for a row with a category that is no level."""
        import numpy as np

        parts, rows = [], []
        constant, start = np.zeros((1, parameters.shape[1])), 0
        for term in design.terms:
            own = parameters[start : start + term.width]
            start += term.width
            if term.factors:
                parts.append(self.columns(term))
                rows.append(own)
            else:
                constant = constant + own
        matrix = self.graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]
        product = self.graph.add("MatMul", matrix, self.graph.constant(np.concatenate(rows)))
        return self.graph.add("Add", product, self.graph.constant(constant)) if constant.any() else product

    def columns(self, term: Term) -> str:
        """The columns [N, K] of a term that has factors."""
        (first, contrasts), *others = term.factors
        product, width = self.factor(first, contrasts), 1 if contrasts is None else contrasts.shape[1]
        for factor, contrasts in others:
            by, count = self.factor(factor, contrasts), 1 if contrasts is None else contrasts.shape[1]
            if 1 in (width, count):
                product = self.graph.add("Mul", product, by)
            else:  # the columns so far vary faster than those of the factor
                before = self.graph.add("Unsqueeze", product, self.integers(1))
                each = self.graph.add("Unsqueeze", by, self.integers(2))
                both = self.graph.add("Mul", before, each)
                product = self.graph.add("Reshape", both, self.integers(0, width * count))
            width *= count
        return product

    def factor(self, factor: Factor, contrasts: np.ndarray | None) -> str:
        """A factor's columns: one, or those of the contrast matrix [L, K]."""
        import numpy as np

        if isinstance(factor, Numeric):
            return self.number(factor.value)
        assert contrasts is not None
        table = np.concatenate([np.full((1, contrasts.shape[1]), np.nan), contrasts])  # 0 is no level
        return self.graph.add("Gather", self.graph.constant(table, "float64"), self.level(factor), axis=0)

    def level(self, factor: Categorical) -> str:
        """The number of each row's level, from 1 on, int64 [N]; 0 where it has none."""
        import numpy as np

        from mlconvert.forests import onnx_attributes as wire

        if factor in self._levels:
            return self._levels[factor]
        graph = self.graph
        if isinstance(factor.source, Column) and factor.source.dtype == "string":
            each = np.arange(len(factor.levels))
            keys = wire.choices_attribute("keys_strings", [str(level) for level in factor.levels], each)
            values = wire.integers_attribute("values_int64s", each + 1)
            numbers = graph.add(
                "LabelEncoder", factor.source.name, domain=ML, attributes=[*keys, *values], default_int64=0
            )
        else:
            levels = np.array([[float(level) for level in factor.levels]])
            equal = graph.add("Equal", self.number(factor.source), graph.constant(levels))
            counted = graph.constant(np.arange(1.0, levels.size + 1).reshape(-1, 1))
            numbers = graph.cast(graph.add("MatMul", graph.cast(equal, "float64"), counted), "int64")
        self._levels[factor] = graph.add("Squeeze", numbers, self.integers(1))
        return self._levels[factor]

    def number(self, expression: Expression) -> str:
        """The value of an expression as float64 [N, 1]; booleans are 0 and 1."""
        value = self.value(expression)
        return self.graph.cast(value, "float64") if is_boolean(expression) else value

    def value(self, expression: Expression) -> str:
        """The value of an expression, a float64 or a boolean [N, 1]."""
        if expression not in self._values:
            if isinstance(expression, Column):
                self._values[expression] = expression.name
            elif isinstance(expression, Number):
                self._values[expression] = self.graph.constant(expression.value, "float64")
            else:
                self._values[expression] = self.called(expression)
        return self._values[expression]

    def called(self, call: Call) -> str:
        graph = self.graph
        logical = call.operation.startswith("logical_")
        arguments = [self.value(part) if logical else self.number(part) for part in call.arguments]
        if call.operation == "power" and call.arguments[1] == Number(0.5):
            return graph.add("Sqrt", arguments[0])  # as numpy does
        if call.operation in _OPERATORS:
            return graph.add(_OPERATORS[call.operation], *arguments)
        (x, *_) = arguments
        if call.operation == "not_equal":
            return graph.add("Not", graph.add("Equal", *arguments))
        if call.operation == "square":
            return graph.add("Mul", x, x)
        if call.operation in ("log2", "log10"):
            base = math.log(2 if call.operation == "log2" else 10)
            return graph.add("Div", graph.add("Log", x), graph.constant(base))
        assert call.operation in ("expm1", "log1p"), call.operation
        return self.near_zero(call.operation, x)

    def near_zero(self, operation: str, x: str) -> str:
        """`expm1` and `log1p` without the loss of digits near 0: what rounding did to u is undone by a quotient.

        W. Kahan's: log1p(x) = log(u) * x / (u - 1) for u = 1 + x, expm1(x) = (u - 1) * x / log(u) for u = exp(x).
        """
        graph = self.graph
        one = graph.constant(1.0)
        u = graph.add("Add", one, x) if operation == "log1p" else graph.add("Exp", x)
        log, less = graph.add("Log", u), graph.add("Sub", u, one)
        above, below = (log, less) if operation == "log1p" else (less, log)
        mended = graph.add("Div", graph.add("Mul", above, x), below)
        # Where u is infinite, or exp(x) is 0, nothing is to be mended and the quotient is not a number.
        ends = graph.add("Or", graph.add("IsInf", u), graph.add("Equal", u, graph.constant(0.0)))
        mended = graph.add("Where", ends, above, mended)
        return graph.add("Where", graph.add("Equal", u, one), x, mended)

    def integers(self, *values: int) -> str:
        import numpy as np

        return self.graph.constant(np.array(values, np.int64))
