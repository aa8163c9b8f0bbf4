"""A fitted estimator as an ONNX model: its inputs, the graph of its methods, its outputs under the agreed names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed
from mlconvert.pipelines.build import Build
from mlconvert.pipelines.graph import ELEMENTS, Dtype, Graph, Tensor
from mlconvert.pipelines.writers import WRITERS, otherwise
from mlconvert.readers.estimator_answers import methods_of

if TYPE_CHECKING:
    import onnx

    from mlconvert.forests.model import Float
    from mlconvert.onnx_model.releases import TreeOperators
    from mlconvert.pipelines.build import Columns


@dataclass(frozen=True)
class Made:
    """An ONNX model, and why some of its answers are float32 numbers though it is asked for float64 ones."""

    model: onnx.ModelProto
    rounding: tuple[str, ...]


def estimator_model(
    estimator: Any,
    inputs: Mapping[str, tuple[Dtype, int]],
    *,
    variable: Callable[[], Dtype],
    floats: Float,
    opset: int,
    operators: TreeOperators,
    where: str,
) -> Made:
    """The model that answers as the estimator does, under the names of `readers.estimator_answers.methods_of`.

    `inputs`: name -> (type, width), one matrix or one column each, in the order in which the estimator takes them.
    `variable`: gives the type of what a regressor or a transformer gives, once it is known that it can be written.
    Raises ConversionFailed, naming the part by its place (`Pipeline > text > HashingVectorizer`), for what has no
    exact ONNX form; UsageError where the type of a column is not what a part was fitted on.
    """
    methods = methods_of(estimator)
    clash = [name for name in methods if name in inputs]
    if clash:
        what = f"the input '{clash[0]}' has the name of an output, which ONNX does not allow"
        raise ConversionFailed(what, where=where, hint="rename the column, and fit the model again")
    prefix = "inner/"
    while any(name.startswith(prefix) for name in inputs):
        prefix = f"_{prefix}"
    graph = Graph(floats, opset, operators, prefix)
    given = tuple(Tensor(graph, name, dtype, width) for name, (dtype, width) in inputs.items())
    columns = {name: name for name in inputs} if "input" not in inputs or len(inputs) > 1 else {}
    build = Build(graph, WRITERS, otherwise, where, columns)
    answers = {name: build.columns(estimator, method, given) for name, method in methods.items()}
    outputs = {name: answer[0] for name, answer in answers.items()}
    if "scores" in outputs:
        outputs["scores"] = outputs["scores"].column()
    if "variable" in answers:
        outputs["variable"] = _as_wanted(build, answers["variable"], variable())
    return Made(_model(graph, given, outputs), tuple(dict.fromkeys(build.rounding)))


def _as_wanted(build: Build, columns: Columns, wanted: Dtype) -> Tensor:
    """Columns as one matrix, of integers or booleans where the estimator gives such."""
    columns = tuple(tensor.column() for tensor in columns)
    if wanted == "string":
        if any(tensor.dtype != "string" for tensor in columns):
            what = "the estimator gives text and numbers side by side"
            raise ConversionFailed(what, where=build.where, hint="convert a pipeline that ends in a model")
        return build.matrix(columns, dtype="string")
    if wanted in ("int64", "bool"):
        return build.matrix(columns, dtype=wanted)
    answer = build.matrix(columns)
    return answer.cast("float32") if wanted == "float32" else answer


def _model(graph: Graph, given: Sequence[Tensor], outputs: Mapping[str, Tensor]) -> onnx.ModelProto:
    from onnx import helper

    for name, tensor in outputs.items():
        graph.add("Identity", [tensor.name], [name])
    nodes = _needed(graph.nodes, set(outputs))
    read = {name for node in nodes for name in _names_read(node)}
    opsets = {"": graph.opset}
    domains = {node.domain for node in nodes}
    if "ai.onnx.ml" in domains:
        opsets["ai.onnx.ml"] = 5 if any(node.op_type == "TreeEnsemble" for node in nodes) else 3
    if "com.microsoft" in domains:
        opsets["com.microsoft"] = 1
    made = helper.make_graph(
        nodes,
        "model",
        [_info(tensor.name, tensor) for tensor in given],
        [_info(name, tensor) for name, tensor in outputs.items()],
        [initializer for initializer in graph.initializers if initializer.name in read],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    return helper.make_model(made, opset_imports=imports, ir_version=_IR)


_IR = 8  # what is written here needs no later one


def _info(name: str, tensor: Tensor) -> onnx.ValueInfoProto:
    from onnx import helper

    shape = ["batch"] if tensor.width is None else ["batch", tensor.width]
    return helper.make_tensor_value_info(name, ELEMENTS[tensor.dtype], shape)


def _needed(nodes: Sequence[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """The nodes that outputs depend on: parts are written with all their answers, of which some are not asked for."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.output):
            kept.append(node)
            needed |= _names_read(node)
    return kept[::-1]


def _names_read(node: onnx.NodeProto) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            names |= {value.name for value in inner.output}.union(*(_names_read(part) for part in inner.node))
    return names
