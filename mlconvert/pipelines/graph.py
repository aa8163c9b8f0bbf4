"""An ONNX graph under construction, written as arithmetic: tensors know their type and width, and take operators.

    scaled = (x - part.mean_) / part.scale_

adds two nodes and two initializers, of the type of `x`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mlconvert.forests.node_lists import rounded_down

if TYPE_CHECKING:
    import onnx

    from mlconvert.forests.model import Float
    from mlconvert.onnx_model.releases import TreeOperators

Dtype = Literal["float64", "float32", "int64", "bool", "string"]
ELEMENTS: dict[Dtype, int] = {"float32": 1, "int64": 7, "string": 8, "bool": 9, "float64": 11}  # TensorProto.DataType
OF_ELEMENT: dict[int, Dtype] = {element: dtype for dtype, element in ELEMENTS.items()}
FLOATS = ("float32", "float64")

_TO_BOOL = frozenset({"And", "Equal", "Greater", "GreaterOrEqual", "IsNaN", "Less", "LessOrEqual", "Not", "Or"})
# Of floats whose bits are those of the library, these make such floats again: they are rounded as IEEE 754 says, or
# not at all. What sums, or calls a function of the C library, may end in another digit.
_KEEPS_BITS = _TO_BOOL | {
    "Abs", "Add", "ArgMax", "ArgMin", "Cast", "Ceil", "Concat", "Div", "Expand", "Floor", "Gather", "GatherElements",
    "LabelEncoder", "Mod", "Mul", "Neg", "ReduceMax", "ReduceMin", "Relu", "Reshape", "Round", "Shape", "Sign", "Slice",
    "Sqrt", "StringNormalizer", "Sub", "TfIdfVectorizer", "Tokenizer", "Where",
}  # fmt: skip
_AXES_ARE_INPUT_SINCE = {"ReduceSum": 13}  # the other reductions: 18


def dense(values: Any) -> np.ndarray:
    """What a fitted part holds as an array of float64; a sparse matrix becomes a full one."""
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, np.float64)


@dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor [N, width], or [N] where `width` is None (an inner one may have more axes).

    `exact`: its floats are those of the library to the last bit. A part that asks whether they equal something that
    it learnt must know.
    """

    graph: Graph = field(repr=False)
    name: str
    dtype: Dtype
    width: int | None
    exact: bool = True

    def __add__(self, other: Operand) -> Tensor:
        return self.graph.op("Add", self, other)

    def __sub__(self, other: Operand) -> Tensor:
        return self.graph.op("Sub", self, other)

    def __rsub__(self, other: Operand) -> Tensor:
        return self.graph.op("Sub", other, self)

    def __mul__(self, other: Operand) -> Tensor:
        return self.graph.op("Mul", self, other)

    def __truediv__(self, other: Operand) -> Tensor:
        return self.graph.op("Div", self, other)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return self.graph.op("Div", other, self)

    def __neg__(self) -> Tensor:
        return self.graph.op("Neg", self)

    def __matmul__(self, other: np.ndarray) -> Tensor:
        return self.graph.op("MatMul", self, other, width=other.shape[-1])

    def __lt__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self.graph.op("Less", self, other)

    def __le__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self.graph.op("LessOrEqual", self, other)

    def __gt__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self.graph.op("Greater", self, other)

    def __ge__(self, other: Operand) -> Tensor:  # type: ignore[misc]
        return self.graph.op("GreaterOrEqual", self, other)

    def __and__(self, other: Operand) -> Tensor:
        return self.graph.op("And", self, other)

    def __or__(self, other: Operand) -> Tensor:
        return self.graph.op("Or", self, other)

    def __invert__(self) -> Tensor:
        return self.graph.op("Not", self)

    def equals(self, other: Operand) -> Tensor:
        return self.graph.op("Equal", self, other)

    def cast(self, dtype: Dtype) -> Tensor:
        if dtype == self.dtype:
            return self
        return self.graph.op("Cast", self, dtype=dtype, to=ELEMENTS[dtype])

    def columns(self, which: Sequence[int] | np.ndarray) -> Tensor:
        """The columns [N, len(which)] with these numbers, in that order."""
        which = np.asarray(which, np.int64)
        if self.width == len(which) and np.array_equal(which, np.arange(len(which))):
            return self
        return self.graph.op("Gather", self, which, axis=1, width=len(which))

    def flat(self) -> Tensor:
        """As [N]."""
        return self.graph.op("Reshape", self, np.array([-1]), width=None) if self.width is not None else self

    def column(self) -> Tensor:
        """A tensor [N] as [N, 1]."""
        return self.graph.op("Reshape", self, np.array([-1, 1]), width=1) if self.width is None else self

    def reshaped(self, *lengths: int) -> Tensor:
        """With these axes, of which one may be -1 (the rest); `width` becomes the last."""
        return self.graph.op("Reshape", self, np.array(lengths), width=lengths[-1])

    def reduced(self, operator: str, axis: int = 1, *, keep: bool = True) -> Tensor:
        """`ReduceSum`, `ReduceMax`, `ReduceMean`, … over an axis."""
        graph, axes = self.graph, np.array([axis])
        if graph.opset >= _AXES_ARE_INPUT_SINCE.get(operator, 18):
            return graph.op(operator, self, axes, keepdims=int(keep), width=1 if keep else None)
        return graph.op(operator, self, axes=[axis], keepdims=int(keep), width=1 if keep else None)

    def argmax(self) -> Tensor:
        """The first of the largest in every row: int64 [N]."""
        return self.graph.op("ArgMax", self, axis=1, keepdims=0, dtype="int64", width=None)

    def argmin(self) -> Tensor:
        return self.graph.op("ArgMin", self, axis=1, keepdims=0, dtype="int64", width=None)

    def inexact(self) -> Tensor:
        """The same, computed in another way than the library does it."""
        return replace(self, exact=False)

    def apply(self, *operators: str) -> Tensor:
        """Unary operators (`Exp`, `Log`, `Abs`, …), one after the other."""
        result = self
        for operator in operators:
            result = self.graph.op(operator, result)
        return result


