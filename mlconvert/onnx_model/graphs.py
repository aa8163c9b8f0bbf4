"""What is inside an ONNX model: its graphs, nodes and tensors, its signature, and the names of its tensors.

Nothing here opens a file; `mlconvert.onnx_model.files` does. A model may hold graphs in graphs (the branches of If, the
bodies of Loop and Scan), and functions; every walk here visits all of them.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.signature import Axis, Signature, TensorSpec

if TYPE_CHECKING:
    import onnx

DTYPES: Mapping[str, str] = {
    "BFLOAT16": "bfloat16",
    "BOOL": "bool",
    "DOUBLE": "float64",
    "FLOAT": "float32",
    "FLOAT16": "float16",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "INT8": "int8",
    "STRING": "string",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "UINT8": "uint8",
}
"""ONNX's element types that a model's inputs and outputs may have here, and our names for them."""


def graphs_of(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Every graph: the main one first, then the graphs in its nodes and those of functions and of training."""
    yield model.graph
    yield from _inner_graphs(model.graph.node)
    for function in model.functions:
        yield from _inner_graphs(function.node)
    for info in model.training_info:
        for graph in (info.initialization, info.algorithm):
            yield graph
            yield from _inner_graphs(graph.node)


def nodes_of(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node of every graph and of every function."""
    for graph in graphs_of(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def initializers_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """The dense initializers of every graph."""
    for graph in graphs_of(model):
        yield from graph.initializer


def attribute_tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Tensors that are neither initializers nor streamed: in attributes, and the parts of sparse tensors."""
    for graph in graphs_of(model):
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
    for node in nodes_of(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for sparse in (*((attribute.sparse_tensor,) if attribute.HasField("sparse_tensor") else ()),
                           *attribute.sparse_tensors):  # fmt: skip
                yield from (sparse.values, sparse.indices)


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from initializers_of(model)
    yield from attribute_tensors_of(model)


def opset_of(model: onnx.ModelProto, domain: str = "") -> int | None:
    """The version of a domain's operators that the model imports; `` and `ai.onnx` are the same domain."""
    for imported in model.opset_import:
        if _domain(imported.domain) == _domain(domain):
            return int(imported.version)
    return None


def check_opset(model: onnx.ModelProto, opset: int) -> None:
    """Raise ConversionFailed unless the model's ai.onnx opset is the one asked for (exporters change it silently)."""
    found = opset_of(model)
    if found != opset:
        got = "none" if found is None else str(found)
        raise ConversionFailed(f"opset {opset} was asked for, and the exporter wrote opset {got}",
                               hint="leave the opset out, or add the pass 'lower' with its option opset")  # fmt: skip


def onnx_signature(model: onnx.ModelProto) -> Signature:
    """Inputs (without initializers) and outputs of a model; weights need not be loaded.

    Raises ConversionFailed for a sequence, map or optional (ZipMap makes such an output), for an element type that
    numpy cannot hold, and for an output whose rank is not known even after shape inference.
    """
    values = {tensor.name for tensor in model.graph.initializer}
    values |= {sparse.values.name for sparse in model.graph.sparse_initializer}
    inputs = [value for value in model.graph.input if value.name not in values]
    outputs = list(model.graph.output)
    if any(value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape") for value in outputs):
        outputs = _inferred_outputs(model)
    return Signature(tuple(_spec("input", value) for value in inputs), tuple(_spec("output", v) for v in outputs))


def rename_tensors(model: onnx.ModelProto, mapping: Mapping[str, str]) -> None:
    """Rename graph inputs and outputs, in place, with every use of them, in inner graphs too.

    Names may be swapped. Raises UsageError when a name is not an input or output of the model, or when a new name
    is already that of another tensor.
    """
    mapping = {old: new for old, new in mapping.items() if old != new}
    if not mapping:
        return
    graph = model.graph
    public = [value.name for value in (*graph.input, *graph.output)]
    for old, new in mapping.items():
        if old not in public:
            what = f"the model has no input or output '{old}'.{suggest(old, public)}"
            raise UsageError(what, hint=f"its inputs and outputs: {', '.join(dict.fromkeys(public))}")
        if not new:
            raise UsageError(f"the new name of '{old}' is empty")
    taken = all_names(model) - mapping.keys()
    counts = Counter(mapping.values())
    for old, new in mapping.items():
        if new in taken or counts[new] > 1:
            raise UsageError(f"'{old}' cannot be renamed to '{new}': another tensor of the model has that name")
    _rename(graph, mapping)
    for note in graph.quantization_annotation:
        note.tensor_name = mapping.get(note.tensor_name, note.tensor_name)
        for entry in note.quant_parameter_tensor_names:
            entry.value = mapping.get(entry.value, entry.value)


def node_name(node: onnx.NodeProto) -> str:
    """What messages call a node: its name, or its first output, with its operator."""
    called = node.name or next(iter(node.output), "") or "without a name"
    domain = f"{node.domain}." if node.domain not in ("", "ai.onnx") else ""
    return f"{called} ({domain}{node.op_type})"


def inline_functions(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model with the bodies of its local functions in place of their calls; itself when it has none."""
    import onnx.inliner

    if not model.functions:
        return model
    try:
        return onnx.inliner.inline_local_functions(model)
    except (RuntimeError, ValueError) as error:
        raise ConversionFailed(f"the model's functions cannot be inlined: {error}", where=str(path)) from error


def infer_types(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The model with the types and shapes of its inner values; weights need not be loaded.

    Raises ConversionFailed for a model whose declared types contradict its operators.
    """
    import onnx

    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ConversionFailed(f"the model's types are not consistent: {error}", where=str(path)) from error


def value_types(model: onnx.ModelProto) -> dict[str, int]:
    """The element type of every value whose type is known: initializers, inputs, outputs and inferred values."""
    types = {}
    for graph in graphs_of(model):
        for value in (*graph.input, *graph.value_info, *graph.output):
            if value.type.HasField("tensor_type") and value.type.tensor_type.elem_type:
                types[value.name] = int(value.type.tensor_type.elem_type)
        for tensor in graph.initializer:
            types[tensor.name] = int(tensor.data_type)
    return types


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put nodes after those whose outputs they use (in inner graphs too), in place, otherwise in their order.

    Raises ConversionFailed when nodes wait for each other.
    """
    import onnx

    produced = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    waiting: dict[int, set[int]] = {}
    for place, node in enumerate(graph.node):
        inner = {name for part in _inner_graphs([node]) for one in part.node for name in one.input}
        inner |= {value.name for part in _inner_graphs([node]) for value in part.output}
        waiting[place] = {produced[name] for name in (*node.input, *inner) if name in produced} - {place}
    users: dict[int, list[int]] = {place: [] for place in waiting}
    for place, needed in waiting.items():
        for one in needed:
            users[one].append(place)
    ready = [place for place, needed in waiting.items() if not needed]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        place = heapq.heappop(ready)
        order.append(place)
        for user in users[place]:
            waiting[user].discard(place)
            if not waiting[user]:
                heapq.heappush(ready, user)
    if len(order) != len(graph.node):
        raise ConversionFailed("the graph has a cycle: its nodes cannot be put in order")
    nodes = []
    for place in order:
        nodes.append(onnx.NodeProto())
        nodes[-1].CopyFrom(graph.node[place])
    del graph.node[:]
    graph.node.extend(nodes)


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name


def _inner_graphs(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        for attribute in node.attribute:
            for graph in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                yield graph
                yield from _inner_graphs(graph.node)


def _inferred_outputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    import onnx

    try:
        return list(onnx.shape_inference.infer_shapes(model).graph.output)
    except (onnx.shape_inference.InferenceError, ValueError):  # ValueError: above 2 GB
        return list(model.graph.output)


def _spec(kind: str, value: onnx.ValueInfoProto) -> TensorSpec:
    import onnx

    which = value.type.WhichOneof("value")
    if which != "tensor_type":
        held = {"sequence_type": "a sequence", "map_type": "a map", "optional_type": "an optional"}
        what = f"{kind} '{value.name}' is {held.get(which, 'of no known type')}, not a tensor"
        raise ConversionFailed(what, hint="export without ZipMap or sequences (skl2onnx: options zipmap=False)")
    element = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type)
    if element not in DTYPES:
        raise ConversionFailed(f"{kind} '{value.name}' has the element type {element}, which mlconvert cannot run")
    if not value.type.tensor_type.HasField("shape"):
        what = f"{kind} '{value.name}' has no shape, not even a number of dimensions"
        raise ConversionFailed(what, hint="give it a shape (with dynamic axes if need be) in the exporter")
    return TensorSpec(value.name, DTYPES[element], tuple(_axis(dim) for dim in value.type.tensor_type.shape.dim))


def _axis(dim: onnx.TensorShapeProto.Dimension) -> Axis:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return dim.dim_param or None


def _defined(graph: onnx.GraphProto) -> set[str]:
    names = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    names |= {sparse.values.name for sparse in graph.sparse_initializer}
    return names | {name for node in graph.node for name in node.output}


def all_names(model: onnx.ModelProto) -> set[str]:
    graphs = [model.graph, *_inner_graphs(model.graph.node)]
    used = {name for graph in graphs for node in graph.node for name in node.input}
    return (used | {name for graph in graphs for name in _defined(graph)}) - {""}


def _rename(graph: onnx.GraphProto, mapping: Mapping[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = mapping.get(value.name, value.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = mapping.get(sparse.values.name, sparse.values.name)
    for node in graph.node:
        node.input[:] = [mapping.get(name, name) for name in node.input]
        node.output[:] = [mapping.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                # A name that the inner graph defines itself hides the outer one.
                own = _defined(inner)
                _rename(inner, {old: new for old, new in mapping.items() if old not in own})
