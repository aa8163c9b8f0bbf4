"""The rows that a record keeps: a few samples and the source's answers to them, bit for bit, inside JSON.

Each tensor is its dtype, its shape and its little-endian bytes, deflated, in base64; strings are a plain list.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def _encode(values: np.ndarray) -> dict[str, Any]:
    import numpy as np

    if values.dtype.kind == "U":
        return {"dtype": "string", "shape": list(values.shape), "values": values.reshape(-1).tolist()}
    name = values.dtype.name
    if values.dtype.kind not in "biuf" and name != "bfloat16":
        raise TypeError(f"an array of {name} cannot be kept in a record")
    raw = np.ascontiguousarray(values)
    raw = raw.astype(raw.dtype.newbyteorder("<")) if name != "bfloat16" else raw.view(np.uint16).astype("<u2")
    packed = base64.b64encode(zlib.compress(raw.tobytes(), 6)).decode()
    return {"dtype": name, "shape": list(values.shape), "deflate_base64": packed}


def _decode(data: Mapping[str, Any]) -> np.ndarray:
    import numpy as np

    shape = tuple(data["shape"])
    if data["dtype"] == "string":
        return np.array(data["values"], dtype=np.str_).reshape(shape)
    raw = zlib.decompress(base64.b64decode(data["deflate_base64"]))
    if data["dtype"] == "bfloat16":
        import ml_dtypes

        words: np.ndarray = np.frombuffer(raw, dtype="<u2").astype(np.uint16).view(ml_dtypes.bfloat16)
        return words.reshape(shape)
    kind = np.dtype(data["dtype"])
    values: np.ndarray = np.frombuffer(raw, dtype=kind.newbyteorder("<")).astype(kind)
    return values.reshape(shape)


def encode_rows(
    samples: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray], *, count: int, limit: int
) -> dict[str, Any] | None:
    """The first `count` rows of samples and reference outputs; fewer where they would weigh more than `limit` bytes.

    None when the outputs have no row for each row of the samples, or when a single row is too heavy.
    """
    tensors = [*samples.values(), *outputs.values()]
    rows = len(next(iter(samples.values())))
    if any(values.ndim == 0 or len(values) != rows for values in tensors):
        return None
    weight = sum(values[:1].nbytes for values in tensors)
    count = min(count, rows, limit // max(weight, 1))
    if count == 0:
        return None
    return {
        "count": count,
        "inputs": {name: _encode(values[:count]) for name, values in samples.items()},
        "outputs": {name: _encode(values[:count]) for name, values in outputs.items()},
    }


def decode_rows(data: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The samples and the reference outputs that `encode_rows` packed."""
    return (
        {name: _decode(values) for name, values in data["inputs"].items()},
        {name: _decode(values) for name, values in data["outputs"].items()},
    )
