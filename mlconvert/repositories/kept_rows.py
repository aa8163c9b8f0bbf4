"""The rows that a record keeps, as inputs of a model that is being published: what servers warm a model up with.

Real rows are valid inputs: known categories, tokens of the vocabulary, numbers in their range. Random ones are not.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.errors import NotVerified
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np


def inputs_of(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The inputs that the record keeps, under the artifact's own names. Raises NotVerified."""
    from mlconvert.tensors.rows import decode_rows

    try:
        kept, _ = decode_rows(record["rows"])
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise NotVerified("the record's rows cannot be read") from error
    renamed = record.get("renamed", {})
    return {renamed.get(name, name): values for name, values in kept.items()}


def sample(
    kept: Mapping[str, np.ndarray],
    signature: Signature,
    known: tuple[TensorSpec, ...] = (),
    *,
    at: int = 0,
    size: int = 1,
) -> dict[str, np.ndarray]:
    """`size` rows from row `at` on (as many as the model takes, where that is fixed) for each input, in its dtype.

    Rows are repeated from the start where there are too few. `known` are the artifact's inputs, where the server has
    other names for the same ones in the same order. Raises NotVerified where the rows do not fit the model.
    """
    import numpy as np

    from mlconvert.tensors.dtypes import cast

    found = {}
    for index, spec in enumerate(signature.inputs):
        other = known[index].name if len(known) == len(signature.inputs) else spec.name
        values = kept.get(spec.name, kept.get(other))
        if values is None:
            raise NotVerified(f"the record's rows lack input '{spec.name}'")
        if values.ndim == len(spec.shape) + 1:
            values = values[at % len(values)]  # the model takes one sample without the axis of rows
        elif values.ndim != len(spec.shape):
            raise NotVerified(
                f"the record's rows of input '{spec.name}' have {values.ndim} axes, the model takes {spec}"
            )
        elif values.ndim and len(values):
            length = spec.shape[0] if isinstance(spec.shape[0], int) else size
            values = np.take(values, (at + np.arange(length)) % len(values), axis=0)
        wrong = [
            axis
            for axis, length in zip(spec.shape, values.shape, strict=True)
            if isinstance(axis, int) and axis != length
        ]
        if wrong or values.size == 0:
            raise NotVerified(
                f"the record's rows of input '{spec.name}' have the shape {list(values.shape)}: not {spec}"
            )
        found[spec.name] = np.ascontiguousarray(
            cast(values, spec.dtype, what=f"input '{spec.name}'", error=NotVerified)
        )
    return found
