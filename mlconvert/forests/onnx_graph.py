"""A graph of ONNX nodes under construction, in wire format: names are given, constants kept, nodes put in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mlconvert.forests import onnx_attributes as wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import onnx
    from numpy.typing import ArrayLike

    from mlconvert.forests.onnx_attributes import Pieces


@dataclass
class Graph:
    """Nodes and initializers whose names begin with `prefix`; each is the content of a NodeProto or a TensorProto."""

    prefix: str
    nodes: list[Pieces] = field(default_factory=list)
    initializers: list[Pieces] = field(default_factory=list)

    def add(
        self,
        operator: str,
        *inputs: str,
        output: str = "",
        domain: str = "",
        attributes: Iterable[bytes | memoryview] = (),
        **integers: int,
    ) -> str:
        """Add a node with one output, named `output` where that is given, and return that name.

        Its attributes are `attributes`, in wire format, and `integers`.
        """
        name = f"{self.prefix}{len(self.nodes)}/{operator}"
        pieces = list(attributes)
        for key, value in integers.items():
            pieces += wire.integer_attribute(key, value)
        self.nodes.append(wire.node(operator, domain, inputs, [output or name], name, pieces))
        return output or name

    def cast(self, value: str, dtype: str, output: str = "") -> str:
        """A Cast to a type by its numpy name."""
        return self.add("Cast", value, output=output, to=wire.ELEMENT_TYPES[dtype])

    def constant(self, values: ArrayLike, dtype: str = "") -> str:
        """Add an initializer, of the type `dtype` where that is given; return its name."""
        name = f"{self.prefix}constant{len(self.initializers)}"
        self.initializers.append(wire.tensor(name, np.asarray(values, dtype or None)))
        return name

    def texts(self, values: Sequence[str]) -> str:
        """Add an initializer of texts; return its name."""
        name = f"{self.prefix}constant{len(self.initializers)}"
        self.initializers.append(wire.texts_tensor(name, values))
        return name

    def node_protos(self) -> list[onnx.NodeProto]:
        """The nodes as onnx's own messages."""
        import onnx

        return [onnx.NodeProto.FromString(b"".join(pieces)) for pieces in self.nodes]

    def tensor_protos(self) -> list[onnx.TensorProto]:
        """The initializers as onnx's own messages."""
        import onnx

        return [onnx.TensorProto.FromString(b"".join(pieces)) for pieces in self.initializers]
