"""The values that go along an edge, with the axes that the model at its end has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np


def shaped(values: Mapping[str, np.ndarray], signature: Signature | None) -> dict[str, np.ndarray]:
    """Values as a server hands them on, by the names of the model's inputs: one number a row, [N] to one model, is the
    column [N, 1] to clients, and so to the next model too; and the other way round.
    """
    ranks = {spec.name: len(spec.shape) for spec in signature.inputs} if signature is not None else {}
    return {name: _shaped(array, ranks.get(name, array.ndim)) for name, array in values.items()}


def _shaped(array: np.ndarray, rank: int) -> np.ndarray:
    if (array.ndim, rank) == (1, 2):
        return array.reshape(-1, 1)
    if (array.ndim, rank) == (2, 1) and array.shape[1] == 1:
        return array.reshape(-1)
    return array
