"""Rows as a jar of mlconvert's own takes them, and its answers under the names of the outputs.

A jar takes a matrix of doubles, and beside it the columns that hold text; it answers a row of doubles, in which a
label is its place in the list of classes (of an outlier detector, which has no such list, 1 or -1 itself).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

Texts = Sequence[Sequence[str | None]]


def rows_of(descriptor: Mapping[str, Any], inputs: Mapping[str, np.ndarray]) -> tuple[np.ndarray, Texts]:
    """The inputs, named as the signature names them, as a matrix [N, F] and the columns of text, in their order."""
    import numpy as np

    names: list[str] = descriptor["features"]
    if set(inputs) == {"input"} and inputs["input"].dtype.kind not in "OU":
        return np.asarray(inputs["input"], np.float64), ()
    texts: set[int] = set(descriptor["texts"])
    columns = [np.asarray(inputs["input"]).reshape(-1)] if set(inputs) == {"input"} else [
        np.asarray(inputs[name]).reshape(-1) for name in names
    ]  # fmt: skip
    rows = np.full((len(columns[0]), len(names)), np.nan)
    for number, column in enumerate(columns):
        if number not in texts:
            rows[:, number] = column
    return rows, [[str(text) for text in columns[number]] for number in sorted(texts)]


def outputs_of(descriptor: Mapping[str, Any], answers: np.ndarray) -> dict[str, np.ndarray]:
    """The answers [N, W] under the outputs' names, in the dtypes of the signature."""
    import numpy as np

    signature = Signature.from_json(descriptor["signature"])
    dtypes = {spec.name: spec.dtype for spec in signature.outputs}
    outputs, start = {}, 0
    for name, width in descriptor["answers"]:
        part = answers[:, start : start + width]
        start += width
        if name != "label":
            outputs[name] = part.astype(dtypes[name])
            continue
        label = part[:, 0].astype(np.int64)
        classes = np.array(descriptor["classes"])
        outputs[name] = classes[label] if classes.size else label
    return outputs
