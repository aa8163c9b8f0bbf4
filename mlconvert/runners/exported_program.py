"""Runs ExportedPrograms (.pt2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np


def signature(artifact: Artifact) -> Signature:
    """Read from the program's graph. Raises ConversionFailed when the file is no ExportedProgram."""
    from mlconvert.readers.torch_archives import load_exported_program
    from mlconvert.readers.torch_programs import program_signature

    return program_signature(load_exported_program(artifact))[0]


def load(artifact: Artifact) -> Session:
    """Raises ConversionFailed when the file is no ExportedProgram, or one that cannot be loaded without trust."""
    from mlconvert.readers.torch_archives import load_exported_program, quiet_torch
    from mlconvert.readers.torch_programs import program_signature, run_program
    from mlconvert.readers.torch_tensors import to_array

    program = load_exported_program(artifact)
    with quiet_torch():
        module = program.module()

    def run(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = run_program(program, module, samples, artifact.location)
        return {name: to_array(name, tensor) for name, tensor in outputs.items()}

    return Session(program_signature(program)[0], run)
