"""Tensors as Triton's protocol carries them: little-endian bytes, strings each behind its length."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

from mlconvert.errors import NotVerified, RepositoryInvalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

# The wire's names of dtypes; config.pbtxt has TYPE_ before them, and calls strings TYPE_STRING.
DTYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
}
NAMES = {wire: name for name, wire in DTYPES.items()}


def wire_dtype(array: np.ndarray) -> str:
    from mlconvert.tensors.dtypes import dtype_name

    name = dtype_name(array.dtype)
    if name is None:
        raise NotVerified(f"an array of {array.dtype} cannot be sent to a server")
    return DTYPES[name]


def encode(array: np.ndarray) -> bytes:
    """The bytes of an array, in C order."""
    import numpy as np

    from mlconvert.tensors.dtypes import dtype_name

    name = dtype_name(array.dtype)
    if name == "string":
        pieces = []
        for text in array.reshape(-1).tolist():
            raw = text.encode("utf-8")
            pieces.append(struct.pack("<I", len(raw)) + raw)
        return b"".join(pieces)
    if name == "bfloat16":
        array = np.ascontiguousarray(array).view(np.uint16)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def decode(datatype: str, shape: Sequence[int], raw: bytes, *, name: str) -> np.ndarray:
    """The array that a server sent. Raises RepositoryInvalid, naming the output, for bytes that are none."""
    import numpy as np

    from mlconvert.tensors.dtypes import numpy_dtype

    count = math.prod(shape)
    if datatype not in NAMES:
        raise RepositoryInvalid(f"the server's output '{name}' is {datatype}, which mlconvert does not know")
    if datatype == "BYTES":
        return _strings(raw, count, name).reshape(tuple(shape))
    kind = numpy_dtype(NAMES[datatype])
    if len(raw) != count * kind.itemsize:
        raise RepositoryInvalid(
            f"the server's output '{name}' has {len(raw)} bytes, where {datatype}{list(shape)} has "
            f"{count * kind.itemsize}"
        )
    if datatype == "BF16":
        words = np.frombuffer(raw, "<u2").astype(np.uint16)
        return words.view(kind).reshape(tuple(shape))
    values: np.ndarray = np.frombuffer(raw, kind.newbyteorder("<")).astype(kind)
    return values.reshape(tuple(shape))


def _strings(raw: bytes, count: int, name: str) -> np.ndarray:
    import numpy as np

    texts, place = [], 0
    while place + 4 <= len(raw):
        length = int.from_bytes(raw[place : place + 4], "little")
        texts.append(raw[place + 4 : place + 4 + length].decode("utf-8", errors="backslashreplace"))
        place += 4 + length
    if place != len(raw) or len(texts) != count:
        what = f"the server's output '{name}' is no tensor of {count} strings: {len(texts)} in {len(raw)} bytes"
        raise RepositoryInvalid(what)
    return np.array(texts, dtype=np.str_)
