"""ONNX to ONNX: weights and arithmetic in bfloat16, for GPUs; or weights alone, for size.

An operator computes in bfloat16 where its definition in ONNX allows that; casts stand between it and those that
compute in float32. ONNX Runtime's CPU provider has next to no bfloat16 kernels (Cast, Concat, Transpose and a few
more), so a result with arithmetic in bfloat16 cannot be verified on a CPU, and verification says so. With
`weights_only` the arithmetic stays float32: half the size, runs everywhere, and can be verified.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.onnx_model.external import array_of
from mlconvert.onnx_model.files import read_onnx
from mlconvert.onnx_model.graphs import (
    all_names,
    graphs_of,
    infer_types,
    inline_functions,
    nodes_of,
    opset_of,
    value_types,
)
from mlconvert.onnx_model.opsets import set_opset
from mlconvert.onnx_model.passes import interface_of, write_pass

if TYPE_CHECKING:
    import onnx

OPSET = 22  # the first whose convolutions, poolings and recurrent layers may be bfloat16
FLOAT, BFLOAT16 = 1, 16  # onnx.TensorProto's
KEPT = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})  # scales need their precision


def convert(
    source: Artifact,
    target: Path,
    *,
    keep_io_types: Annotated[bool, "inputs and outputs stay float32, with casts inside"] = True,
    keep_nodes: Annotated[tuple[str, ...], "operators or names of nodes that stay float32"] = (),
    weights_only: Annotated[bool, "bfloat16 weights, float32 arithmetic: half the size, runs everywhere"] = False,
) -> Artifact:
    """Raises ConversionFailed when nothing can be converted, and for arithmetic in a model with inner graphs (If).

    Finite weights beyond bfloat16's range become its largest value, 0.4 % below float32's.
    """
    model = inline_functions(read_onnx(source.path, external_data=False), source.path)
    before = interface_of(model)
    if weights_only:
        if keep_nodes or not keep_io_types:
            raise UsageError("weights_only leaves all arithmetic, inputs and outputs in float32")
        count = _store_weights(model, source.path)
    else:
        known = {name for node in nodes_of(model) for name in (node.op_type, node.name)}
        for name in keep_nodes:
            if name not in known:
                raise UsageError(f"keep_nodes: the model has no operator and no node '{name}'.{suggest(name, known)}")
        if len(list(graphs_of(model))) > 1:
            what = "arithmetic in bfloat16 is not supported in models with inner graphs (If, Loop, Scan)"
            raise ConversionFailed(what, where=source.location, hint="use weights_only=yes")
        kept = KEPT | set(keep_nodes)
        if (opset_of(model) or 0) < OPSET and any(_gains(node, model, kept) for node in model.graph.node):
            model = set_opset(model, OPSET, source.path)
        _constants_to_initializers(model.graph)
        model = infer_types(model, source.path)
        count = _Rewriter(model, source.path, kept, keep_io_types).rewrite()
    if not count:
        operators = ", ".join(sorted({node.op_type for node in nodes_of(model)}))
        what = f"nothing to convert to bfloat16: {operators} take or give no float32, or have no bfloat16 form"
        raise ConversionFailed(what, where=source.location)
    # That the types fit together is seen when ONNX Runtime loads the result; inference would need the weights twice.
    facts = {"converted": count, "arithmetic": "float32" if weights_only else "bfloat16"}
    return write_pass(
        model, target, before, "the conversion to bfloat16", dtypes=keep_io_types, weights_of=source.path, facts=facts
    )


def _store_weights(model: onnx.ModelProto, path: Path) -> int:
    """Store float32 matrices as bfloat16, each with a cast to float32 at the graph's beginning."""
    import onnx

    graph, taken, casts = model.graph, all_names(model), []
    public = {value.name for value in (*graph.input, *graph.output)}
    for tensor in graph.initializer:
        if tensor.data_type == FLOAT and len(tensor.dims) > 1 and tensor.name not in public:
            name, stored = tensor.name, _free_name(f"{tensor.name}_bfloat16", taken)
            tensor.CopyFrom(_bfloat16(tensor, stored, path))
            casts.append(onnx.helper.make_node("Cast", [stored], [name], name=f"{stored}_to_float", to=FLOAT))
    nodes = [*casts, *(_copy_node(node) for node in graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)
    return len(casts)


class _Rewriter:
    """One walk over a graph without inner graphs, in the order of its nodes.

    `types` has the present element type of every float value, `forms` the names under which a value exists in the
    other type.
    """

    def __init__(self, model: onnx.ModelProto, path: Path, kept: frozenset[str] | set[str], keep_io: bool) -> None:
        self.model, self.graph, self.path, self.kept, self.keep_io = model, model.graph, path, kept, keep_io
        self.opset = opset_of(model) or 0
        self.types = {name: kind for name, kind in value_types(model).items() if kind == FLOAT}
        self.taken = all_names(model)
        self.tensors = {tensor.name: tensor for tensor in self.graph.initializer}
        self.forms: dict[tuple[str, int], str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.renamed: dict[str, str] = {}

    def rewrite(self) -> int:
        """Returns how many nodes compute in bfloat16."""
        io = BFLOAT16 if not self.keep_io else FLOAT
        for value in self.graph.input:
            if value.name not in self.tensors and self.types.get(value.name) == FLOAT:
                value.type.tensor_type.elem_type = io
                self.types[value.name] = io
        floats = [value for value in self.graph.output if self.types.get(value.name) == FLOAT]
        public = {value.name for value in floats}
        count = 0
        for old in list(self.graph.node):
            node = _copy_node(old)
            inputs, outputs = self._roles(node)
            count += bool(inputs)
            for place, name in enumerate(node.input):
                if self.types.get(self._now(name)) in (FLOAT, BFLOAT16):
                    node.input[place] = self._as(self._now(name), BFLOAT16 if place in inputs else FLOAT)
            for place, name in enumerate(node.output):
                made = BFLOAT16 if place in outputs else self.types.get(name)
                if name in public and made in (FLOAT, BFLOAT16) and made != io:
                    # The cast that follows the last node has the public name.
                    self.renamed[name] = node.output[place] = _free_name(f"{name}_inner", self.taken)
                    self.types[node.output[place]] = made
                elif made is not None:
                    self.types[name] = made
            self.nodes.append(node)
        for value in floats:
            value.type.tensor_type.elem_type = io
            if value.name in self.renamed:
                self._cast(self.renamed[value.name], value.name, io)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input} | {value.name for value in self.graph.output}
        kept = [tensor for tensor in self.tensors.values() if tensor.name in used]
        kept = [_copy_tensor(tensor) for tensor in kept]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        del self.graph.value_info[:]
        return count

    def _now(self, name: str) -> str:
        return self.renamed.get(name, name)

    def _roles(self, node: onnx.NodeProto) -> tuple[set[int], set[int]]:
        """The places of the inputs and outputs that become bfloat16; none where the node stays as it is."""
        if node.op_type in self.kept or node.name in self.kept:
            return set(), set()
        floats = [place for place, name in enumerate(node.input) if self._now(name) in self.types]
        allowed = _bfloat16_parameters(node, self.opset)
        inputs = {place for place in floats if _parameter(node, place, "inputs", self.opset) in allowed}
        used = {_parameter(node, place, "inputs", self.opset) for place in inputs}
        outputs = {
            place
            for place, name in enumerate(node.output)
            if name and _parameter(node, place, "outputs", self.opset) in used
        }
        return inputs, outputs

    def _as(self, name: str, kind: int) -> str:
        """The name of a value in an element type, after a cast where it has another."""
        if self.types[name] == kind:
            return name
        if (name, kind) not in self.forms:
            form = _free_name(f"{name}_{'bfloat16' if kind == BFLOAT16 else 'float'}", self.taken)
            if name in self.tensors and kind == BFLOAT16:
                self.tensors[form] = _bfloat16(self.tensors[name], form, self.path)
                self.types[form] = kind
            else:
                self._cast(name, form, kind)
            self.forms[name, kind] = form
        return self.forms[name, kind]

    def _cast(self, name: str, result: str, kind: int) -> None:
        import onnx

        self.nodes.append(onnx.helper.make_node("Cast", [name], [result], name=f"{result}_cast", to=kind))
        self.types[result] = kind


def _schema(node: onnx.NodeProto, opset: int) -> onnx.defs.OpSchema | None:
    import onnx

    if node.domain not in ("", "ai.onnx"):
        return None
    try:
        return onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None


def _bfloat16_parameters(node: onnx.NodeProto, opset: int) -> set[str]:
    """The type parameters (`T`) of a node's operator that may be bfloat16 as well as float32."""
    schema = _schema(node, opset)
    wanted = {"tensor(bfloat16)", "tensor(float)"}
    constraints = schema.type_constraints if schema else ()
    return {one.type_param_str for one in constraints if wanted <= set(one.allowed_type_strs)}


def _parameter(node: onnx.NodeProto, place: int, side: str, opset: int) -> str:
    formal = getattr(_schema(node, opset), side, ())
    return str(formal[min(place, len(formal) - 1)].type_str) if formal else ""  # the last one may be variadic


def _gains(node: onnx.NodeProto, model: onnx.ModelProto, kept: frozenset[str] | set[str]) -> bool:
    """Whether a newer opset lets an operator be bfloat16 that cannot be so at the model's."""
    if node.op_type in kept or node.name in kept:
        return False
    return len(_bfloat16_parameters(node, OPSET)) > len(_bfloat16_parameters(node, opset_of(model) or 0))


def _constants_to_initializers(graph: onnx.GraphProto) -> None:
    rest = []
    for node in graph.node:
        values = [one.t for one in node.attribute if one.name == "value" and one.HasField("t")]
        if node.op_type == "Constant" and values and values[0].data_type == FLOAT:
            tensor = graph.initializer.add()
            tensor.CopyFrom(values[0])
            tensor.name = node.output[0]
        else:
            rest.append(_copy_node(node))
    del graph.node[:]
    graph.node.extend(rest)


def _bfloat16(tensor: onnx.TensorProto, name: str, path: Path) -> onnx.TensorProto:
    import ml_dtypes
    import numpy as np
    import onnx

    values = array_of(tensor, path)
    largest = float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)
    clamped = np.where(np.isfinite(values), np.clip(values, -largest, largest), values)
    raw = clamped.astype(ml_dtypes.bfloat16).tobytes()
    return onnx.TensorProto(name=name, dims=list(values.shape), data_type=BFLOAT16, raw_data=raw)


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _copy_node(node: onnx.NodeProto) -> onnx.NodeProto:
    import onnx

    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _copy_tensor(tensor: onnx.TensorProto) -> onnx.TensorProto:
    import onnx

    copied = onnx.TensorProto()
    copied.CopyFrom(tensor)
    return copied
