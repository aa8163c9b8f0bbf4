"""Toy models run with numpy. One that hangs writes its process id to $TOY_HANGS first."""

from __future__ import annotations

import os

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.signature import Signature, TensorSpec
from mlconvert_toy.faults import hang
from mlconvert_toy.files import read_numbers


def signature(artifact: Artifact) -> Signature:
    features = len(read_numbers(artifact.path)) - 1
    return Signature((TensorSpec("x", "float64", ("batch", features)),), (TensorSpec("y", "float64", ("batch",)),))


def load(artifact: Artifact) -> Session:
    import numpy as np

    if "TOY_HANGS" in os.environ:
        hang(artifact, pid_file=os.environ["TOY_HANGS"])
    *weights, bias = read_numbers(artifact.path)
    return Session(signature(artifact), lambda samples: {"y": samples["x"] @ np.array(weights) + bias})
