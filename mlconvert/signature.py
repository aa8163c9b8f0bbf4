"""What a model takes and gives: names, dtypes and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The kinds of dtype that parity tells apart; two dtypes of one kind differ only in width.
KINDS: Mapping[str, str] = {
    "bool": "bool",
    "int8": "integer",
    "int16": "integer",
    "int32": "integer",
    "int64": "integer",
    "uint8": "integer",
    "uint16": "integer",
    "uint32": "integer",
    "uint64": "integer",
    "bfloat16": "float",
    "float16": "float",
    "float32": "float",
    "float64": "float",
    "string": "string",
}

Axis = int | str | None
"""A fixed length, the name of a dynamic axis, or None for a dynamic axis without a name."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output. `columns` names the columns of a matrix of features where the model knows them."""

    name: str
    dtype: str
    shape: tuple[Axis, ...]
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{', '.join('?' if axis is None else str(axis) for axis in self.shape)}]"

    def as_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}
        if self.columns:
            data["columns"] = list(self.columns)
        return data

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> TensorSpec:
        return TensorSpec(data["name"], data["dtype"], tuple(data["shape"]), tuple(data.get("columns", ())))


@dataclass(frozen=True)
class Signature:
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "inputs": [spec.as_json() for spec in self.inputs],
            "outputs": [spec.as_json() for spec in self.outputs],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Signature:
        return Signature(
            tuple(TensorSpec.from_json(spec) for spec in data["inputs"]),
            tuple(TensorSpec.from_json(spec) for spec in data["outputs"]),
        )
