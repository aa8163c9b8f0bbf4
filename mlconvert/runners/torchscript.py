"""Runs TorchScript modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converter import Session

if TYPE_CHECKING:
    import numpy as np


def signature(artifact: Artifact) -> None:  # noqa: ARG001 - the contract
    """None: the graph names its inputs, but tells neither dtypes nor shapes."""
    return


def load(artifact: Artifact) -> Session:
    """Raises ConversionFailed when the file is no TorchScript."""
    from mlconvert.readers.torch_archives import load_torchscript
    from mlconvert.readers.torch_scripts import run_script
    from mlconvert.readers.torch_tensors import to_array

    module = load_torchscript(artifact)

    def run(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = run_script(module, samples, artifact.location)
        return {name: to_array(name, tensor) for name, tensor in outputs.items()}

    return Session(None, run)
