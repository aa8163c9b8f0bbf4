"""A TreeModel as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.forests import onnx_attributes as wire
from mlconvert.forests.model import check_forest
from mlconvert.forests.onnx_links import name_of_answers
from mlconvert.forests.onnx_nodes import CURRENT, LEAST_OPSET, tree_nodes
from mlconvert.onnx_model.external import PROTOBUF_LIMIT
from mlconvert.onnx_model.releases import TreeOperators, runtime_limits, tree_operators

if TYPE_CHECKING:
    import onnx

    from mlconvert.artifact import Artifact
    from mlconvert.forests.model import Float, TreeModel
    from mlconvert.forests.onnx_graph import Graph

INPUT = "input"
SAME_SUMS = {"rtol": 1e-5, "atol": 1e-6}
"""Of sums that the library itself adds up in float32: the same numbers, at most in another order (of threads)."""

_HIGH_IR = 1000  # lowered to what the model needs


def write_trees(
    model: TreeModel,
    target: Path,
    *,
    dtype: Literal["float64", "float32"] = "float64",
    opset: int = 18,
    target_runtime: str | None = None,
    raw_scores: bool = False,
    leaf_indices: bool = False,
) -> Artifact:
    """Write an ONNX model with the input `input`, `dtype` [batch, F], and the outputs that `TreeModel` names.

    The same model gives the same bytes. The artifact's fact `precision` is the type that the sums are added in, and
    `tolerance` a closer one than that type's, where it is kept.
    Raises UsageError for an opset or a `target_runtime` that cannot be written for, ConversionFailed for what
    `tree_nodes` refuses and for trees of more than 2 GB, ValueError for a forest that breaks the rules of `Forest`.
    """
    from mlconvert.onnx_model.files import onnx_artifact

    check_forest(model.forest)
    operators = _operators(opset, target_runtime)
    own = name_of_answers(model)
    names = [
        *([] if own == "variable" else ["label"]),
        own,
        *["raw_scores"] * raw_scores,
        *["leaf_indices"] * leaf_indices,
    ]
    graph = tree_nodes(model, INPUT, {name: name for name in names}, dtype=dtype, operators=operators)
    frame = _frame(model, names, dtype, opset, operators.version)
    _write(graph, frame, target)
    precision = "float32" if "float32" in (dtype, model.arithmetic) else "float64"
    facts: dict[str, Any] = {"precision": precision}
    if model.arithmetic == "float32":
        facts["tolerance"] = SAME_SUMS
    return onnx_artifact(target, (target,), model=frame, facts=facts)


def _operators(opset: int, target_runtime: str | None) -> TreeOperators:
    """What the file may use of the tree operators; UsageError where the opset does not fit."""
    import onnx

    highest, operators, reader = onnx.defs.onnx_opset_version(), CURRENT, "mlconvert"
    if target_runtime is not None:
        highest, operators = runtime_limits(target_runtime).opset, tree_operators(target_runtime)
        reader = f"ONNX Runtime {target_runtime}"
    if not LEAST_OPSET <= opset <= highest:
        raise UsageError(f"opset {opset} is out of range", hint=f"{reader} takes trees in {LEAST_OPSET} to {highest}")
    return operators


def _frame(model: TreeModel, names: list[str], dtype: Float, opset: int, ml_opset: int) -> onnx.ModelProto:
    """The ONNX model without its nodes and initializers."""
    from onnx import TensorProto, helper

    from mlconvert.onnx_model.files import tidy

    floats = TensorProto.FLOAT if "float32" in (dtype, model.arithmetic) else TensorProto.DOUBLE
    labels = TensorProto.STRING if model.classes and isinstance(model.classes[0], str) else TensorProto.INT64
    width = 2 if model.task == "binary" else model.outputs
    shapes: dict[str, tuple[int, list[str | int]]] = {
        "label": (labels, ["batch"]),
        "leaf_indices": (TensorProto.INT64, ["batch", model.forest.trees]),
        "probabilities": (floats, ["batch", width]),
        "raw_scores": (floats, ["batch", model.outputs]),
        "scores": (floats, ["batch", width]),
        "variable": (floats, ["batch", width]),
    }
    taken = TensorProto.FLOAT if dtype == "float32" else TensorProto.DOUBLE
    inputs = [helper.make_tensor_value_info(INPUT, taken, ["batch", model.forest.features])]
    outputs = [helper.make_tensor_value_info(name, *shapes[name]) for name in names]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", ml_opset)]
    frame = helper.make_model(
        helper.make_graph([], "model", inputs, outputs), opset_imports=opsets, ir_version=_HIGH_IR
    )
    tidy(frame)
    return frame


def _write(graph: Graph, frame: onnx.ModelProto, target: Path) -> None:
    content: wire.Pieces = []
    for pieces in graph.nodes:
        content += wire.message(1, pieces)
    for pieces in graph.initializers:
        content += wire.message(5, pieces)
    content.append(frame.graph.SerializeToString(deterministic=True))
    whole = wire.message(7, content)
    if wire.size_of(whole) >= PROTOBUF_LIMIT:
        what = (
            f"the trees take {wire.size_of(whole) / 1e9:.1f} GB, and an ONNX file of trees cannot hold more than 2 GB"
        )
        raise ConversionFailed(what, hint="train fewer or smaller trees")
    head = type(frame)()
    head.CopyFrom(frame)
    head.ClearField("graph")
    partial = target.with_name(f"{target.name}.part")
    try:
        with partial.open("wb") as stream:
            stream.write(head.SerializeToString(deterministic=True))
            for piece in whole:
                stream.write(piece)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
