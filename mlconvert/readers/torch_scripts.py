"""TorchScript modules: their inputs by name, and how to run them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from mlconvert.errors import ConversionFailed, UsageError, suggest

if TYPE_CHECKING:
    import numpy as np
    import torch


def script_order(module: torch.jit.ScriptModule, names: Iterable[str], where: str) -> tuple[str, ...]:
    """The names in the order of the graph's inputs.

    Raises UsageError for a name that the graph does not have and for an input without a value.
    """
    parameters = list(module.forward.schema.arguments)[1:]  # the first is the module itself
    listed = [parameter.name for parameter in parameters]
    names, hint = list(names), f"the graph takes: {', '.join(listed) or 'nothing'}"
    for name in names:
        if name not in listed:
            raise UsageError(f"the model has no input '{name}'.{suggest(name, listed)}", where=where, hint=hint)
    for parameter in parameters:
        if parameter.name not in names and not parameter.has_default_value():
            raise UsageError(f"the samples have no values for the input '{parameter.name}'", where=where, hint=hint)
        kind = str(parameter.type)
        if parameter.name in names and kind not in ("Tensor", "Optional[Tensor]"):
            raise ConversionFailed(f"the input '{parameter.name}' is {kind}, not a tensor", where=where)
    return tuple(name for name in listed if name in names)


def run_script(module: torch.jit.ScriptModule, arrays: Mapping[str, np.ndarray], where: str) -> dict[str, torch.Tensor]:
    """Call the module on arrays by input name; its outputs by name. Raises as `script_order`, or ConversionFailed."""
    from mlconvert.readers.torch_runs import call
    from mlconvert.readers.torch_tensors import to_tensor

    tensors = {name: to_tensor(name, arrays[name]) for name in script_order(module, arrays, where)}
    return call(lambda: module(**tensors), arrays, where)
