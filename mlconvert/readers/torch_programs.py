"""What an ExportedProgram (.pt2) takes and gives, by name, and how to run it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.readers.torch_axes import AXIS_NAME, BATCH, SYMBOL, rename_expression
from mlconvert.signature import KINDS, Axis, Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np
    import torch


def program_signature(
    program: torch.export.ExportedProgram, dynamic: Mapping[str, Sequence[str]] | None = None
) -> tuple[Signature, dict[str, str]]:
    """The program's signature, with its dynamic axes named, and the names of its symbols (`s31` -> `batch`).

    Without the option `dynamic` a dynamic first axis is `batch` and the others are `<input>_<axis>`.
    Raises UsageError where the option names an axis that the program has fixed, and ConversionFailed for inputs and
    outputs that are no tensors.
    """
    from mlconvert.readers.torch_tensors import name_outputs

    inputs = _tensor_inputs(program)
    shapes = {name: _symbolic(value) for name, value in inputs.items()}
    names = _axis_names(shapes, dict(dynamic or {}))
    specs = tuple(_spec(name, inputs[name], shape, names) for name, shape in shapes.items())
    outputs = name_outputs(program_outputs(program), inputs)
    results = tuple(_spec(name, value, _symbolic(value), names) for name, value in outputs.items())
    return Signature(specs, results), names


def run_program(
    program: torch.export.ExportedProgram, module: torch.nn.Module, arrays: Mapping[str, np.ndarray], where: str
) -> dict[str, torch.Tensor]:
    """Call the module of a program on arrays by input name; its outputs by name.

    Raises UsageError where an input is missing or unknown, ConversionFailed when the module raises.
    """
    from torch.utils import _pytree as pytree

    from mlconvert.readers.torch_runs import call
    from mlconvert.readers.torch_tensors import to_tensor

    names = list(_tensor_inputs(program))
    hint = f"the program takes: {', '.join(names)}"
    for name in arrays:
        if name not in names:
            raise UsageError(f"the model has no input '{name}'.{suggest(name, names)}", where=where, hint=hint)
    if missing := [name for name in names if name not in arrays]:
        raise UsageError(f"the samples have no values for the input '{missing[0]}'", where=where, hint=hint)
    leaves = [
        to_tensor(spec.arg.name, arrays[spec.arg.name]) if _is_tensor(spec) else spec.arg.value
        for spec in _user_specs(program)
    ]
    args, kwargs = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    return call(lambda: module(*args, **kwargs), arrays, where)


def program_call(
    program: torch.export.ExportedProgram, where: str
) -> tuple[list[str | float | None], dict[str, str | float | None]]:
    """What the program is called with, by position and by keyword: the names of its inputs, and constants.

    Raises ConversionFailed where something else was exported, a tuple of tensors say.
    """
    from torch.utils import _pytree as pytree

    specs = _user_specs(program)
    names = {spec.arg.name for spec in specs if _is_tensor(spec)}
    constants = [spec.arg.value for spec in specs if not _is_tensor(spec)]
    if names & {value for value in constants if isinstance(value, str)}:
        raise ConversionFailed("a constant argument of the program has the name of an input", where=where)
    leaves = [spec.arg.name if _is_tensor(spec) else spec.arg.value for spec in specs]
    args, kwargs = pytree.tree_unflatten(leaves, program.call_spec.in_spec)
    for name, value in [*enumerate(args), *kwargs.items()]:
        if value is not None and not isinstance(value, (bool, int, float, str)):
            what = f"the program's argument {name!r} is a {type(value).__name__} of tensors, not a tensor"
            raise ConversionFailed(what, where=where, hint="wrap the module so that its forward takes plain tensors")
    return list(args), dict(kwargs)


def _user_specs(program: torch.export.ExportedProgram) -> list[Any]:
    from torch.export.graph_signature import InputKind

    return [spec for spec in program.graph_signature.input_specs if spec.kind is InputKind.USER_INPUT]


def _is_tensor(spec: Any) -> bool:
    from torch.export.graph_signature import ConstantArgument, TensorArgument

    if not isinstance(spec.arg, (TensorArgument, ConstantArgument)):
        kind = type(spec.arg).__name__.removesuffix("Argument")
        raise ConversionFailed(f"the input '{getattr(spec.arg, 'name', '?')}' is a {kind}, not a tensor")
    return isinstance(spec.arg, TensorArgument)


def _tensor_inputs(program: torch.export.ExportedProgram) -> dict[str, Any]:
    """Input name -> the fake tensor that the program was traced with."""
    names = [spec.arg.name for spec in _user_specs(program) if _is_tensor(spec)]
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    return {name: values[name] for name in names}


def program_outputs(program: torch.export.ExportedProgram) -> Any:
    """The outputs in the structure that the model returned them in, as fake tensors."""
    import torch
    from torch.export.graph_signature import OutputKind
    from torch.utils import _pytree as pytree

    output = next(node for node in program.graph.nodes if node.op == "output")
    nodes = [
        node
        for node, spec in zip(output.args[0], program.graph_signature.output_specs, strict=True)
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    leaves = [node.meta.get("val") if isinstance(node, torch.fx.Node) else node for node in nodes]
    return pytree.tree_unflatten(leaves, program.call_spec.out_spec)


def _symbolic(tensor: Any) -> tuple[Axis, ...]:
    return tuple(length if isinstance(length, int) else str(length) for length in tensor.shape)


def _axis_names(shapes: Mapping[str, tuple[Axis, ...]], dynamic: Mapping[str, Sequence[str]]) -> dict[str, str]:
    names = _asked_names(shapes, dynamic)
    later = {symbol for shape in shapes.values() for symbol in shape[1:]}
    for shape in shapes.values():
        symbol = shape[0] if shape else None
        # torch lets the rows of one input differ from those of another where a model would broadcast them (BERT's
        # mask); rows are rows, so all are `batch`, but for a symbol that is also the length of something else.
        if _is_symbol(symbol) and (symbol not in later or BATCH not in names.values()):
            names.setdefault(str(symbol), BATCH)
    for name, shape in shapes.items():
        for number, symbol in enumerate(shape):
            if _is_symbol(symbol):
                names.setdefault(str(symbol), f"{name}_{number}")
    return names


def _is_symbol(length: Axis) -> bool:
    return isinstance(length, str) and bool(SYMBOL.fullmatch(length))


def _asked_names(shapes: Mapping[str, tuple[Axis, ...]], dynamic: Mapping[str, Sequence[str]]) -> dict[str, str]:
    names: dict[str, str] = {}
    for name, asked in dynamic.items():
        if name not in shapes:
            what = f"option dynamic: the program has no input '{name}'.{suggest(name, shapes)}"
            raise UsageError(what, hint=f"its inputs: {', '.join(shapes)}")
        shape = shapes[name]
        if len(asked) != len(shape):
            raise UsageError(f"option dynamic gives '{name}' {len(asked)} axes, and the program has {len(shape)}")
        for number, (axis, symbol) in enumerate(zip(asked, shape, strict=True)):
            if axis == "_" or axis == str(symbol):
                continue
            if isinstance(symbol, int) or axis.isdecimal():
                is_now = f"fixed at {symbol}" if isinstance(symbol, int) else "dynamic"
                what = f"option dynamic: axis {number} of '{name}' is {is_now} in the program, and cannot be '{axis}'"
                raise UsageError(what, hint="export the program again with the dynamic_shapes wanted")
            if not AXIS_NAME.fullmatch(axis):
                raise UsageError(f"option dynamic: '{axis}' is no name for an axis")
            if SYMBOL.fullmatch(str(symbol)) and names.setdefault(str(symbol), axis) != axis:
                what = f"the axes '{names[str(symbol)]}' and '{axis}' are of one length in the program"
                raise UsageError(what, hint="give both the same name in the option dynamic")
    return names


def _spec(name: str, tensor: Any, shape: tuple[Axis, ...], names: Mapping[str, str]) -> TensorSpec:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in KINDS:
        raise ConversionFailed(f"'{name}' is a tensor of {dtype}, which no other format can hold")
    return TensorSpec(name, dtype, tuple(_axis(f"{name}_{n}", length, names) for n, length in enumerate(shape)))


def _axis(fallback: str, length: Axis, names: Mapping[str, str]) -> Axis:
    if not isinstance(length, str):
        return length
    unnamed = [symbol for symbol in re.findall(SYMBOL, length) if symbol not in names]
    return fallback if unnamed else rename_expression(length, names)
