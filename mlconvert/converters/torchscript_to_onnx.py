"""torchscript -> onnx, through torch's legacy exporter: the only one that takes TorchScript."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert.artifact import Artifact
from mlconvert.converters.torch_options import Dynamic, Opset, Static
from mlconvert.errors import ConversionFailed

if TYPE_CHECKING:
    import numpy as np

OPSETS = range(9, 21)  # what the legacy exporter folds constants for, up to the last it was taught


def convert(
    source: Artifact,
    target: Path,
    *,
    samples: Mapping[str, np.ndarray],
    opset: Opset = 18,
    inputs: Annotated[tuple[str, ...] | None, "new names of the inputs, in the order of the graph's"] = None,
    outputs: Annotated[tuple[str, ...] | None, "new names of the outputs, in their order"] = None,
    dynamic: Dynamic = None,
    static: Static = False,
) -> Artifact:
    """Export a TorchScript module on the first rows of the samples, constants folded.

    Raises UsageError without samples and for options that do not fit the model; ConversionFailed when torch cannot
    export it, or drops or fixes what was asked for.
    """
    import torch

    from mlconvert.onnx_model.files import finish_onnx, onnx_artifact, opset_of, read_outline
    from mlconvert.readers import torch_axes as ax
    from mlconvert.readers.torch_archives import load_torchscript
    from mlconvert.readers.torch_export import export_program, require_axes, require_opset
    from mlconvert.readers.torch_runs import new_io_names, output_shapes, require_samples
    from mlconvert.readers.torch_scripts import run_script, script_order
    from mlconvert.readers.torch_tensors import to_tensor

    where = source.location
    if opset not in OPSETS:
        what = f"opset {opset} was asked for: torch's legacy exporter can give {OPSETS[0]} to {OPSETS[-1]}"
        raise ConversionFailed(what, where=where, hint="leave the opset out")
    require_samples(samples, where)
    module = load_torchscript(source)
    order = script_order(module, samples, where)
    axes = ax.plan_axes({name: samples[name].shape for name in order}, dynamic, static=static)
    examples = ax.example_inputs(samples, axes)
    known = ax.output_axes(lambda arrays: output_shapes(run_script(module, arrays, where)), examples, axes)
    input_names, output_names = new_io_names(order, tuple(known), inputs, outputs)
    input_axes = {input_names[name]: spec for name, spec in axes.items()}
    output_axes = {output_names[name]: spec for name, spec in known.items()}
    if set(output_names) - {"output"} and not any(name.startswith("output_") for name in output_names):
        what = f"the module returns a dict ({', '.join(output_names)}), and the legacy exporter keeps no keys"
        raise ConversionFailed(what, where=where, hint="return a tuple, or convert from the factory or a .pt2 file")
    dynamic_axes = {
        name: {n: axis or f"{name}_{n}" for n, axis in enumerate(spec) if not isinstance(axis, int)}
        for name, spec in (input_axes | output_axes).items()
    }
    arguments = tuple(to_tensor(name, examples[name]) for name in order)
    export_program(
        lambda: torch.onnx.export(
            module,
            arguments,
            str(target),
            dynamo=False,
            opset_version=opset,
            input_names=list(input_axes),
            output_names=list(output_axes),
            dynamic_axes=dynamic_axes,
            do_constant_folding=True,
        ),
        asked=axes,
        where=where,
    )
    files = finish_onnx(target)
    model = read_outline(target)
    require_opset(opset_of(model), opset, where)
    renamed = {old: new for old, new in (input_names | output_names).items() if old != new}
    artifact = onnx_artifact(target, files, model=model, renamed=renamed)
    require_axes(artifact, tuple(input_axes), tuple(output_axes), input_axes, where)
    return artifact