Operand = Tensor | np.ndarray | float


@dataclass(eq=False)
class Graph:
    """Nodes and initializers in the order in which they were added: for floats of one type, for an opset, and for what
    a runtime has for trees.
    """

    floats: Float
    opset: int
    operators: TreeOperators
    prefix: str = "inner/"  # before the names of all that is not an input or output
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    _constants: dict[tuple[object, ...], str] = field(default_factory=dict)
    _made: dict[tuple[object, ...], Tensor] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def name(self, hint: str) -> str:
        """A name that nothing else in the graph has."""
        return f"{self.prefix}{hint}{next(self._numbers)}"

    def inside(self) -> Graph:
        """The body of a loop in this graph: its nodes are its own, its constants are initializers of this one."""
        return replace(self, nodes=[], _made={})

    def constant(self, values: np.ndarray | float, dtype: Dtype | None = None) -> Tensor:
        """An initializer; an equal one is used again."""
        from onnx import numpy_helper

        array = np.asarray(values)
        texts = array.dtype.kind in "OUT"
        if texts:
            array = array.astype(object)
        else:
            kept = {"b": "bool", "f": array.dtype.name}.get(array.dtype.kind, "int64")
            array = np.asarray(array, dtype or kept, order="C")
        key = (array.dtype.str, array.shape, tuple(array.ravel()) if texts else array.tobytes())
        if key not in self._constants:
            self._constants[key] = self.name("constant")
            self.initializers.append(numpy_helper.from_array(array, self._constants[key]))
        found: Dtype = "string" if texts else array.dtype.name  # type: ignore[assignment]
        return Tensor(self, self._constants[key], found, array.shape[-1] if array.ndim else None)

    def op(
        self,
        operator: str,
        *inputs: Operand | None,
        dtype: Dtype | None = None,
        width: int | Literal["same"] | None = "same",
        domain: str = "",
        **attributes: Any,
    ) -> Tensor:
        """Add a node with one output, or find the one that does the same.

        Arrays and numbers become initializers, floats in the type of the first tensor of floats; None is an input
        left out. The output has the type and width of the first tensor, unless they are given.
        """
        first = next(value for value in inputs if isinstance(value, Tensor))
        floats = next((v.dtype for v in inputs if isinstance(v, Tensor) and v.dtype in FLOATS), None)
        names = [self._operand(value, floats) for value in inputs]
        if dtype is None:
            dtype = "bool" if operator in _TO_BOOL else first.dtype
        if width == "same":  # [N, 1] with [1, K] gives [N, K]
            width = max(_width(value) for value in inputs) if first.width == 1 else first.width
        key = (operator, domain, *names, *sorted((name, _hashable(value)) for name, value in attributes.items()))
        known = self._made.get(key)
        if known is not None:
            return known
        output = self.name(operator)
        self.add(operator, names, [output], domain=domain, **attributes)
        exact = operator in _KEEPS_BITS and all(value.exact for value in inputs if isinstance(value, Tensor))
        made = self._made[key] = Tensor(self, output, dtype, width, exact)
        return made

    def scan(self, x: Tensor, body: onnx.GraphProto, width: int) -> Tensor:
        """What a graph of one row [x.width] makes of every row of x: [N, width]."""
        output = self.name("Scan")
        self.add("Scan", [x.name], [output], body=body, num_scan_inputs=1)
        return Tensor(self, output, x.dtype, width, exact=False)

    def add(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], *, domain: str = "", **attributes: Any
    ) -> None:
        """Add a node with names as they are."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, list(inputs), list(outputs), domain=domain, **attributes))

    def where(self, condition: Tensor, chosen: Operand, other: Operand) -> Tensor:
        tensors = [value for value in (chosen, other) if isinstance(value, Tensor)]
        dtype: Dtype = tensors[0].dtype if tensors else "float64"
        return self.op("Where", condition, *self._alike(dtype, chosen, other), dtype=dtype)

    def concat(self, tensors: Sequence[Tensor]) -> Tensor:
        """Tensors [N, .] of one type beside each other."""
        if len(tensors) == 1:
            return tensors[0]
        return self.op("Concat", *tensors, axis=1, width=sum(tensor.width or 0 for tensor in tensors))

    def gather(self, table: np.ndarray, index: Tensor) -> Tensor:
        """`table[index]`, of a constant; a table of two axes and an index [N] give [N, K]."""
        held = self.constant(table)
        width = index.width if held.width is None or table.ndim == 1 else held.width
        return self.op("Gather", held, index, axis=0, width=width)

    def top_k(self, x: Tensor, count: int, *, largest: bool) -> tuple[Tensor, Tensor]:
        """The `count` largest or smallest of every row, in order, and their places; of equal ones the first."""
        values, places = self.name("values"), self.name("places")
        names = [x.name, self.constant(np.array([count])).name]
        self.add("TopK", names, [values, places], axis=1, largest=int(largest), sorted=1)
        return Tensor(self, values, x.dtype, count, x.exact), Tensor(self, places, "int64", count, x.exact)

    def rows_like(self, values: np.ndarray | float, like: Tensor, dtype: Dtype | None) -> Tensor:
        """The same row of values, [K], for as many rows as `like` has: [N, K]."""
        row = np.atleast_1d(np.asarray(values))
        count = self.op("Shape", like, dtype="int64", width=None)
        first = self.op("Slice", count, np.array([0]), np.array([1]), width=None)
        shape = self.op("Concat", first, np.array([len(row)]), axis=0, width=None)
        return self.op("Expand", self.constant(row, dtype), shape, width=len(row))

    def floor(self, value: float) -> float:
        """The largest of the graph's floats that is not above the value: what is above the one is above the other."""
        return float(rounded_down(np.array([value], np.float64))[0] if self.floats == "float32" else value)

    def _operand(self, value: Operand | None, floats: Dtype | None) -> str:
        if value is None:
            return ""
        if isinstance(value, Tensor):
            return value.name
        array = np.asarray(value)
        return self.constant(array, floats if array.dtype.kind == "f" else None).name

    def _alike(self, dtype: Dtype, *values: Operand) -> list[Tensor]:
        return [value if isinstance(value, Tensor) else self.constant(value, dtype) for value in values]


def _hashable(value: Any) -> object:
    return tuple(value) if isinstance(value, list) else value


def _width(value: Operand | None) -> int:
    if isinstance(value, Tensor):
        return value.width or 1
    shape = np.shape(value) if value is not None else ()
    return shape[-1] if shape else 1
