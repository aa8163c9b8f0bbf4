"""exported-program (.pt2) -> onnx. Its dynamic axes are its own; here they only get names."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from mlconvert.artifact import Artifact
from mlconvert.converters.torch_options import Opset


def convert(
    source: Artifact,
    target: Path,
    *,
    opset: Opset = 18,
    inputs: Annotated[tuple[str, ...] | None, "new names of the inputs, in their order"] = None,
    outputs: Annotated[tuple[str, ...] | None, "new names of the outputs, in their order"] = None,
    dynamic: Annotated[
        dict[str, tuple[str, ...]] | None, "for each input the names of its dynamic axes, _ for an axis left as it is"
    ] = None,
) -> Artifact:
    """Export a program. Raises UsageError for options that do not fit it, ConversionFailed when torch cannot."""
    import torch

    from mlconvert.readers.torch_archives import load_exported_program
    from mlconvert.readers.torch_export import export_program, finish_program
    from mlconvert.readers.torch_programs import program_signature
    from mlconvert.readers.torch_runs import new_io_names

    where = source.location
    program = load_exported_program(source)
    signature, symbols = program_signature(program, dynamic)
    input_names, output_names = new_io_names(
        [spec.name for spec in signature.inputs], [spec.name for spec in signature.outputs], inputs, outputs
    )
    axes = {spec.name: spec.shape for spec in signature.inputs}
    exported = export_program(
        lambda: torch.onnx.export(program, (), dynamo=True, verbose=False, opset_version=opset),
        asked=axes,
        where=where,
    )
    return finish_program(
        exported,
        target,
        inputs=tuple(input_names.values()),
        outputs=tuple(output_names.values()),
        symbols=symbols,
        input_axes={input_names[name]: spec for name, spec in axes.items()},
        output_axes={output_names[spec.name]: spec.shape for spec in signature.outputs},
        opset=opset,
        renamed={old: new for old, new in (input_names | output_names).items() if old != new},
        where=where,
    )
