"""Runs PyTorch modules that a factory builds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converter import Session

if TYPE_CHECKING:
    import numpy as np


def signature(artifact: Artifact) -> None:  # noqa: ARG001 - the contract
    """None: a module tells neither dtypes nor shapes of what it takes before it sees some."""
    return


def load(artifact: Artifact) -> Session:
    """Build the module. Raises as `mlconvert.readers.torch_modules.load_module` does."""
    from mlconvert.readers.torch_modules import load_module
    from mlconvert.readers.torch_runs import run_module
    from mlconvert.readers.torch_tensors import to_array

    module = load_module(artifact)

    def run(samples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = run_module(module, samples, artifact.location)
        return {name: to_array(name, tensor) for name, tensor in outputs.items()}

    return Session(None, run)
