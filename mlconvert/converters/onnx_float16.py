"""ONNX to ONNX: weights and arithmetic in float16, with ONNX Runtime's own tool."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.onnx_model.external import load_weights
from mlconvert.onnx_model.files import read_onnx
from mlconvert.onnx_model.graphs import infer_types, inline_functions, node_name, nodes_of, sort_nodes, value_types
from mlconvert.onnx_model.passes import contained, interface_of, write_pass

if TYPE_CHECKING:
    import onnx

LARGEST = 65504.0  # float16's largest finite value
_MADE_NARROW = re.compile(r"^graph_input_cast|_cast_to_fp16_node$")  # the tool's own names for its casts
_MADE_WIDE = re.compile(r"^graph_output_cast|_cast_to_fp32_node$")


def convert(
    source: Artifact,
    target: Path,
    *,
    keep_io_types: Annotated[bool, "inputs and outputs stay float32, with casts inside"] = True,
    keep_nodes: Annotated[tuple[str, ...], "operators (LayerNormalization) or names of nodes that stay float32"] = (),
    clamp: Annotated[bool, "weights beyond float16's range become its largest value (65504)"] = False,
) -> Artifact:
    """Raises ConversionFailed when nothing can be converted (trees) or a weight does not fit into float16."""
    from onnxruntime.transformers import float16

    model = inline_functions(read_onnx(source.path, external_data=False), source.path)
    before = interface_of(model)
    blocked = {*float16.DEFAULT_OP_BLOCK_LIST, *(n.op_type for n in nodes_of(model) if n.domain == "ai.onnx.ml")}
    known = {name for node in nodes_of(model) for name in (node.op_type, node.name)}
    for name in keep_nodes:
        if name not in known:
            raise UsageError(f"keep_nodes: the model has no operator and no node '{name}'.{suggest(name, known)}")
    model = infer_types(model, source.path)
    if not any(_converts(model, blocked | set(keep_nodes))):
        operators = ", ".join(sorted({node.op_type for node in model.graph.node}))
        what = f"nothing to convert to float16: {operators} take or give no float32, or have no float16 form"
        raise ConversionFailed(what, where=source.location)
    load_weights(model, source.path)
    wide = _beyond_range(model)
    there = {node.name for node in model.graph.node}
    try:
        with contained(target):
            model = float16.convert_float_to_float16(
                model,
                keep_io_types=keep_io_types,
                disable_shape_infer=True,
                op_block_list=sorted(blocked | set(keep_nodes)),
                node_block_list=list(keep_nodes),
            )
    except Exception as error:
        raise ConversionFailed(f"ONNX Runtime's float16 tool failed: {error}", where=source.location) from error
    converted = wide & {name for name, tensor in _tensors(model) if tensor.data_type == tensor.FLOAT16}
    if converted and not clamp:
        names = ", ".join(f"'{name}'" for name in sorted(converted)[:5])
        what = f"values beyond float16's range (65504) in {names}"
        hint = "keep the nodes that use them in float32 (keep_nodes), or cut the values off (clamp=yes)"
        raise ConversionFailed(what, where=source.location, hint=hint)
    _join_kept(model.graph, there)
    sort_nodes(model.graph)  # the tool appends its casts at the end
    facts = {"clamped": sorted(converted)} if converted else {}
    return write_pass(model, target, before, "ONNX Runtime's float16 tool", dtypes=keep_io_types, facts=facts)


def _converts(model: onnx.ModelProto, kept: set[str]) -> Iterator[bool]:
    """For every node, whether it computes on float32 and may do so in float16."""
    import onnx

    types = value_types(model)
    for node in nodes_of(model):
        if node.op_type in kept or node.name in kept or node.op_type in ("Cast", "Identity"):
            continue
        # A value that no type is known of may be float32: the tool decides.
        yield any(types.get(name) in (onnx.TensorProto.FLOAT, None) for name in (*node.input, *node.output) if name)


def _join_kept(graph: onnx.GraphProto, there: set[str]) -> None:
    """Hand what a node that stays float32 gives to the next such node as it is, in place.

    The tool casts it to float16 and back between them, where it may overflow. `there`: nodes that are not the tool's.
    """
    casts = [node for node in graph.node if node.op_type == "Cast" and node.name not in there]
    narrowing = {node.output[0]: node for node in casts if _MADE_NARROW.search(node.name)}
    given = {value.name for value in graph.output}
    joined = {}
    for node in casts:
        before = narrowing.get(node.input[0]) if _MADE_WIDE.search(node.name) else None
        if before is None:
            continue
        if node.output[0] in given:  # it keeps its name
            node.op_type, node.input[0] = "Identity", before.input[0]
            node.ClearField("attribute")
        else:
            joined[node.output[0]] = before.input[0]
            graph.node.remove(node)
    for inner in _with_inner(graph):
        for node in inner.node:
            for place, name in enumerate(node.input):
                node.input[place] = joined.get(name, name)
    used = given | {name for inner in _with_inner(graph) for node in inner.node for name in node.input}
    used |= {value.name for inner in _with_inner(graph) for value in inner.output}
    for name, node in narrowing.items():
        if name not in used:
            graph.node.remove(node)


def _with_inner(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield from _with_inner(inner)


def _tensors(model: onnx.ModelProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    for tensor in model.graph.initializer:
        yield tensor.name, tensor
    for node in nodes_of(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield node_name(node), attribute.t


def _beyond_range(model: onnx.ModelProto) -> set[str]:
    import numpy as np
    import onnx

    found = set()
    for name, tensor in _tensors(model):
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor)
            if values.size and np.any(np.isfinite(values) & (np.abs(values) > LARGEST)):
                found.add(name)
    return found
