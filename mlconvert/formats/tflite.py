"""TensorFlow Lite's models (.tflite): what they take and give, read without TensorFlow.

The schema is LiteRT's `tflite/converter/schema/schema.fbs`; fields are called here by their place in it.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlconvert.errors import ConversionFailed
from mlconvert.formats.content import Content, damaged
from mlconvert.formats.flatbuffer_wire import Table, root
from mlconvert.signature import Axis, Signature, TensorSpec

IDENTIFIER = b"TFL3"
SIGNATURE = "serving_default"

# Places of fields in the tables of the schema.
_CODES, _SUBGRAPHS, _BUFFERS, _SIGNATURES = 1, 2, 4, 7  # Model
_TENSORS, _INPUTS, _OUTPUTS, _OPERATORS = 0, 1, 2, 3  # SubGraph
_SHAPE, _TYPE, _BUFFER, _NAME, _QUANTIZATION, _SHAPE_SIGNATURE = 0, 1, 2, 3, 4, 7  # Tensor
_SCALE = 2  # QuantizationParameters
_CUSTOM_CODE = 1  # OperatorCode
_KEY_INPUTS, _KEY_OUTPUTS, _KEY, _KEY_SUBGRAPH = 0, 1, 2, 4  # SignatureDef
_LATE_OFFSET, _LATE_SIZE = 1, 2  # Buffer: of files above 2 GB, whose weights lie behind the tables

# TensorType; those left out (complex numbers, int4, resources, variants) no other format has.
DTYPES: Mapping[int, str] = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool", 7: "int16", 9: "int8",
    10: "float64", 12: "uint64", 15: "uint32", 16: "uint16", 18: "bfloat16",
}  # fmt: skip


@dataclass(frozen=True)
class LiteTensor:
    """A tensor that the model takes or gives: `spec` has the signature's name, `index` is its place in the graph."""

    spec: TensorSpec
    index: int


@dataclass(frozen=True)
class LiteModel:
    """The first graph of a file. `signatures` are the keys of all signatures that the file has, `flex` the operators
    of TensorFlow's that it uses (`FlexErf`).

    `quantized`: a tensor in it is a whole number that stands for a real one. `repeated` are names that several of its
    tensors have.
    """

    inputs: tuple[LiteTensor, ...]
    outputs: tuple[LiteTensor, ...]
    signatures: tuple[str, ...]
    flex: tuple[str, ...]
    quantized: bool
    repeated: tuple[str, ...]

    @property
    def signature(self) -> Signature:
        return Signature(tuple(one.spec for one in self.inputs), tuple(one.spec for one in self.outputs))


def is_tflite(content: Content) -> bool:
    """True for a TensorFlow Lite model; raises ConversionFailed for one whose tables or weights are not whole."""
    if content.head[4:8] != IDENTIFIER:
        return False
    with content.path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            _check(root(data, 0), len(data))
        except (struct.error, ValueError) as error:
            reason = f"the TensorFlow Lite model is truncated or damaged: {error}"
            raise damaged(content.path, reason) from error
    return True


def read_tflite(path: Path) -> LiteModel:
    """What the model in the file takes and gives. Raises ConversionFailed for what is damaged or no format else has."""
    where = str(path)
    try:
        model = root(path.read_bytes(), 0)
        graph = _first(model)
        tensors = graph.tables(_TENSORS)
        names = [tensor.text(_NAME) for tensor in tensors]
        keys = model.tables(_SIGNATURES)
        inputs, outputs = _named(keys, graph, names)
        return LiteModel(
            tuple(LiteTensor(_spec(name, tensors[at], "input", where), at) for name, at in inputs),
            tuple(LiteTensor(_spec(name, tensors[at], "output", where), at) for name, at in outputs),
            tuple(key.text(_KEY) for key in keys),
            tuple(sorted(name for name in _custom(model) if name.startswith("Flex"))),
            any(_is_quantized(tensor) for tensor in tensors),
            tuple(sorted({name for name in names if names.count(name) > 1})) if len(set(names)) < len(names) else (),
        )
    except (OSError, struct.error, ValueError, IndexError) as error:
        what = f"not a TensorFlow Lite model, or a damaged one: {error}"
        raise ConversionFailed(what, where=where, hint="copy or export the model again") from error


def _check(model: Table, size: int) -> None:
    """Raise struct.error or ValueError unless the tables and all weights lie in the file."""
    for code in model.tables(_CODES):  # the last that is in a file, as a rule
        code.check()
    for buffer in model.tables(_BUFFERS):
        buffer.vector(0)
        late, count = buffer.number(_LATE_OFFSET, "Q", 0), buffer.number(_LATE_SIZE, "Q", 0)
        if late > 1 and late + count > size:  # 0 and 1 stand for weights in the table itself
            raise ValueError(f"{size} bytes of {late + count}")
    for graph in model.tables(_SUBGRAPHS):
        for field in (_TENSORS, _OPERATORS):
            for table in graph.tables(field):
                table.check()
    _first(model)


def _first(model: Table) -> Table:
    graphs = model.tables(_SUBGRAPHS)
    if not graphs:
        raise ValueError("it has no graph")
    return graphs[0]


def _custom(model: Table) -> Iterator[str]:
    for code in model.tables(_CODES):
        yield code.text(_CUSTOM_CODE)


def _named(keys: list[Table], graph: Table, names: list[str]) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """The inputs and outputs, in the graph's order, by the names of its signature; without one, by the tensors'."""
    chosen = [key for key in keys if key.number(_KEY_SUBGRAPH, "I", 0) == 0]
    chosen.sort(key=lambda key: key.text(_KEY) != SIGNATURE)
    sides = []
    for field, of_key in ((_INPUTS, _KEY_INPUTS), (_OUTPUTS, _KEY_OUTPUTS)):
        told = {}
        for entry in chosen[0].tables(of_key) if chosen else ():
            told[entry.number(1, "I", 0)] = entry.text(0)
        sides.append([(told.get(at, names[at]), at) for at in graph.numbers(field, "i")])
    return sides[0], sides[1]


def _spec(name: str, tensor: Table, side: str, where: str) -> TensorSpec:
    number = tensor.number(_TYPE, "b", 0)
    if number not in DTYPES:
        what = f"the {side} '{name}' is of TensorFlow Lite's type {number}, which no other format has"
        raise ConversionFailed(what, where=where)
    return TensorSpec(name, DTYPES[number], tuple(_axes(name, tensor)))


def _axes(name: str, tensor: Table) -> Iterator[Axis]:
    # The signature's lengths have -1 where `shape` has the 1 that such an axis begins with.
    lengths = tensor.numbers(_SHAPE_SIGNATURE, "i") or tensor.numbers(_SHAPE, "i")
    for number, length in enumerate(lengths):
        yield length if length >= 0 else "batch" if number == 0 else f"{name}_{number}"


def _is_quantized(tensor: Table) -> bool:
    return tensor.has(_QUANTIZATION) and tensor.table(_QUANTIZATION).vector(_SCALE)[1] > 0
