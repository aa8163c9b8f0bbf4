"""What both routes through `torch.onnx.export(dynamo=True)` share: its errors told shortly, its result made ours.

The exporter names tensors after its nodes and axes after its symbols (`s31`), keeps stack traces with local paths,
and gives another opset than the one asked for without a word; all of that is put right or refused here.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, OutOfResources, UsageError
from mlconvert.onnx_model.external import ELSEWHERE, LARGE, Held
from mlconvert.onnx_model.files import onnx_artifact, opset_of, read_outline, write_onnx
from mlconvert.readers.torch_archives import quiet_torch
from mlconvert.readers.torch_axes import SYMBOL, Axes, dynamic_names, fixed_hint, rename_expression
from mlconvert.readers.torch_modules import is_out_of_memory
from mlconvert.signature import Axis

if TYPE_CHECKING:
    import numpy as np
    import onnx
    import onnx_ir
    import torch

LOWEST_OPSET = 18  # of the exporter's own operators; older ones come from a converter that often gives up
REASON = 400  # characters of torch's own words in a message

_SPECIALISED = (
    re.compile(r"static shape of (?P<length>\d+) for dimension inputs\['(?P<name>\w+)'\]\.shape\[(?P<axis>\d+)\]"),
    re.compile(
        r"L\['(?P<name>\w+)'\]\.size\(\)\[(?P<axis>\d+)\].{0,80}?specialized.{0,40}?\((?P<length>\d+)\)", re.DOTALL
    ),
)


def export_program(export: Callable[[], Any], *, asked: Axes, where: str) -> torch.onnx.ONNXProgram:
    """Call the exporter. Raises ConversionFailed with torch's own reason, and names the axis where it is about one."""
    try:
        with quiet_torch():
            return export()
    except (MemoryError, UsageError, ConversionFailed):
        raise
    except Exception as error:
        chain = list(_chain(error))
        if any(map(is_out_of_memory, chain)):
            raise OutOfResources("out of memory while torch exported the model", where=where) from error
        for cause in reversed(chain):
            for pattern in _SPECIALISED:
                found = pattern.search(str(cause))
                if found and found["name"] in asked:
                    raise _specialised(found, asked, cause, where) from error
        raise ConversionFailed(f"torch cannot export the model: {short_reason(chain)}", where=where) from error


def export_arguments(
    module: torch.nn.Module, examples: Mapping[str, np.ndarray], axes: Axes
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, object] | None]:
    """What an exporter calls forward with, as args and kwargs, and which axes of it are dynamic (None: none is)."""
    import torch

    from mlconvert.readers.torch_tensors import forward_arguments, to_tensor

    args, kwargs = forward_arguments(module, {name: to_tensor(name, values) for name, values in examples.items()})
    if not dynamic_names(axes):
        return args, kwargs, None
    dims = {
        name: {number: torch.export.Dim.DYNAMIC for number, axis in enumerate(spec) if isinstance(axis, str)}
        for name, spec in axes.items()
    }
    return args, kwargs, _keyed_as_forward(module, dims)


def _keyed_as_forward(module: object, dims: Mapping[str, object]) -> dict[str, object]:
    """Dynamic shapes keyed as torch.export wants them: what goes into **kwargs lies under that parameter's name."""
    parameters = inspect.signature(module.forward).parameters  # type: ignore[attr-defined]
    rest = {name: spec for name, spec in dims.items() if name not in parameters}
    keyed: dict[str, object] = {name: spec for name, spec in dims.items() if name in parameters}
    if rest:
        collector = next(p.name for p in parameters.values() if p.kind is p.VAR_KEYWORD)
        keyed[collector] = rest
    return keyed


def _specialised(found: re.Match[str], asked: Axes, cause: BaseException, where: str) -> ConversionFailed:
    name, number = found["name"], int(found["axis"])
    axis = asked[name][number] if number < len(asked[name]) else number
    what = f"axis '{axis}' of the input '{name}' (axis {number}) cannot be dynamic: torch.export fixed it at"
    return ConversionFailed(
        f"{what} {found['length']}, the samples' length. torch says: {short_reason([cause])}",
        where=where,
        hint=fixed_hint(name, number, asked[name]),
    )


def short_reason(chain: Sequence[BaseException]) -> str:
    """The innermost exception's type and the first lines of what it says, without colours and advice."""
    cause = chain[-1]
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(cause))
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("File ", "Traceback", "(Refer to", "#"))]
    said = " ".join(lines[:4])
    return f"{type(cause).__name__}: {said[:REASON]}{'…' if len(said) > REASON else ''}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__


# --- the exporter's result ---


def symbolic_shapes(program: torch.onnx.ONNXProgram) -> list[tuple[Axis, ...]]:
    """The inputs' shapes, in torch's symbols."""
    return [_shape(value) for value in program.model.graph.inputs]


