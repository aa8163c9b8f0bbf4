"""Running a module on named arrays, for the runners and for the converters that need to know its outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed, MlconvertError, OutOfResources, UsageError
from mlconvert.readers.torch_modules import is_out_of_memory

if TYPE_CHECKING:
    import numpy as np
    import torch


def require_samples(samples: Mapping[str, np.ndarray], where: str) -> None:
    """Raise UsageError without samples: a module can be traced only on something."""
    if not samples or not all(len(values) for values in samples.values()):
        what = "torch traces a model on example inputs, and there are no samples"
        raise UsageError(what, where=where, hint="--samples FILE.npz, with an array for each input of forward")


def run_module(module: torch.nn.Module, arrays: Mapping[str, np.ndarray], where: str) -> dict[str, torch.Tensor]:
    """Call a module's forward on arrays by the names of its parameters; its outputs by name.

    Raises UsageError for inputs that forward does not take, ConversionFailed when it raises.
    """
    from mlconvert.readers.torch_tensors import forward_arguments, to_tensor

    args, kwargs = forward_arguments(module, {name: to_tensor(name, values) for name, values in arrays.items()})
    return call(lambda: module(*args, **kwargs), arrays, where)


def call(forward: Callable[[], Any], arrays: Mapping[str, np.ndarray], where: str) -> dict[str, torch.Tensor]:
    """The named outputs of one call, without gradients; what it raises becomes ConversionFailed with the inputs."""
    from mlconvert.readers.torch_tensors import name_outputs

    return name_outputs(structure(forward, arrays, where), arrays)


def structure(forward: Callable[[], Any], arrays: Mapping[str, np.ndarray], where: str) -> Any:
    """What one call returns, as the model returns it; raises as `call` does."""
    import torch

    try:
        with torch.inference_mode():
            return forward()
    except (MlconvertError, MemoryError):
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfResources("out of memory while the model ran", where=where) from error
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        given = ", ".join(f"{name}: {values.dtype.name}{list(values.shape)}" for name, values in arrays.items())
        # TorchScript tells its own traceback first and the reason last.
        said = lines[-1] if "TorchScript" in str(error) and lines else (lines or [""])[0]
        what = f"the model failed on the samples ({given}): {type(error).__name__}: {said}"
        raise ConversionFailed(what, where=where, hint="check the samples' dtypes and shapes") from error


def output_shapes(outputs: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in outputs.items()}


def new_io_names(
    inputs: Sequence[str],
    outputs: Sequence[str],
    asked_inputs: Sequence[str] | None,
    asked_outputs: Sequence[str] | None,
) -> tuple[dict[str, str], dict[str, str]]:
    """Name -> new name, for inputs and outputs. Raises UsageError unless the options name each tensor once."""
    new_inputs = _new_names("inputs", inputs, asked_inputs)
    new_outputs = _new_names("outputs", outputs, asked_outputs)
    if shared := set(new_inputs.values()) & set(new_outputs.values()):
        what = f"an input and an output would both be called '{min(shared)}'"
        raise UsageError(what, hint="choose another name in the option inputs or outputs")
    return new_inputs, new_outputs


def _new_names(side: str, names: Sequence[str], asked: Sequence[str] | None) -> dict[str, str]:
    if asked is None:
        return {name: name for name in names}
    if len(asked) != len(names):
        what = f"option {side} gives {len(asked)} names, and the model has {len(names)} {side}"
        raise UsageError(what, hint=f"in this order: {', '.join(names)}")
    twice = [name for name in asked if not name or list(asked).count(name) > 1]
    if twice:
        raise UsageError(
            f"option {side} " + (f"gives the name '{twice[0]}' twice" if twice[0] else "has an empty name")
        )
    return dict(zip(names, asked, strict=True))
