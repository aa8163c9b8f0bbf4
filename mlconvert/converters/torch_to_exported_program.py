"""torch -> exported-program: the graph of the module that a factory builds, which runs without the factory's code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converters.torch_options import Dynamic, Static
from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    import numpy as np


def convert(
    source: Artifact,
    target: Path,
    *,
    samples: Mapping[str, np.ndarray],
    dynamic: Dynamic = None,
    static: Static = False,
) -> Artifact:
    """Export the module on the first rows of the samples with torch.export, and save the program.

    Raises UsageError without samples and for options that do not fit the model; ConversionFailed when torch cannot
    export it, or would only with an axis fixed that was to be dynamic.
    """
    import torch

    from mlconvert.readers import torch_axes as ax
    from mlconvert.readers.torch_archives import quiet_torch
    from mlconvert.readers.torch_export import export_arguments, export_program
    from mlconvert.readers.torch_modules import load_module
    from mlconvert.readers.torch_programs import program_signature
    from mlconvert.readers.torch_runs import require_samples
    from mlconvert.readers.torch_tensors import forward_order

    where = source.location
    require_samples(samples, where)
    module = load_module(source)
    if isinstance(module, torch.jit.ScriptModule):
        what = "the factory returned TorchScript, which torch.export does not take"
        raise ConversionFailed(what, where=where, hint="save it (torch.jit.save) and use the file")
    order = forward_order(module, samples)
    axes = ax.plan_axes({name: samples[name].shape for name in order}, dynamic, static=static)
    examples = ax.example_inputs(samples, axes)
    args, kwargs, shapes = export_arguments(module, examples, axes)
    program = export_program(
        lambda: torch.export.export(
            module,
            args,
            kwargs,
            dynamic_shapes=shapes,
            strict=False,
        ),
        asked=axes,
        where=where,
    )
    wanted = {name: tuple(str(axis) if isinstance(axis, str) else "_" for axis in spec) for name, spec in axes.items()}
    signature, _ = program_signature(program, wanted)
    for spec in signature.inputs:
        for number, (found, axis) in enumerate(zip(spec.shape, axes[spec.name], strict=True)):
            if isinstance(axis, str) and isinstance(found, int):
                what = f"axis '{axis}' of the input '{spec.name}' (axis {number}) came out fixed at {found}"
                raise ConversionFailed(what, where=where, hint=ax.fixed_hint(spec.name, number, axes[spec.name]))
    with quiet_torch():
        torch.export.save(program, target)
    return Artifact("exported-program", str(target), (target,), signature=signature)
