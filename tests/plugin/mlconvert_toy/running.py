"""Toy models run with numpy."""

from __future__ import annotations

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.signature import Signature, TensorSpec
from mlconvert_toy.files import read_numbers


def signature(artifact: Artifact) -> Signature:
    features = len(read_numbers(artifact.path)) - 1
    return Signature((TensorSpec("x", "float64", ("batch", features)),), (TensorSpec("y", "float64", ("batch",)),))


def load(artifact: Artifact) -> Session:
    import numpy as np

    *weights, bias = read_numbers(artifact.path)
    return Session(signature(artifact), lambda samples: {"y": samples["x"] @ np.array(weights) + bias})
