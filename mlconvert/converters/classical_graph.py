"""What the stock converters of classical models leave undone, mended in their graphs.

Opsets named twice or too low, outputs under other names and with other shapes than the agreed ones, a fixed first
axis, ZipMap (a list of dictionaries where two tensors would do).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    import onnx

    from mlconvert.artifact import Artifact
    from mlconvert.readers.classical_outputs import Task

ONNX_ML_OPSET = 3  # TreeEnsemble* as the stock converters write it
ONNXMLTOOLS_OPSET = 15  # it knows none above; what it writes means the same in later ones
INNER = "inner/"  # before the names of all that is not an input or output


@dataclass(frozen=True)
class Output:
    """An output as it should be: its name, its width (None for one axis only) and what to do with the stock one."""

    name: str
    width: int | None
    fix: Literal["keep", "flat", "column", "last"] = "keep"


def finish(model: onnx.ModelProto, target: Path, *, opset: int, outputs: Sequence[Output]) -> Artifact:
    """Mend a model of one matrix, which becomes `input`, check it and write it."""
    from mlconvert.onnx_model import files as onnx_files

    set_opsets(model, opset)
    name_inner(model)
    mend_inputs(model, {model.graph.input[0].name: "input"})
    mend_outputs(model, outputs)
    onnx_files.check_opset(model, opset)
    check_loads(model)
    return onnx_files.onnx_artifact(target, onnx_files.write_onnx(model, target), model=model)


def task_outputs(task: Task, classes: int) -> list[Output]:
    """The outputs of a booster: one value, or a label and the probabilities of the classes."""
    if task == "value":
        return [Output("variable", 1)]
    return [Output("label", None, "flat"), Output("probabilities", classes)]


def set_opsets(model: onnx.ModelProto, opset: int) -> None:
    """Import ai.onnx in the version asked for, and every domain once.

    The stock converters choose operators for that version, and then state the lowest that they happen to need.
    """
    import onnx

    versions = {entry.domain: entry.version for entry in model.opset_import if entry.domain not in ("", "ai.onnx")}
    if "ai.onnx.ml" in versions:
        versions["ai.onnx.ml"] = max(versions["ai.onnx.ml"], ONNX_ML_OPSET)
    model.ir_version = max(model.ir_version, 8)  # CatBoost's 3 wants every initializer to be an input
    del model.opset_import[:]
    model.opset_import.extend(onnx.helper.make_opsetid(name, value) for name, value in {"": opset, **versions}.items())


def name_inner(model: onnx.ModelProto) -> None:
    """Prefix every name that is not an input or output, so that those can have any name.

    The graph's own name, which the stock converters draw at random, becomes the same for all: two makings of one
    model are the same bytes.
    """
    import onnx

    model.graph.name = "model"
    public = [value.name for value in (*model.graph.input, *model.graph.output)]
    onnx.compose.add_prefix(model, INNER, inplace=True)
    _rename(model, {INNER + name: name for name in public})


def mend_inputs(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Rename inputs (stock name -> name) and call their first axis `batch`."""
    _rename(model, names)
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].Clear()
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del model.graph.value_info[:]


def mend_outputs(model: onnx.ModelProto, wanted: Sequence[Output]) -> None:
    """Give the first outputs the names, shapes and order wanted; further ones are dropped.

    `flat` makes [N] of [N, 1], `column` [N, 1] of [N], `last` takes the last column, as [N, 1]. Raises
    ConversionFailed when there are fewer outputs than wanted.
    """
    import onnx

    graph = model.graph
    if len(graph.output) < len(wanted):
        names = ", ".join(output.name for output in wanted)
        raise ConversionFailed(f"the stock converter gave {len(graph.output)} outputs, where these are needed: {names}")
    taken = {value.name for value in graph.input}
    clash = [output.name for output in wanted if output.name in taken]
    if clash:
        what = f"the input '{clash[0]}' has the name of an output, which ONNX does not allow"
        raise ConversionFailed(what, hint="rename the column, and fit the model again")
    stock = list(graph.output)[: len(wanted)]
    _rename(model, {value.name: f"{INNER}out{index}" for index, value in enumerate(graph.output)})
    for index, output in enumerate(wanted):
        graph.node.extend(_nodes(graph, f"{INNER}out{index}", output))
    del graph.output[:]
    for value, output in zip(stock, wanted, strict=True):
        shape = ["batch"] if output.width is None else ["batch", output.width]
        graph.output.append(onnx.helper.make_tensor_value_info(output.name, value.type.tensor_type.elem_type, shape))
    _drop_unused(graph)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Drop nodes and initializers that no output depends on; inputs stay, used or not."""
    needed = {value.name for value in graph.output}
    for node in reversed(list(graph.node)):
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed |= _read_by(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in needed]:
        graph.initializer.remove(tensor)


def _read_by(node: onnx.NodeProto) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
            names |= {value.name for value in inner.output}.union(*(_read_by(part) for part in inner.node))
    return names


def _nodes(graph: onnx.GraphProto, source: str, output: Output) -> Iterator[onnx.NodeProto]:
    from onnx import TensorProto, helper

    def constant(name: str, values: list[int]) -> str:
        graph.initializer.append(helper.make_tensor(INNER + name, TensorProto.INT64, [len(values)], values))
        return INNER + name

    if output.fix == "keep":
        yield helper.make_node("Identity", [source], [output.name])
    elif output.fix == "last":
        column = constant(f"{output.name}/column", [-1])
        yield helper.make_node("Gather", [source, column], [output.name], axis=1)
    else:
        shape = constant(f"{output.name}/shape", [-1] if output.fix == "flat" else [-1, 1])
        yield helper.make_node("Reshape", [source, shape], [output.name])


def drop_zipmap(model: onnx.ModelProto) -> None:
    """Replace each ZipMap by the tensor that it makes dictionaries of, as the graph's output too."""
    from onnx import TensorProto, helper

    graph = model.graph
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        for index, value in enumerate(graph.output):
            if value.name == node.output[0]:
                tensor = helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, [None, None])
                graph.output[index].CopyFrom(tensor)
        graph.node.remove(node)


