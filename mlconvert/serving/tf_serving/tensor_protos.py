"""Tensors as TensorFlow's TensorProto carries them: as bytes, or as a list of values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.errors import NotVerified, RepositoryInvalid
from mlconvert.serving.tf_serving.messages import DATA_TYPES, type_name

if TYPE_CHECKING:
    import numpy as np

# TensorFlow's types that signatures have, and signatures' own names of them.
DTYPES: Mapping[str, str] = {
    "DT_BFLOAT16": "bfloat16",
    "DT_BOOL": "bool",
    "DT_DOUBLE": "float64",
    "DT_FLOAT": "float32",
    "DT_HALF": "float16",
    "DT_INT16": "int16",
    "DT_INT32": "int32",
    "DT_INT64": "int64",
    "DT_INT8": "int8",
    "DT_STRING": "string",
    "DT_UINT16": "uint16",
    "DT_UINT32": "uint32",
    "DT_UINT64": "uint64",
    "DT_UINT8": "uint8",
}
_NUMBERS = {dtype: DATA_TYPES[name] for name, dtype in DTYPES.items()}

# The field of a TensorProto that lists the values of a dtype, where they are not its bytes.
_FIELDS: Mapping[str, str] = {
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
    **dict.fromkeys(("float16", "bfloat16"), "half_val"),  # their bits, as numbers
    "bool": "bool_val",
    "float32": "float_val",
    "float64": "double_val",
    "int64": "int64_val",
    "string": "string_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
}


def fill_tensor(tensor: Any, values: np.ndarray) -> None:
    """Write an array into an empty TensorProto; strings as UTF-8. Raises NotVerified for a dtype that has no type."""
    import numpy as np

    from mlconvert.tensors.dtypes import dtype_name

    name = dtype_name(values.dtype)
    if name is None:
        raise NotVerified(f"an array of {values.dtype} cannot be sent to a server")
    tensor.dtype = _NUMBERS[name]
    tensor.tensor_shape.SetInParent()
    for length in values.shape:
        tensor.tensor_shape.dim.add(size=length)
    if name == "string":
        tensor.string_val.extend(word.encode() for word in values.reshape(-1).tolist())
    elif name == "bfloat16":
        tensor.tensor_content = np.ascontiguousarray(values).view(np.uint16).astype("<u2").tobytes()
    else:
        tensor.tensor_content = values.astype(values.dtype.newbyteorder("<")).tobytes()


def read_tensor(tensor: Any, *, name: str) -> np.ndarray:
    """The array that a TensorProto holds. Raises RepositoryInvalid, naming the output, for one that is no tensor."""
    import numpy as np

    from mlconvert.tensors.dtypes import numpy_dtype

    dtype = DTYPES.get(type_name(tensor.dtype))
    if dtype is None:
        what = f"the server's output '{name}' is {type_name(tensor.dtype)}, which mlconvert does not know"
        raise RepositoryInvalid(what)
    shape = tuple(int(dim.size) for dim in tensor.tensor_shape.dim)
    if tensor.tensor_shape.unknown_rank or any(length < 0 for length in shape):
        raise RepositoryInvalid(f"the server's output '{name}' has no shape")
    count = math.prod(shape)
    if dtype == "string":
        return _strings(tensor, count, name).reshape(shape)
    kind = numpy_dtype(dtype)
    if tensor.tensor_content:
        if len(tensor.tensor_content) != count * kind.itemsize:
            raise _wrong_count(name, f"{len(tensor.tensor_content)} bytes", tensor, count * kind.itemsize)
        if dtype == "bfloat16":
            return np.frombuffer(tensor.tensor_content, "<u2").astype(np.uint16).view(kind).reshape(shape)
        return np.frombuffer(tensor.tensor_content, kind.newbyteorder("<")).astype(kind).reshape(shape)
    listed = getattr(tensor, _FIELDS[dtype])
    if len(listed) > count:
        raise _wrong_count(name, f"{len(listed)} values", tensor, count)
    bits = dtype in ("float16", "bfloat16")
    values: np.ndarray = np.asarray(listed, np.uint16 if bits else kind)
    values = values.view(kind) if bits else values
    # As TensorFlow reads one: the last value stands for those that are not written; none at all are zeros.
    filled = np.full(count, values[-1] if len(values) else 0, dtype=kind)
    filled[: len(values)] = values
    return filled.reshape(shape)


def _wrong_count(name: str, has: str, tensor: Any, expected: int) -> RepositoryInvalid:
    shape = [int(dim.size) for dim in tensor.tensor_shape.dim]
    what = f"the server's output '{name}' has {has}, where {type_name(tensor.dtype)}{shape} has {expected}"
    return RepositoryInvalid(what)


def _strings(tensor: Any, count: int, name: str) -> np.ndarray:
    import numpy as np

    words = list(_packed(tensor.tensor_content, count, name)) if tensor.tensor_content else list(tensor.string_val)
    if len(words) > count:
        raise _wrong_count(name, f"{len(words)} strings", tensor, count)
    words += [words[-1] if words else b""] * (count - len(words))
    return np.array([text_of(word) for word in words], dtype=np.str_)


def text_of(word: bytes) -> str:
    """A string of a server's; bytes that are no UTF-8 are shown as escapes, so that no two become one."""
    return word.decode("utf-8", errors="backslashreplace")


def _packed(content: bytes, count: int, name: str) -> Iterator[bytes]:
    """Strings as bytes: the lengths of all of them as varints, then the strings."""
    lengths, place = [], 0
    for _ in range(count):
        length, shift = 0, 0
        while place < len(content):
            byte = content[place]
            length |= (byte & 0x7F) << shift
            place, shift = place + 1, shift + 7
            if byte < 0x80:
                break
        lengths.append(length)
    if place + sum(lengths) != len(content):
        raise RepositoryInvalid(f"the server's output '{name}' is no tensor of {count} strings")
    for length in lengths:
        yield content[place : place + length]
        place += length
