"""The bytes of ONNX tensors: in the model, in a file beside it (external data), or elsewhere.

Elsewhere is where an outline's weights are: an outline is a model whose large initializers were not loaded from its
own file, or were not taken from an exporter yet. To ONNX itself it is not a valid model, so that none gets out.

External data is followed only to a regular file in the model's own folder: no absolute path, no `..`, no symbolic
link, no second hard link, no offset or length beyond the file, and as many bytes as the tensor's shape says.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, BinaryIO

from mlconvert.errors import ConversionFailed
from mlconvert.onnx_model.digests import HashedFile
from mlconvert.onnx_model.graphs import initializers_of, tensors_of
from mlconvert.onnx_model.splicing import put_in

if TYPE_CHECKING:
    import numpy as np
    import onnx

SMALL = 1024  # bytes; tensors below this (shapes, axes) stay in the graph, where shape inference can read them
PAGE = 4096  # a tensor of external data begins on a page, so that it can be mapped
LARGE = 64 << 10  # bytes; initializers of the main graph from this on are not held in memory to read or write a file
CHUNK = 16 << 20
PROTOBUF_LIMIT = (1 << 31) - 1  # bytes of one message

ELSEWHERE = "\0"
"""The location of external data that are in no file of their own: no file can be called that."""

Held = Mapping[str, Callable[[], memoryview]]
"""The weights that an exporter holds, by the names of initializers."""

_BITS = {
    "FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64, "BOOL": 8,
    "FLOAT16": 16, "DOUBLE": 64, "UINT32": 32, "UINT64": 64, "COMPLEX64": 64, "COMPLEX128": 128, "BFLOAT16": 16,
    "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8, "FLOAT8E8M0": 8,
    "UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2,
}  # fmt: skip
_AS_STORED = frozenset({1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13})
"""The numbers of the element types whose raw bytes are numpy's own: floats from float16 on, integers from 8 bits."""
_DATA_FIELDS = ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "external_data")


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's bytes are not in the model: in a file beside it, or elsewhere."""
    return bool(tensor.data_location == tensor.EXTERNAL)