def append_unary(model: onnx.ModelProto, operator: str) -> None:
    """Put an element-wise operator (Exp) behind the only output, which keeps its name."""
    from onnx import helper

    (value,) = model.graph.output
    before = f"{INNER}before_{operator}"
    for node in model.graph.node:
        node.output[:] = [before if name == value.name else name for name in node.output]
    model.graph.node.append(helper.make_node(operator, [before], [value.name]))


def join_columns(model: onnx.ModelProto, columns: Mapping[str, int], element: int) -> None:
    """Make one input per column, name -> element type, of the only input, a matrix of the type `element`."""
    from onnx import helper

    (matrix,) = model.graph.input
    parts = []
    for index, (name, own) in enumerate(columns.items()):
        parts.append(name)
        if own != element:
            parts[-1] = f"{INNER}column{index}"
            model.graph.node.insert(0, helper.make_node("Cast", [name], [parts[-1]], to=element))
    casts = sum(own != element for own in columns.values())
    model.graph.node.insert(casts, helper.make_node("Concat", parts, [matrix.name], axis=1))
    del model.graph.input[:]
    model.graph.input.extend(helper.make_tensor_value_info(name, own, [None, 1]) for name, own in columns.items())


def cast_columns(model: onnx.ModelProto, columns: Mapping[str, int]) -> None:
    """Make the inputs those columns, name -> element type, in that order; cast to what the graph reads where needed."""
    from onnx import helper

    graph = model.graph
    reads = {value.name: value.type.tensor_type.elem_type for value in graph.input}
    for index, (name, own) in enumerate(columns.items()):
        if name not in reads or reads[name] == own:
            continue
        inner = f"{INNER}column{index}"
        _rename(model, {name: inner})
        graph.node.insert(0, helper.make_node("Cast", [name], [inner], to=reads[name]))
    del graph.input[:]
    graph.input.extend(helper.make_tensor_value_info(name, own, [None, 1]) for name, own in columns.items())


def check_loads(model: onnx.ModelProto) -> None:
    """Raise ConversionFailed unless ONNX Runtime takes the model: stock converters write types that do not fit."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it would log is in the exception
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but Exception
        reason = str(error).strip().splitlines()[0]
        raise ConversionFailed(f"ONNX Runtime does not take what the stock converter wrote: {reason}") from error


def floor_float32(value: float) -> float:
    """The largest float32 that is not above the value: what a float32 feature can be compared with instead."""
    import numpy as np

    with np.errstate(over="ignore"):
        near = np.float32(value)
    # Compared as float64: numpy would round a Python number to float32 first, and find the two equal.
    return float(near) if float(near) <= value else float(np.nextafter(near, np.float32(-np.inf)))


@contextmanager
def stock_errors(what: str, where: str) -> Iterator[None]:
    """Turn whatever a stock converter raises into ConversionFailed, `what` first."""
    try:
        yield
    except ConversionFailed:
        raise
    except Exception as error:  # the stock converters raise RuntimeError, ValueError, KeyError, … as it comes
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ConversionFailed(f"{what}: {lines[0]}", where=where) from error


def _rename(model: onnx.ModelProto, mapping: Mapping[str, str]) -> None:
    from mlconvert.onnx_model.files import rename_tensors

    rename_tensors(model, {old: new for old, new in mapping.items() if old != new})
