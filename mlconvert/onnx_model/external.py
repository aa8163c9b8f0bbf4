"""The bytes of ONNX tensors: in the model, or in a file beside it (external data).

External data is followed only to a regular file in the model's own folder: no absolute path, no `..`, no symbolic
link, no second hard link, no offset or length beyond the file, and as many bytes as the tensor's shape says.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, BinaryIO

from mlconvert.errors import ConversionFailed
from mlconvert.onnx_model.graphs import initializers_of, tensors_of

if TYPE_CHECKING:
    import numpy as np
    import onnx

SMALL = 1024  # bytes; tensors below this (shapes, axes) stay in the graph, where shape inference can read them
PAGE = 4096  # a tensor of external data begins on a page, so that it can be mapped
CHUNK = 16 << 20

_BITS = {
    "FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64, "BOOL": 8,
    "FLOAT16": 16, "DOUBLE": 64, "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BFLOAT16": 16,
    "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "FLOAT8E8M0": 8,
    "UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2,
}  # fmt: skip
_DATA_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "external_data")


def is_external(tensor: onnx.TensorProto) -> bool:
    return bool(tensor.data_location == tensor.EXTERNAL)


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """How many bytes a tensor's shape and element type need, wherever they are."""
    import onnx

    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(len(item) for item in tensor.string_data)
    if tensor.data_type not in onnx.TensorProto.DataType.values():
        raise ConversionFailed(f"the tensor '{tensor.name}' has an element type that is not known: {tensor.data_type}")
    bits = _BITS.get(onnx.TensorProto.DataType.Name(tensor.data_type), 0)
    return (math.prod(int(length) for length in tensor.dims) * bits + 7) // 8


def weight_bytes(model: onnx.ModelProto) -> int:
    """The bytes of all the model's tensors, whether they are loaded or not."""
    return sum(tensor_bytes(tensor) for tensor in tensors_of(model))


def external_bytes(model: onnx.ModelProto) -> int:
    """The bytes of the tensors whose data is in other files."""
    return sum(tensor_bytes(tensor) for tensor in tensors_of(model) if is_external(tensor))


@contextmanager
def open_external(tensor: onnx.TensorProto, model_path: Path) -> Iterator[tuple[Path, BinaryIO, int]]:
    """A tensor's external data: its file, the file opened at the first byte, and the number of bytes.

    Raises ConversionFailed, naming file and tensor, for a location that is missing or must not be followed.
    """
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")

    def refuse(what: str, hint: str | None = None) -> ConversionFailed:
        what = f"external data '{location}' of the tensor '{tensor.name}' {what}"
        return ConversionFailed(what, where=str(model_path), hint=hint)

    unsafe = _unsafe(location)
    if unsafe:
        raise refuse(unsafe)
    path = model_path.parent.resolve() / location
    if path.is_symlink() or path.resolve() != Path(os.path.normpath(path)):
        raise refuse("is a symbolic link, or lies behind one", "copy the file itself into the model's folder")
    needed = tensor_bytes(tensor)
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or needed)
    except ValueError as error:
        raise refuse("has an offset or a length that is not a number") from error
    try:
        # No symbolic link even if one was put there since the check above, and no wait on a pipe.
        stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except FileNotFoundError as error:
        raise refuse("is missing", f"put the file '{location}' beside the model") from error
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}") from error
    with stream:
        status = os.fstat(stream.fileno())
        if status.st_nlink != 1:
            raise refuse("has a second hard link", "copy the file itself into the model's folder")
        if offset < 0 or length < 0 or offset + length > status.st_size:
            raise refuse(f"has {status.st_size} bytes, and the tensor needs those from {offset} to {offset + length}")
        if length != needed:
            raise refuse(f"gives it {length} bytes, and its shape and type need {needed}")
        stream.seek(offset)
        yield path, stream, length


def load_weights(model: onnx.ModelProto, weights_of: Path | None) -> None:
    """Bring all external data into the model, from beside the model file `weights_of`."""
    for tensor in tensors_of(model):
        if is_external(tensor):
            set_raw(tensor, b"".join(_chunks(tensor, weights_of)))


def array_of(tensor: onnx.TensorProto, weights_of: Path | None) -> np.ndarray:
    """A tensor as an array; external data is read for it and let go again."""
    import onnx

    if is_external(tensor):
        data = b"".join(_chunks(tensor, weights_of))
        tensor = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=data)
    array: np.ndarray = onnx.numpy_helper.to_array(tensor)
    return array


def write_weights(model: onnx.ModelProto, path: Path, name: str, weights_of: Path | None) -> None:
    """Move the weights to a file that will be called `name`, a tensor at a time: there is no second copy in memory."""
    import onnx

    large = [
        tensor
        for tensor in initializers_of(model)
        if tensor.data_type != onnx.TensorProto.STRING and tensor_bytes(tensor) >= SMALL
    ]
    moved = {id(tensor) for tensor in large}
    for tensor in tensors_of(model):
        if is_external(tensor) and id(tensor) not in moved:
            set_raw(tensor, b"".join(_chunks(tensor, weights_of)))
    with path.open("wb") as stream:
        for tensor in large:
            stream.write(b"\0" * (-stream.tell() % PAGE))
            start = stream.tell()
            for chunk in _chunks(tensor, weights_of):
                stream.write(chunk)
            refer(tensor, name, start, stream.tell() - start)


def refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """Make a tensor's data external, and let go of the bytes that it holds."""
    for field in _DATA_FIELDS:
        tensor.ClearField(field)
    tensor.data_location = tensor.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def set_raw(tensor: onnx.TensorProto, data: bytes) -> None:
    """Make a tensor's data part of the model."""
    tensor.raw_data = data
    tensor.ClearField("data_location")
    tensor.ClearField("external_data")


def _unsafe(location: str) -> str | None:
    if not location or "\0" in location:
        return "has no usable location"
    if PurePosixPath(location).is_absolute() or PureWindowsPath(location).drive or "\\" in location:
        return "is not relative to the model's folder"
    if ".." in PurePosixPath(location).parts:
        return "leads out of the model's folder"
    return None


def _chunks(tensor: onnx.TensorProto, weights_of: Path | None) -> Iterator[bytes]:
    import onnx

    if not is_external(tensor):
        if not tensor.HasField("raw_data"):
            tensor = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor))
        yield tensor.raw_data
        return
    if weights_of is None:
        raise ConversionFailed(f"the data of the tensor '{tensor.name}' was not loaded")
    with open_external(tensor, weights_of) as (_, stream, length):
        left = length
        while left:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                raise ConversionFailed(f"the data of the tensor '{tensor.name}' became shorter", where=str(weights_of))
            left -= len(chunk)
            yield chunk
