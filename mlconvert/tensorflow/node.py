"""What a lowering function is told of its node, beyond inputs and attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    import numpy as np
    import onnx


class Surroundings(Protocol):
    """The graph around a node, as far as a lowering function may know it."""

    def constant(self, name: str) -> np.ndarray | None:
        """The value's array when it is known at conversion: a constant, or what was folded from constants."""

    def arranged(self, name: str, key: str, arrange: Callable[[np.ndarray], np.ndarray]) -> Any:
        """A constant, laid out otherwise once and for all at conversion, as a tensor."""

    def weight(self, key: tuple[str, ...], array: np.ndarray) -> Any:
        """An array that is no value of the graph as a tensor: a variable of its own, if it is large."""

    def lower(self, graph: onnx.GraphProto, inputs: tuple[Any, ...], label: str) -> tuple[Any, ...]:
        """Lower a subgraph here and now, in the graph that TensorFlow is tracing; gives its outputs.

        `label` tells it from the other subgraphs of this graph, whose names say nothing.
        """


@dataclass(frozen=True)
class Node:
    """A node of an ONNX graph. Names of omitted inputs and outputs are empty."""

    name: str
    op_type: str
    domain: str
    version: int  # of the opset of its domain
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    surroundings: Surroundings
    graphs: Mapping[str, onnx.GraphProto] = field(default_factory=dict)  # the attributes that are graphs

    @property
    def label(self) -> str:
        """Tells the node from the others of its graph: the name of an output. Names of nodes need not be unique."""
        return next(filter(None, self.outputs), self.name)

    def wants(self, index: int) -> bool:
        """Whether the graph has a name for the output at that place."""
        return index < len(self.outputs) and bool(self.outputs[index])

    def constant(self, index: int) -> np.ndarray | None:
        """The input at that place where it is known at conversion; None where it is not, or is left out."""
        if index >= len(self.inputs) or not self.inputs[index]:
            return None
        return self.surroundings.constant(self.inputs[index])

    def arranged(self, index: int, key: str, arrange: Callable[[np.ndarray], np.ndarray]) -> Any:
        """A constant input, changed by `arrange` at conversion, as a tensor; None where the input is not constant.

        The result is a weight of its own: two nodes that share the input and `key` share it. The input itself is a
        tf.TensorSpec then, a shape and a type without values, where the operator's row says `arranges`: as a tensor
        it would be saved too.
        """
        if self.constant(index) is None:
            return None
        return self.surroundings.arranged(self.inputs[index], key, arrange)

    def weight(self, key: str, array: np.ndarray) -> Any:
        """An array that the node's attributes say, as a tensor: a weight of its own; `key` is unique in the node."""
        return self.surroundings.weight((self.label, key), array)

    def lower(self, graph: onnx.GraphProto, *inputs: Any) -> tuple[Any, ...]:
        """Lower the subgraph of an attribute with these inputs, inside of whatever TensorFlow is tracing."""
        attribute = next(name for name, held in self.graphs.items() if held is graph)
        return self.surroundings.lower(graph, inputs, f"{self.label}.{attribute}")

    def refuse(self, what: str, hint: str | None = None) -> ConversionFailed:
        """The error to raise for a node that cannot be lowered as it is."""
        called = f" '{self.name}'" if self.name else ""
        return ConversionFailed(f"{self.op_type}{called} {what}", hint=hint)
