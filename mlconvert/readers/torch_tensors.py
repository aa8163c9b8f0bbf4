"""Between named numpy arrays and what a PyTorch module takes and returns.

Runners and converters both name tensors here, so that a model and what was made from it agree on the names.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed, UsageError, suggest

if TYPE_CHECKING:
    import numpy as np
    import torch


def to_tensor(name: str, values: np.ndarray) -> torch.Tensor:
    """A tensor on the CPU, of the array's own dtype. Raises UsageError for strings and other odd dtypes."""
    import numpy as np
    import torch

    if values.dtype.name == "bfloat16":
        return torch.from_numpy(np.array(values).view(np.int16)).view(torch.bfloat16)
    if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
        what = f"the samples of '{name}' are {values.dtype.name}: a torch model takes numbers and booleans"
        raise UsageError(what, hint="encode them as the model's training code does, and save the samples so")
    # A copy: memory-mapped and read-only arrays are no torch tensors, and a model may write into its input.
    return torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("="), order="C"))


def to_array(name: str, tensor: torch.Tensor) -> np.ndarray:
    """The tensor's values; bfloat16 as `ml_dtypes.bfloat16`. Raises ConversionFailed for what no array can hold."""
    import torch

    dense = tensor.detach().resolve_conj().resolve_neg().cpu() if tensor.layout is torch.strided else None
    if dense is None or dense.is_quantized or dense.is_complex():
        kind = "sparse" if dense is None else "quantised" if dense.is_quantized else "complex"
        raise ConversionFailed(f"the output '{name}' is {kind}, which no other format can hold")
    values: np.ndarray
    if dense.dtype is torch.bfloat16:
        import ml_dtypes

        values = dense.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    else:
        values = dense.numpy()
    return values.copy()  # an output may be a view of a parameter or of another output


# --- inputs ---


def forward_order(module: torch.nn.Module, names: Iterable[str]) -> tuple[str, ...]:
    """The names in the order of forward's parameters.

    Raises UsageError for a name that forward does not have and for a parameter without a value.
    """
    names = list(names)
    parameters = inspect.signature(module.forward).parameters.values()
    kinds = inspect.Parameter
    listed = [p.name for p in parameters if p.kind not in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)]
    takes_any = any(p.kind is kinds.VAR_KEYWORD for p in parameters)
    hint = f"forward takes: {', '.join(listed) or 'nothing by name'}"
    if not listed and not takes_any:
        what = "the model's forward takes no input by name"
        raise UsageError(what, hint="wrap it in a module whose forward names its inputs")
    for name in names:
        if name not in listed and not takes_any:
            raise UsageError(f"the model has no input '{name}'.{suggest(name, listed)}", hint=hint)
    positional = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    missing = [p.name for p in parameters if p.kind in positional and p.default is p.empty and p.name not in names]
    if missing:
        raise UsageError(f"the samples have no values for the input '{missing[0]}' of the model", hint=hint)
    return (*(name for name in listed if name in names), *(name for name in names if name not in listed))


def forward_arguments(
    module: torch.nn.Module, tensors: Mapping[str, torch.Tensor]
) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Tensors as forward wants them: what is positional only by position, all the rest by name."""
    order = forward_order(module, tensors)
    parameters = inspect.signature(module.forward).parameters
    only = [name for name in order if name in parameters and parameters[name].kind is inspect.Parameter.POSITIONAL_ONLY]
    return tuple(tensors[name] for name in only), {name: tensors[name] for name in order if name not in only}


# --- outputs ---


def name_outputs(result: Any, inputs: Iterable[str] = ()) -> dict[str, Any]:
    """The tensors that a model returned, by name.

    The keys of a dict (transformers' ModelOutput is one) or the fields of a named tuple; `output` for one tensor;
    `output_0`, `output_1`, … for a tuple or list. Tuples inside get a suffix per level (`states_0`, `states_1`);
    what is None is left out. A name that an input has gets the suffix `_output`: a graph has one name for one tensor.
    Raises ConversionFailed for anything else, for no tensor and for one name twice.
    """
    return {name: tensor for name, (_, tensor) in _placed_outputs(result, inputs).items()}


def output_paths(result: Any, inputs: Iterable[str] = ()) -> dict[str, tuple[int | str, ...]]:
    """Where each of the tensors that `name_outputs` names is: the keys and numbers that lead to it from the result."""
    return {name: path for name, (path, _) in _placed_outputs(result, inputs).items()}


def _placed_outputs(result: Any, inputs: Iterable[str]) -> dict[str, tuple[tuple[int | str, ...], Any]]:
    import torch

    named: dict[str, tuple[tuple[int | str, ...], Any]] = {}
    taken = set(inputs)

    def add(name: str, value: Any, path: tuple[int | str, ...]) -> None:
        if value is None:
            return
        if isinstance(value, torch.Tensor):
            name = f"{name}_output" if name in taken else name
            if name in named:
                raise ConversionFailed(f"two outputs of the model would be called '{name}'")
            named[name] = (path, value)
            return
        for number, (key, item) in enumerate(_items(name, value)):
            add(f"{name}_{key}", item, (*path, key if isinstance(value, Mapping) else number))

    if isinstance(result, torch.Tensor):
        add("output", result, ())
    else:
        for number, (key, item) in enumerate(_items("output", result)):
            step = key if isinstance(result, Mapping) else number
            add(f"output_{key}" if isinstance(key, int) else key, item, (step,))
    if not named:
        raise ConversionFailed("the model returns no tensor")
    return named


def _items(name: str, value: Any) -> Sequence[tuple[int | str, Any]]:
    if isinstance(value, Mapping):
        return [(key if isinstance(key, int) else str(key), item) for key, item in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        return list(enumerate(value))
    what = f"'{name}' of what the model returns is a {type(value).__name__}, not a tensor, dict or tuple of tensors"
    hint = "give the model use_cache=False" if "Cache" in type(value).__name__ else "return a dict of tensors"
    raise ConversionFailed(what, hint=hint)