def is_elsewhere(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor of an outline was left out of it."""
    return is_external(tensor) and _entries(tensor).get("location") == ELSEWHERE


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
    return sum(tensor_bytes(tensor) for tensor in tensors_of(model) if is_external(tensor) and not is_elsewhere(tensor))


@contextmanager
def open_external(tensor: onnx.TensorProto, model_path: Path) -> Iterator[tuple[Path, BinaryIO, int]]:
    """A tensor's external data: its file, the file opened at the first byte, and the number of bytes.

    Raises ConversionFailed, naming file and tensor, for a location that is missing or must not be followed.
    """
    entries = _entries(tensor)
    location = entries.get("location", "")
    inside = location == ELSEWHERE

    def refuse(what: str, hint: str | None = None) -> ConversionFailed:
        data = "the data" if inside else f"external data '{location}'"
        return ConversionFailed(f"{data} of the tensor '{tensor.name}' {what}", where=str(model_path), hint=hint)

    unsafe = None if inside else _unsafe(location)
    if unsafe:
        raise refuse(unsafe)
    path = model_path if inside else model_path.parent.resolve() / location
    if not inside and (path.is_symlink() or path.resolve() != Path(os.path.normpath(path))):
        raise refuse("is a symbolic link, or lies behind one", "copy the file itself into the model's folder")
    needed = tensor_bytes(tensor)
    try:
        offset, length = int(entries.get("offset") or 0), int(entries.get("length") or needed)
    except ValueError as error:
        raise refuse("has an offset or a length that is not a number") from error
    try:
        # No symbolic link even if one was put there since the check above, and no wait on a pipe.
        follow = 0 if inside else os.O_NOFOLLOW
        stream = os.fdopen(os.open(path, os.O_RDONLY | follow | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except FileNotFoundError as error:
        raise refuse("is missing", f"put the file '{location}' beside the model") from error
    except OSError as error:
        raise refuse(f"cannot be read: {error.strerror}") from error
    with stream:
        status = os.fstat(stream.fileno())
        if status.st_nlink != 1 and not inside:
            raise refuse("has a second hard link", "copy the file itself into the model's folder")
        if offset < 0 or length < 0 or offset + length > status.st_size:
            raise refuse(f"has {status.st_size} bytes, and the tensor needs those from {offset} to {offset + length}")
        if length != needed:
            raise refuse(f"gives it {length} bytes, and its shape and type need {needed}")
        stream.seek(offset)
        yield path, stream, length


def load_weights(model: onnx.ModelProto, weights_of: Path | Held | None) -> None:
    """Bring all weights into the model: external data, and what is elsewhere, from the model's file `weights_of`."""
    for tensor in tensors_of(model):
        if is_external(tensor):
            load_tensor(tensor, weights_of)


def load_tensor(tensor: onnx.TensorProto, weights_of: Path | Held | None) -> None:
    """Bring a tensor's weights into it, as `load_weights` does for all."""
    set_raw(tensor, _bytes(tensor, weights_of))


def array_of(tensor: onnx.TensorProto, weights_of: Path | Held | None) -> np.ndarray:
    """A tensor as an array; external data is read for it and let go again."""
    import onnx

    if is_external(tensor):
        data = _bytes(tensor, weights_of)
        if tensor.data_type in _AS_STORED and sys.byteorder == "little":
            import numpy as np

            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            return np.frombuffer(data, kind).reshape(tuple(tensor.dims))  # no second copy
        tensor = onnx.TensorProto(dims=tensor.dims, data_type=tensor.data_type, raw_data=data)
    array: np.ndarray = onnx.numpy_helper.to_array(tensor)
    return array


def write_weights(model: onnx.ModelProto, path: Path, name: str, weights_of: Path | Held | None) -> None:
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
            load_tensor(tensor, weights_of)
    with HashedFile(path) as stream:
        for tensor in large:
            stream.write(b"\0" * (-stream.written % PAGE))
            start = stream.written
            for chunk in _chunks(tensor, weights_of):
                stream.write(chunk)
            refer(tensor, name, start, stream.written - start)


def write_inline(model: onnx.ModelProto, path: Path, weights_of: Path | Held | None) -> None:
    """Write a model with all its weights in the one file, a large tensor at a time; the model keeps what it has.

    The bytes are those that protobuf itself would write. Raises ConversionFailed above protobuf's 2 GB, and where a
    tensor holds less or more than its shape and type need.
    """
    large: dict[int, int] = {}
    for place, tensor in enumerate(model.graph.initializer):
        if (is_external(tensor) or tensor.HasField("raw_data")) and tensor_bytes(tensor) >= LARGE:
            large[place] = tensor_bytes(tensor)
    apart = [model.graph.initializer[place] for place in large]  # a list, so that their ids stay theirs
    streamed = {id(tensor) for tensor in apart}
    for tensor in tensors_of(model):
        if is_external(tensor) and id(tensor) not in streamed:
            load_tensor(tensor, weights_of)
    loaded = not all(map(is_external, apart))
    serialised = serialise(_without_weights(model, large) if loaded else model, path)
    pieces = put_in(serialised, large) if large else [serialised]
    size = sum(large[piece] if isinstance(piece, int) else len(piece) for piece in pieces)
    if size > PROTOBUF_LIMIT:
        raise ConversionFailed(f"the model is {size} bytes, and one protobuf file can hold 2 GB", where=str(path))
    with HashedFile(path) as stream:
        for piece in pieces:
            if isinstance(piece, bytes):
                stream.write(piece)
                continue
            tensor = model.graph.initializer[piece]
            end = stream.written + large[piece]
            for chunk in _chunks(tensor, weights_of):
                stream.write(chunk)
            if stream.written != end:
                what = f"the tensor '{tensor.name}' holds {stream.written - end + large[piece]} bytes"
                raise ConversionFailed(f"{what}, and its shape and type need {large[piece]}", where=str(path))


def serialise(model: onnx.ModelProto, path: Path) -> bytes:
    """The model as bytes, the same for the same model. Raises ConversionFailed for more than protobuf can hold."""
    from google.protobuf.message import EncodeError

    try:
        return bytes(model.SerializeToString(deterministic=True))
    except (EncodeError, ValueError) as error:
        what = f"the graph cannot be written: {error}"
        hint = "constants of more than 2 GB must be initializers"
        raise ConversionFailed(what, where=str(path), hint=hint) from error


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


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _bytes(tensor: onnx.TensorProto, weights_of: Path | Held | None) -> bytes:
    """All of a tensor's external data at once."""
    if isinstance(weights_of, Path):
        with open_external(tensor, weights_of) as (_, stream, length):
            data = stream.read(length)
            if len(data) == length:
                return data
    return b"".join(_chunks(tensor, weights_of))


def _chunks(tensor: onnx.TensorProto, weights_of: Path | Held | None) -> Iterator[bytes | memoryview]:
    import onnx

    if not is_external(tensor):
        if not tensor.HasField("raw_data"):
            tensor = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor))
        yield tensor.raw_data
        return
    if isinstance(weights_of, Mapping) and tensor.name in weights_of:
        held = weights_of[tensor.name]()
        yield from (held[at : at + CHUNK] for at in range(0, len(held), CHUNK))
        return
    if not isinstance(weights_of, Path):
        raise ConversionFailed(f"the data of the tensor '{tensor.name}' was not loaded")
    with open_external(tensor, weights_of) as (_, stream, length):
        left = length
        while left:
            chunk = stream.read(min(CHUNK, left))
            if not chunk:
                raise ConversionFailed(f"the data of the tensor '{tensor.name}' became shorter", where=str(weights_of))
            left -= len(chunk)
            yield chunk


def _without_weights(model: onnx.ModelProto, places: Iterable[int]) -> onnx.ModelProto:
    """A copy of the model in which the initializers at these places hold no raw data."""
    import onnx

    copied = onnx.ModelProto()
    _copy_fields(model, copied, but=("graph",))
    copied.graph.SetInParent()
    _copy_fields(model.graph, copied.graph, but=("initializer",))
    empty = set(places)
    for place, tensor in enumerate(model.graph.initializer):
        if place in empty:
            _copy_fields(tensor, copied.graph.initializer.add(), but=("raw_data",))
        else:
            copied.graph.initializer.add().CopyFrom(tensor)
    return copied


def _copy_fields(source: Any, target: Any, *, but: Iterable[str]) -> None:
    for field in source.DESCRIPTOR.fields:
        if field.name in but:
            continue
        if repeated(field):
            getattr(target, field.name).extend(getattr(source, field.name))
        elif source.HasField(field.name):
            if field.message_type is None:
                setattr(target, field.name, getattr(source, field.name))
            else:
                getattr(target, field.name).CopyFrom(getattr(source, field.name))


def repeated(field: Any) -> bool:
    """Whether a field of a protobuf message may be there several times."""
    # protobuf 6.31 brought is_repeated and made label a deprecation warning.
    if hasattr(field, "is_repeated"):
        return bool(field.is_repeated)
    return bool(field.label == field.LABEL_REPEATED)
