"""torch -> onnx, through torch.export and torch.onnx's exporter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert.artifact import Artifact
from mlconvert.converters.torch_options import Dynamic, Opset, Static
from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    import numpy as np


def convert(
    source: Artifact,
    target: Path,
    *,
    samples: Mapping[str, np.ndarray],
    opset: Opset = 18,
    inputs: Annotated[tuple[str, ...] | None, "new names of the inputs, in the order of forward's parameters"] = None,
    outputs: Annotated[tuple[str, ...] | None, "new names of the outputs, in their order"] = None,
    dynamic: Dynamic = None,
    static: Static = False,
) -> Artifact:
    """Export the module that a factory builds, on the first rows of the samples.

    Raises UsageError without samples and for options that do not fit the model; ConversionFailed when torch cannot
    export it, or would only with an axis fixed that was to be dynamic.
    """
    import torch

    from mlconvert.readers import torch_axes as ax
    from mlconvert.readers.torch_export import export_arguments, export_program, finish_program, symbolic_shapes
    from mlconvert.readers.torch_modules import load_module
    from mlconvert.readers.torch_runs import new_io_names, output_shapes, require_samples, run_module
    from mlconvert.readers.torch_tensors import forward_order

    where = source.location
    require_samples(samples, where)
    module = load_module(source)
    if isinstance(module, torch.jit.ScriptModule):
        what = "the factory returned TorchScript, which this exporter does not take"
        raise ConversionFailed(what, where=where, hint="save it (torch.jit.save) and convert the file")
    order = forward_order(module, samples)
    axes = ax.plan_axes({name: samples[name].shape for name in order}, dynamic, static=static)
    examples = ax.example_inputs(samples, axes)

    known = ax.output_axes(lambda arrays: output_shapes(run_module(module, arrays, where)), examples, axes)
    input_names, output_names = new_io_names(order, tuple(known), inputs, outputs)

    args, kwargs, shapes = export_arguments(module, examples, axes)
    program = export_program(
        lambda: torch.onnx.export(
            module,
            args,
            kwargs=kwargs,
            dynamo=True,
            verbose=False,
            opset_version=opset,
            dynamic_shapes=shapes,
        ),
        asked=axes,
        where=where,
    )
    symbolic = dict(zip(order, symbolic_shapes(program), strict=False))
    symbols = ax.name_symbols(symbolic, axes, what="torch.export's graph")
    return finish_program(
        program,
        target,
        inputs=tuple(input_names.values()),
        outputs=tuple(output_names.values()),
        symbols=symbols,
        input_axes={input_names[name]: spec for name, spec in axes.items()},
        output_axes={output_names[name]: spec for name, spec in known.items()},
        opset=opset,
        renamed={old: new for old, new in (input_names | output_names).items() if old != new},
        where=where,
    )
