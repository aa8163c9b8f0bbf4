"""An ExportedProgram to a model.py for Triton's python backend: the .pt2 file itself is served, by PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.formats.served_python import ServedModel

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(source: Artifact, target: Path) -> Artifact:
    """Write a model.py that loads the program and calls it as it was exported.

    Raises ConversionFailed for a file that is no ExportedProgram, and for one whose inputs are not plain tensors and
    constants, by position or by name.
    """
    from mlconvert.python_backend.writing import constants_of, write_served
    from mlconvert.readers.torch_archives import load_exported_program
    from mlconvert.readers.torch_programs import program_call, program_outputs, program_signature
    from mlconvert.readers.torch_tensors import output_paths

    program = load_exported_program(source)
    signature, _ = program_signature(program)
    arguments, keywords = program_call(program, source.location)
    constants: dict[str, Any] = {"MODEL": "model.pt2", **constants_of(signature)}
    if arguments:
        constants["ARGUMENTS"] = arguments
    if keywords:
        constants["KEYWORDS"] = keywords
    constants["PATHS"] = output_paths(program_outputs(program), [spec.name for spec in signature.inputs])
    served = ServedModel("exported-program", "ExportedProgram", constants)
    facts = {"model": "ExportedProgram"}
    return write_served(target, source, served, modules=["numpy", "torch"], facts=facts)