def finish_program(
    program: torch.onnx.ONNXProgram,
    target: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    symbols: Mapping[str, str],
    input_axes: Axes,
    output_axes: Axes,
    opset: int,
    renamed: Mapping[str, str],
    where: str,
) -> Artifact:
    """Name the tensors and axes of an exported program and write it.

    `inputs` and `outputs` are the names that the file gets, in order; `symbols` the names of torch's symbols;
    `input_axes` (by those names) says which axes must be dynamic, `output_axes` what is known of the outputs' axes.
    Raises ConversionFailed when the file does not have the inputs, outputs, dynamic axes or opset that it should.
    """
    graph = program.model.graph
    require_opset(program.model.opset_imports.get(""), opset, where)
    for side, values, names in (("inputs", graph.inputs, inputs), ("outputs", graph.outputs, outputs)):
        if len(values) != len(names):
            what = f"the exported graph has {len(values)} {side}, and the model {len(names)}: {', '.join(names)}"
            raise ConversionFailed(what, where=where)
    _separate_outputs(graph)
    _name_values(program.model, [*graph.inputs, *graph.outputs], [*inputs, *outputs])
    _name_axes(program.model, symbols, input_axes, output_axes, where)
    _forget_traces(program.model)
    try:
        with quiet_torch():
            model, held = _outline(program.model)
            files = write_onnx(model, target, weights_of=held)
    except (OSError, MemoryError, ConversionFailed):
        raise
    except Exception as error:
        what = f"the exported graph cannot be written: {short_reason(list(_chain(error)))}"
        raise ConversionFailed(what, where=where) from error
    try:
        model = read_outline(target)
        require_opset(opset_of(model), opset, where)
        artifact = onnx_artifact(target, files, model=model, renamed=renamed)
        require_axes(artifact, inputs, outputs, input_axes, where)
    except BaseException:
        for path in (target, target.with_name(f"{target.name}.data")):
            path.unlink(missing_ok=True)
        raise
    return artifact


def _outline(model: onnx_ir.Model) -> tuple[onnx.ModelProto, Held]:
    """The model as a protobuf message without its large weights, and these, which stay where torch has them."""
    import onnx_ir

    held: dict[str, Callable[[], memoryview]] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes < LARGE or tensor.dtype == onnx_ir.DataType.STRING:
            continue
        held[name] = partial(_buffer, tensor)
        value.const_value = onnx_ir.ExternalTensor(
            ELSEWHERE, 0, tensor.nbytes, tensor.dtype, shape=tensor.shape, name=name
        )
    return onnx_ir.to_proto(model), held


def _buffer(tensor: onnx_ir.TensorProtocol) -> memoryview:
    """A tensor's bytes as ONNX stores them; no copy where it lies in memory just so."""
    import numpy as np

    if tensor.dtype.bitwidth < 8 or sys.byteorder == "big":
        return memoryview(tensor.tobytes())
    return np.ascontiguousarray(tensor.numpy()).reshape(-1).view(np.uint8).data


def require_opset(found: int | None, asked: int, where: str) -> None:
    """Raise ConversionFailed, with what the exporter can give, unless it gave the opset that was asked for."""
    if found == asked:
        return
    what = f"opset {asked} was asked for, and torch's exporter gave {found}"
    raise ConversionFailed(
        f"{what}: it can give {LOWEST_OPSET} to {_highest_opset()}", where=where, hint=opset_hint(asked, LOWEST_OPSET)
    )


def opset_hint(asked: int, lowest: int) -> str:
    lower = f", or go lower afterwards: --via lower --set lower.opset={asked}" if asked < lowest else ""
    return f"leave the opset out{lower}"


def require_axes(
    artifact: Artifact, inputs: Sequence[str], outputs: Sequence[str], input_axes: Axes, where: str
) -> None:
    """Raise ConversionFailed unless the file on disk has the tensors, in this order, and axes that were asked for."""
    signature = artifact.signature
    assert signature is not None
    for side, specs, names in (("inputs", signature.inputs, inputs), ("outputs", signature.outputs, outputs)):
        if [spec.name for spec in specs] != list(names):
            found = ", ".join(spec.name for spec in specs)
            raise ConversionFailed(f"the file's {side} are {found}, not {', '.join(names)}", where=where)
    for spec in signature.inputs:
        for number, (found_axis, axis) in enumerate(zip(spec.shape, input_axes[spec.name], strict=True)):
            if isinstance(axis, str) != (not isinstance(found_axis, int)):
                told = f"fixed at {found_axis}" if isinstance(axis, str) else f"dynamic, not {axis}"
                what = f"axis '{axis}' of the input '{spec.name}' (axis {number}) is {told} in the file"
                raise ConversionFailed(what, where=where, hint=fixed_hint(spec.name, number, input_axes[spec.name]))


def _highest_opset() -> int:
    """The highest opset that the installed onnxscript converts to."""
    import onnx
    from onnxscript import version_converter

    inner = getattr(version_converter, "_version_converter", None)
    return int(getattr(inner, "SUPPORTED_MAX_ONNX_OPSET", onnx.defs.onnx_opset_version()))


