"""Which operators of a model cannot be lowered: all of them are told at once, before any work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mlconvert.tensorflow.lowering import opsets_of
from mlconvert.tensorflow.operators import find, operators

if TYPE_CHECKING:
    import onnx

OF_MAPS = ("ai.onnx.ml.ZipMap", "ai.onnx.ml.CastMap", "ai.onnx.ml.DictVectorizer")
"""Operators whose values are maps, which TensorFlow does not have."""


def hint_for(missing: Iterable[str]) -> str:
    """What mends a model whose operators, as `missing_operators` names them, cannot be lowered."""
    if all(name.startswith(OF_MAPS) for name in missing):
        return "maps are no tensors: export without them (skl2onnx: options zipmap=False)"
    return "serve the model with ONNX Runtime: publish it with --to triton"


def missing_operators(model: onnx.ModelProto) -> Counter[str]:
    """Operators without a lowering, `domain.Name-opset`, with the number of nodes; subgraphs and functions included."""
    functions = {(function.domain, function.name, function.overload): function for function in model.functions}
    missing: Counter[str] = Counter()
    _collect(model.graph.node, opsets_of(model), functions, missing)
    return missing


def _collect(
    nodes: Iterable[onnx.NodeProto],
    opsets: Mapping[str, int],
    functions: Mapping[tuple[str, str, str], onnx.FunctionProto],
    missing: Counter[str],
) -> None:
    for node in nodes:
        domain = "" if node.domain == "ai.onnx" else node.domain
        own = functions.get((domain, node.op_type, node.overload))
        if own is not None:
            _collect(own.node, {**opsets, **opsets_of(own)}, functions, missing)
        elif find(domain, node.op_type, opsets.get(domain, 0)) is None and not _expands(node, domain, opsets):
            missing[f"{domain + '.' if domain else ''}{node.op_type} (opset {opsets.get(domain, 0)})"] += 1
        for attribute in node.attribute:
            for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                _collect(graph.node, opsets, functions, missing)


def _expands(node: onnx.NodeProto, domain: str, opsets: Mapping[str, int]) -> bool:
    """Whether ONNX itself defines the operator by operators that can be lowered."""
    import onnx

    version = opsets.get(domain, 0)
    try:
        schema = onnx.defs.get_schema(node.op_type, version, domain)
    except onnx.defs.SchemaError:
        return False
    if schema.has_context_dependent_function:  # known only with the types of its inputs
        return True
    if not schema.has_function:
        return False
    body = schema.function_body
    return all((one.domain, one.op_type) in operators() for one in body.node)
