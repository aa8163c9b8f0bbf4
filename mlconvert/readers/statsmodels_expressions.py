"""The expressions in a formula, `np.log(w)` or `I(x ** 2)`, as a tree of few operations.

patsy evaluates a factor of a formula as Python code. Here the code is read, not run: what the tree can hold is
arithmetic in float64 on columns and numbers, and whatever else the code says is refused by name.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlconvert.errors import ConversionFailed

Dtype = Literal["float64", "string", "bool"]


@dataclass(frozen=True)
class Column:
    name: str
    dtype: Dtype


@dataclass(frozen=True)
class Number:
    value: float


@dataclass(frozen=True)
class Call:
    """An operation on float64, or on booleans; its answer is a boolean for those in LOGICAL, else a float64."""

    operation: str
    arguments: tuple[Expression, ...]


Expression = Column | Number | Call

# Names as in numpy. The arithmetic ones take numbers, booleans as 0 and 1; those of COMPARISONS give booleans.
FUNCTIONS = {
    "abs": 1, "absolute": 1, "ceil": 1, "cos": 1, "divide": 2, "exp": 1, "expm1": 1, "floor": 1, "log": 1, "log10": 1,
    "log1p": 1, "log2": 1, "maximum": 2, "minimum": 2, "multiply": 2, "negative": 1, "power": 2, "sign": 1, "sin": 1,
    "sqrt": 1, "square": 1, "subtract": 2, "add": 2, "tanh": 1,
}  # fmt: skip
COMPARISONS = frozenset({"equal", "greater", "greater_equal", "less", "less_equal", "not_equal"})
LOGICAL = COMPARISONS | {"logical_and", "logical_not", "logical_or"}

_ARITHMETIC: Mapping[type, str] = {
    ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.Div: "divide", ast.Pow: "power",
}  # fmt: skip
_COMPARED: Mapping[type, str] = {
    ast.Eq: "equal", ast.Gt: "greater", ast.GtE: "greater_equal", ast.Lt: "less", ast.LtE: "less_equal",
    ast.NotEq: "not_equal",
}  # fmt: skip
_LOGIC: Mapping[type, str] = {ast.BitAnd: "logical_and", ast.BitOr: "logical_or"}
_CONSTANTS = {"e": 2.718281828459045, "pi": 3.141592653589793}
_NUMPY = ("np", "numpy")

TAKEN = "columns, numbers, + - * / **, comparisons, & | ~, C(), I(), Q(), center(), standardize(), np." + ", np.".join(
    sorted(FUNCTIONS)
)


class NotTaken(ConversionFailed):
    """An expression that cannot be converted exactly."""


def source_of(code: str, columns: Mapping[str, Dtype]) -> Column | None:
    """The column that a categorical factor is made of, if it is one as it stands: `g`, `C(g, Sum)`, `Q("g 1")`.

    `columns` are those of the data frame.
    """
    node = _parsed(code)
    if _called(node) == "C" and isinstance(node, ast.Call) and node.args:
        node = node.args[0]
    name = _column_name(node)
    return Column(name, columns[name]) if name in columns else None


def expression_of(
    code: str, columns: Mapping[str, Dtype], transforms: Mapping[str, Any], *, shown: str = ""
) -> Expression:
    """The tree of an expression. `transforms` are the objects that patsy keeps for `center(x)` and `standardize(x)`.

    Raises NotTaken for what is not exact or not known, with the code (or `shown`) and what is taken instead.
    """
    reader = _Reader(shown or code, columns, transforms)
    node = _parsed(code)
    if _called(node) == "C" and isinstance(node, ast.Call) and node.args:
        node = node.args[0]
    return reader.read(node)


def is_boolean(expression: Expression) -> bool:
    if isinstance(expression, Column):
        return expression.dtype == "bool"
    return isinstance(expression, Call) and expression.operation in LOGICAL


def columns_of(expression: Expression) -> set[str]:
    if isinstance(expression, Column):
        return {expression.name}
    return set().union(*map(columns_of, expression.arguments)) if isinstance(expression, Call) else set()


def _parsed(code: str) -> ast.expr:
    return ast.parse(code.strip(), mode="eval").body


def _called(node: ast.expr) -> str | None:
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def _column_name(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if _called(node) == "Q" and isinstance(node, ast.Call) and isinstance(node.args[0], ast.Constant):
        return str(node.args[0].value)
    return ""


@dataclass(frozen=True)
class _Reader:
    code: str
    columns: Mapping[str, Dtype]
    transforms: Mapping[str, Any]

    def refused(self, what: str) -> NotTaken:
        hint = f"compute it as a column before the fit, or write it with what is taken: {TAKEN}"
        return NotTaken(f"the formula's term '{self.code}' has {what}, which is not converted", hint=hint)

    def read(self, node: ast.expr) -> Expression:
        name = _column_name(node)
        if name:
            if name not in self.columns:
                raise self.refused(f"'{name}', which is no column,")
            return Column(name, self.columns[name])
        if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
            return Number(float(node.value))
        if isinstance(node, ast.Attribute) and _is_numpy(node.value) and node.attr in _CONSTANTS:
            return Number(_CONSTANTS[node.attr])
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return self.arithmetic(_ARITHMETIC[type(node.op)], [node.left, node.right])
        if isinstance(node, ast.BinOp) and type(node.op) in _LOGIC:
            return self.logic(_LOGIC[type(node.op)], [node.left, node.right])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return self.arithmetic("negative", [node.operand])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd):
            return self.read(node.operand)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            return self.logic("logical_not", [node.operand])
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
            return self.arithmetic(_COMPARED[type(node.ops[0])], [node.left, node.comparators[0]])
        if isinstance(node, ast.Call):
            return self.call(node)
        raise self.refused(f"'{ast.unparse(node)}'")

    def call(self, node: ast.Call) -> Expression:
        function = node.func
        if _called(node) == "I" and len(node.args) == 1 and not node.keywords:
            return self.read(node.args[0])
        if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
            name, attribute = function.value.id, function.attr
            if name in self.transforms and attribute == "transform":
                return self.transformed(self.transforms[name], node)
            if _is_numpy(function.value) and FUNCTIONS.get(attribute) == len(node.args) and not node.keywords:
                return self.arithmetic("abs" if attribute == "absolute" else attribute, node.args)
        if _called(node) == "abs" and len(node.args) == 1:
            return self.arithmetic("abs", node.args)
        raise self.refused(f"'{ast.unparse(function)}()'")

    def arithmetic(self, operation: str, nodes: list[ast.expr]) -> Expression:
        arguments = tuple(self.read(node) for node in nodes)
        if any(isinstance(argument, Column) and argument.dtype == "string" for argument in arguments):
            raise self.refused("text in a computation")
        # Among themselves numpy's booleans are added and multiplied as truths, and cannot be subtracted.
        if all(map(is_boolean, arguments)):
            raise self.refused("truths in a computation without a number")
        return Call(operation, arguments)

    def logic(self, operation: str, nodes: list[ast.expr]) -> Expression:
        arguments = tuple(self.read(node) for node in nodes)
        if not all(map(is_boolean, arguments)):
            raise self.refused("& | or ~ of numbers")
        return Call(operation, arguments)

    def transformed(self, state: Any, node: ast.Call) -> Expression:
        """`center(x)` and `standardize(x)` with what patsy kept of the data: patsy.state.Center and Standardize."""
        import numpy as np

        kind = type(state).__name__
        keywords = {word.arg: word.value for word in node.keywords}
        if kind == "Center" and len(node.args) == 1 and not keywords:
            mean, divisor = np.ravel(state._sum / state._count), None
        elif kind == "Standardize" and len(node.args) == 1 and not keywords:
            mean, divisor = np.ravel(state.current_mean), np.ravel(np.sqrt(state.current_M2 / state.current_n))
        else:
            raise self.refused(f"'{kind}'" + (" with options" if kind == "Standardize" else ""))
        if mean.size != 1:
            raise self.refused("a matrix in a column")
        centred = Call("subtract", (self.read(node.args[0]), Number(float(mean[0]))))
        return centred if divisor is None else Call("divide", (centred, Number(float(divisor[0]))))


def _is_numpy(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in _NUMPY