def _separate_outputs(graph: onnx_ir.Graph) -> None:
    """Give each output a value of its own: one that is also an input, a weight or another output cannot be renamed."""
    import onnx_ir

    taken = {id(value) for value in (*graph.inputs, *graph.initializers.values())}
    for position, value in enumerate(list(graph.outputs)):
        if id(value) in taken:
            node = onnx_ir.Node("", "Identity", [value])
            node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
            graph.append(node)
            graph.outputs[position] = node.outputs[0]
        taken.add(id(graph.outputs[position]))


def _name_values(model: onnx_ir.Model, values: Sequence[onnx_ir.Value], names: Sequence[str]) -> None:
    own = {id(value) for value in values}
    wanted = set(names)
    others = [value for value in _values(model) if id(value) not in own]
    taken = wanted | {value.name for value in others}
    for value in others:
        if value.name in wanted:
            fresh = next(f"{value.name}_{n}" for n in range(1, len(taken) + 2) if f"{value.name}_{n}" not in taken)
            taken.add(fresh)
            _rename(model.graph, value, fresh)
    # Twice, so that no name is held by two values on the way from one order of names to another.
    for position, value in enumerate(values):
        value.name = f"\0{position}"
    for value, name in zip(values, names, strict=True):
        value.name = name


def _rename(graph: onnx_ir.Graph, value: onnx_ir.Value, name: str) -> None:
    old = value.name
    if old in graph.initializers and graph.initializers[old] is value:
        del graph.initializers[old]
        value.name = name
        graph.initializers[name] = value
    else:
        value.name = name


def _values(model: onnx_ir.Model) -> list[onnx_ir.Value]:
    """Every value of the main graph and of the graphs inside it, once."""
    found: dict[int, onnx_ir.Value] = {}
    for graph in model.graphs():
        for value in (*graph.inputs, *graph.initializers.values(), *(v for node in graph for v in node.outputs)):
            found[id(value)] = value
    return list(found.values())


def _shape(value: onnx_ir.Value) -> tuple[Axis, ...]:
    if value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else dim.value for dim in value.shape)


def _name_axes(
    model: onnx_ir.Model, symbols: Mapping[str, str], input_axes: Axes, output_axes: Axes, where: str
) -> None:
    import onnx_ir

    graph = model.graph
    for value in graph.inputs:
        asked = input_axes[str(value.name)]
        shape = _shape(value)
        value.shape = onnx_ir.Shape(
            [old if isinstance(old, int) else new for old, new in zip(shape, asked, strict=True)]
        )
    wrong = False
    for value in graph.outputs:
        known = output_axes[str(value.name)]
        declared = _shape(value) if value.shape is not None else known
        if len(known) != len(declared):
            what = f"the output '{value.name}' has {len(known)} axes in the model and {len(declared)} in the graph"
            raise ConversionFailed(what, where=where)
        axes = []
        for number, (old, new) in enumerate(zip(declared, known, strict=True)):
            if isinstance(old, int) and isinstance(new, int) and old != new:
                what = f"axis {number} of the output '{value.name}' is {new} in the model and {old} in the graph"
                raise ConversionFailed(what, where=where)
            axes.append(_output_axis(old, new, f"{value.name}_{number}", symbols))
            wrong = wrong or (isinstance(old, int) and not isinstance(new, int))
        value.shape = onnx_ir.Shape(axes)
    public = {id(value) for value in (*graph.inputs, *graph.outputs)}
    for value in _values(model):
        if id(value) in public or value.shape is None or value.const_value is not None:
            continue
        named = [rename_expression(dim, symbols) if isinstance(dim, str) else dim for dim in _shape(value)]
        # The bodies of loops (nn.LSTM) carry lengths of the example: where an output's were wrong, theirs are too.
        value.shape = None if wrong else onnx_ir.Shape(named)


def _output_axis(declared: Axis, known: Axis, fallback: str, symbols: Mapping[str, str]) -> Axis:
    """One axis of an output, from what the exporter declared and what running the model showed."""
    if isinstance(known, str):
        return known
    if isinstance(declared, str):
        unnamed = [symbol for symbol in SYMBOL.findall(declared) if symbol not in symbols]
        return fallback if unnamed else rename_expression(declared, symbols)
    return fallback if known is None else known


def _forget_traces(model: onnx_ir.Model) -> None:
    """Drop stack traces, module names and the like: they hold paths of this machine, and make files differ."""
    model.metadata_props.clear()
    model.doc_string = None
    for graph in (*model.graphs(), *model.functions.values()):
        graph.metadata_props.clear()
        graph.doc_string = None
        for node in graph:
            node.metadata_props.clear()
            node.doc_string = None
    for value in _values(model):
        value.metadata_props.clear()
        value.doc_string = None
