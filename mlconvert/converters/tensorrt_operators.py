"""Operators that no TensorRT has, whatever its version: told before anything runs.

From the table of ONNX operators that NVIDIA publishes with each parser (onnx-tensorrt, docs/operators.md, of 8.4 to
10.15): those that are in none of them and cannot be, for TensorRT has no type for what they take. Of all others the
parser decides, once it has the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlconvert.errors import ConversionFailed
from mlconvert.formats.onnx_operators import Node

SHOWN = 8  # nodes that a message names

_ML = "ai.onnx.ml"
_QUANTISED = frozenset(("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"))
_NO_TENSORS = frozenset(
    ("ConcatFromSequence", "ImageDecoder", "Optional", "OptionalGetElement", "OptionalHasElement", "RegexFullMatch",
     "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
     "SequenceMap", "SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer")
)  # fmt: skip


def instead(model: str = "MODEL.onnx") -> str:
    """The way to serve a model of which TensorRT has a part."""
    return (
        "let ONNX Runtime run what TensorRT lacks, and TensorRT the rest: "
        f"mlconvert publish {model} REPOSITORY --to triton --name NAME --set instance_kind=gpu "
        "--set accelerator=tensorrt --set tensorrt_engine_cache=/var/cache/engines"
    )


def check_operators(nodes: Iterable[Node], where: str, model: str = "MODEL.onnx") -> None:
    """Raise ConversionFailed, naming nodes, for operators that no TensorRT has; `model` is what a hint calls it."""
    found: dict[str, list[Node]] = {}
    for node in nodes:
        if (kind := _lacking(node)) is not None:
            found.setdefault(kind, []).append(node)
    for kind, (what, hint) in _KINDS.items():
        if kind in found:
            raise ConversionFailed(f"{what}: {listed(found[kind])}", where=where, hint=hint or instead(model))


_QUANTISE = (
    "quantise the float model so: --via int8-static --set int8-static.symmetric=yes --set int8-static.quantize_bias=no"
)
_KINDS: Mapping[str, tuple[str, str | None]] = {
    "ml": (
        "TensorRT has none of the operators of ONNX-ML",
        "serve the model with ONNX Runtime: --to onnx; trees also with Triton's FIL backend",
    ),
    "quantised": ("TensorRT takes int8 as QuantizeLinear and DequantizeLinear around float operators", _QUANTISE),
    "no tensors": ("TensorRT has tensors of numbers, and no sequences, optional values or strings", None),
}


def _lacking(node: Node) -> str | None:
    if node.domain == _ML:
        return "ml"
    if node.domain:
        return None
    return "quantised" if node.operator in _QUANTISED else "no tensors" if node.operator in _NO_TENSORS else None


def listed(nodes: list[Node]) -> str:
    """`node a of type Scaler, node b of type Scaler and 3 more`."""
    names = ", ".join(f"node {node.name} of type {node.operator}" for node in nodes[:SHOWN])
    return f"{names} and {len(nodes) - SHOWN} more" if len(nodes) > SHOWN else names
