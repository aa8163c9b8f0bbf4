"""ONNX files: strict reading, tidy writing, external data.

Reading is strict because protobuf is not: a file cut off at the end of a field parses as a smaller model, and most
text parses as fields that nobody knows. Writing leaves no trace of the machine it ran on, and puts weights of more
than 1 GB in a file of their own, `<name>.data`, which servers map instead of reading.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.formats.protobuf_wire import LENGTH, VARINT, Data, fields
from mlconvert.onnx_model.external import (
    ELSEWHERE,
    LARGE,
    PROTOBUF_LIMIT,
    Held,
    external_bytes,
    is_elsewhere,
    is_external,
    load_tensor,
    open_external,
    refer,
    repeated,
    serialise,
    weight_bytes,
    write_inline,
    write_weights,
)
from mlconvert.onnx_model.graphs import (
    attribute_tensors_of,
    check_opset,
    graphs_of,
    nodes_of,
    onnx_signature,
    opset_of,
    rename_tensors,
    tensors_of,
)
from mlconvert.onnx_model.splicing import FileBytes, left_out

if TYPE_CHECKING:
    import onnx

__all__ = [
    "check_opset",
    "external_bytes",
    "external_data_files",
    "finish_onnx",
    "is_external",
    "least_ir",
    "onnx_artifact",
    "onnx_signature",
    "opset_of",
    "read_onnx",
    "read_outline",
    "rename_tensors",
    "weight_bytes",
    "write_onnx",
]

EXTERNAL_ABOVE = 1 << 30
"""Weights of more bytes than this go to a file of their own (protobuf ends at 2 GB)."""

HELD = 16 << 20
"""Files of up to this many bytes are read at once: that is quicker where there are many nodes."""

_DTYPE_NEEDS_IR = {
    "FLOAT8E4M3FN": 9, "FLOAT8E4M3FNUZ": 9, "FLOAT8E5M2": 9, "FLOAT8E5M2FNUZ": 9, "UINT4": 10, "INT4": 10,
    "FLOAT4E2M1": 11, "FLOAT8E8M0": 12, "UINT2": 13, "INT2": 13,
}  # fmt: skip
_NOTES_OF_TOOLS = ("pkg.", "onnx.infer", "onnx.quant.")  # keys of a model's metadata


# --- reading ---


def read_onnx(path: Path, *, external_data: bool = True) -> onnx.ModelProto:
    """The model in a file; with `external_data=False` the weights in other files are checked but not loaded.

    Raises ConversionFailed, with the file's name, when the file is missing, empty, text, cut off, has bytes after
    its end, is not a complete model, or when its external data is missing, too short or outside its folder.
    """
    model = read_outline(path)
    for tensor in tensors_of(model):
        if is_external(tensor) and (external_data or is_elsewhere(tensor)):
            load_tensor(tensor, path)
    return model


def read_outline(path: Path) -> onnx.ModelProto:
    """The model in a file without its large weights, wherever they are; they are checked as `read_onnx` checks them.

    Initializers of 64 kB or more hold no bytes. `load_weights(model, path)` and `array_of(tensor, path)` read them,
    `write_onnx(model, target, weights_of=path)` copies them. Other tools do not take such a model.
    """
    model = _read_graph(path)
    for tensor in tensors_of(model):
        if is_external(tensor):
            with open_external(tensor, path):
                pass
    return model


def external_data_files(path: Path) -> tuple[Path, ...]:
    """The files of weights that a model names, checked as `read_onnx` checks them; none of them is read."""
    files: dict[Path, None] = {}
    for tensor in tensors_of(_read_graph(path)):
        if is_external(tensor) and not is_elsewhere(tensor):
            with open_external(tensor, path) as (file, _, _):
                files[file] = None
    return tuple(files)


def _read_graph(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        with path.open("rb") as stream:
            head = stream.read(4096)
            if not head:
                raise ConversionFailed("not an ONNX model: the file is empty", where=str(path))
            if _is_text(head):
                hint = "git lfs pull" if head.startswith(b"version https://git-lfs") else None
                what = "a Git LFS pointer" if hint else "text"
                raise ConversionFailed(f"not an ONNX model: the file holds {what}", where=str(path), hint=hint)
            size = os.fstat(stream.fileno()).st_size
            if size > PROTOBUF_LIMIT:
                what = f"not an ONNX model: {size} bytes, where 2 GB are the most that one protobuf file can hold"
                raise ConversionFailed(what, where=str(path), hint="weights of that size go to an external data file")
            stream.seek(0)
            data: Data = stream.read() if size <= HELD else FileBytes(stream)
            _check_top_level(data, size, onnx.ModelProto.DESCRIPTOR)
            outline, places = left_out(data, size, LARGE, ELSEWHERE)
        model = onnx.ModelProto.FromString(outline)
    except OSError as error:
        raise ConversionFailed(f"cannot read the ONNX model: {error.strerror}", where=str(path)) from error
    except (ValueError, IndexError, DecodeError) as error:  # IndexError: it became shorter meanwhile
        raise ConversionFailed(f"not an ONNX model, or a damaged one: {error}", where=str(path)) from error
    problem = _incomplete(model) or _not_left_out(model, places)
    if problem:
        raise ConversionFailed(f"not a complete ONNX model: {problem}", where=str(path))
    return model


def _is_text(head: bytes) -> bool:
    # A serialised model begins with the control characters of its first tags; text has none.
    return not any(byte < 32 and byte not in b"\t\n\r\f" for byte in head)


def _check_top_level(data: Data, size: int, descriptor: Any) -> None:
    """Raise ValueError unless the bytes are whole fields that a model has, those that are single at most once.

    A protobuf parser skips fields that it does not know and merges repeated ones: it takes rubbish, and two models
    in a row, for a model.
    """
    known = {field.number: field for field in descriptor.fields}
    seen: set[int] = set()
    for span in fields(data, 0, size):
        field = known.get(span.field)
        if field is None or span.wire_type != _wire_type(field):
            raise ValueError(f"byte {span.begin} is no part of a model")
        if span.field in seen and not repeated(field):
            raise ValueError(f"byte {span.begin} begins a second '{field.name}'")
        seen.add(span.field)


def _wire_type(field: Any) -> int:
    return VARINT if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_INT32) else LENGTH


def _not_left_out(model: onnx.ModelProto, places: frozenset[int]) -> str | None:
    """An outline that was taken for a model and written: where its weights were then is not where they would be now."""
    left = [model.graph.initializer[place] for place in sorted(places)]
    ours = {id(tensor) for tensor in left}
    lost = next((one.name for one in tensors_of(model) if is_elsewhere(one) and id(one) not in ours), None)
    return None if lost is None else f"external data of the tensor '{lost}' has no usable location"


def _incomplete(model: onnx.ModelProto) -> str | None:
    if model.ir_version < 1:
        return "it has no ir_version"
    if not model.HasField("graph"):
        return "it has no graph"
    if not model.opset_import:
        return "it imports no operators (no opset)"
    if not model.graph.output:
        return "its graph has no output"
    imported = {entry.domain or "ai.onnx" for entry in model.opset_import}
    for graph in graphs_of(model):
        for node in graph.node:
            if (node.domain or "ai.onnx") not in imported:
                return f"node '{node.name}' ({node.op_type}) is of the domain '{node.domain}', which is not imported"
    return None


# --- writing ---


def write_onnx(model: onnx.ModelProto, target: Path, *, weights_of: Path | Held | None = None) -> tuple[Path, ...]:
    """Write a model and return its files, the main one first.

    Doc strings, exporters' metadata and local paths are dropped, the IR version is the lowest that the model's
    operators and types allow (a lower one of its own stays), and the model is checked as it lies on disk. Weights of
    more than 1 GB in all go to `<target.name>.data`; their tensors in `model` then refer to that file and hold no
    bytes themselves. Tensors whose data is still external are taken from beside the model file `weights_of` (which
    may be the target), or from what an exporter holds. Large ones pass through memory one at a time.
    Raises ConversionFailed, and leaves no file, when the model is not valid.
    """
    tidy(model)
    data = target.with_name(f"{target.name}.data")
    external = weight_bytes(model) > EXTERNAL_ABOVE
    partial, partial_data = (path.with_name(f"{path.name}.part") for path in (target, data))
    try:
        if external:
            write_weights(model, partial_data, data.name, weights_of)
            partial.write_bytes(serialise(model, target))
            partial_data.replace(data)
        else:
            write_inline(model, partial, weights_of)
        partial.replace(target)
        _check(target)
    except BaseException:
        for path in (partial, partial_data, data, target):
            path.unlink(missing_ok=True)
        raise
    return (target, data) if external else (target,)


def finish_onnx(path: Path) -> tuple[Path, ...]:
    """Do for a file that an exporter wrote what `write_onnx` does, and return its files.

    Of a model with more than 1 GB of external data only the graph is loaded, and one data file is moved, not copied.
    """
    model = read_outline(path)
    old = external_data_files(path)
    data = path.with_name(f"{path.name}.data")
    total = weight_bytes(model)
    inline = total - external_bytes(model)
    if len(old) == 1 and total > EXTERNAL_ABOVE and inline < EXTERNAL_ABOVE:
        tidy(model)
        for tensor in tensors_of(model):
            if is_elsewhere(tensor):
                load_tensor(tensor, path)
            elif is_external(tensor):
                with open_external(tensor, path) as (_, stream, length):
                    refer(tensor, data.name, stream.tell(), length)
        path.write_bytes(serialise(model, path))
        old[0].replace(data)
        data.chmod(stat.S_IMODE(path.stat().st_mode))  # onnx and torch write data files that only their user can read
        _check(path)
        return path, data
    files = write_onnx(model, path, weights_of=path)
    for other in old:
        if other not in {file.resolve() for file in files}:
            other.unlink()
    return files


def onnx_artifact(
    target: Path,
    files: Iterable[Path],
    *,
    model: onnx.ModelProto | None = None,
    renamed: Mapping[str, str] = MappingProxyType({}),
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Artifact:
    """The artifact of a model that `write_onnx` or `finish_onnx` wrote; its facts name opsets and IR version."""
    if model is None:
        model = read_outline(target)
    opsets = {entry.domain or "ai.onnx": int(entry.version) for entry in model.opset_import}
    return Artifact(
        format="onnx",
        location=str(target),
        files=tuple(files),
        signature=onnx_signature(model),
        renamed=dict(renamed),
        facts={"opsets": opsets, "ir_version": int(model.ir_version), **facts},
    )


def tidy(model: onnx.ModelProto) -> None:
    """Drop what tells of the machine and the exporter but not of the model, and lower the IR version, in place."""
    for graph in graphs_of(model):
        values = (*graph.input, *graph.output, *graph.value_info)
        for part in (graph, *values, *graph.initializer):
            _forget(part)
    for node in nodes_of(model):
        _forget(node)
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
    for tensor in attribute_tensors_of(model):
        _forget(tensor)
    for function in model.functions:
        for part in (function, *function.value_info):
            _forget(part)
    # The model's own notes (class names, the author's licence) stay, unless an exporter or a path is in them.
    private = [str(Path.home()), str(Path.cwd()), tempfile.gettempdir(), 'File "/', "site-packages"]
    private = [text for text in private if len(text) > 1]
    if any(text in model.doc_string for text in private):
        model.ClearField("doc_string")
    kept = [
        (entry.key, entry.value)
        for entry in model.metadata_props
        if not entry.key.startswith(_NOTES_OF_TOOLS) and not any(text in entry.value for text in private)
    ]
    del model.metadata_props[:]
    for key, value in kept:
        model.metadata_props.add(key=key, value=value)
    model.ir_version = min(model.ir_version, _lowest_ir(model))


def _forget(part: Any) -> None:
    part.ClearField("doc_string")
    part.ClearField("metadata_props")


def least_ir(model: onnx.ModelProto) -> tuple[int, str]:
    """The lowest IR version that has what is in the model, and what that is; its operators are another matter."""
    import onnx

    needs = [(4, "a model whose weights are no inputs")]
    for function in model.functions:
        version = 10 if function.overload or function.value_info else 9 if function.attribute_proto else 8
        needs.append((version, f"the function '{function.name}'"))
    used = {int(tensor.data_type) for tensor in tensors_of(model)}
    for graph in graphs_of(model):
        values = (*graph.input, *graph.output, *graph.value_info)
        used |= {int(value.type.tensor_type.elem_type) for value in values}
    names = {element: onnx.TensorProto.DataType.Name(element) for element in used}
    needs += [(_DTYPE_NEEDS_IR[name], f"the type {name}") for name in names.values() if name in _DTYPE_NEEDS_IR]
    return max(needs)


def _lowest_ir(model: onnx.ModelProto) -> int:
    import onnx

    of_opsets = int(onnx.helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True))
    return max(of_opsets, least_ir(model)[0])


def _check(path: Path) -> None:
    """Let onnx check a file; the bytes of large weights, which `read_outline` checks, stay where they are."""
    import onnx

    model = read_outline(path)
    checked = path
    try:
        if any(map(is_elsewhere, model.graph.initializer)):
            checked = path.with_name(f".{path.name}.outline")
            for tensor in filter(is_elsewhere, model.graph.initializer):
                tensor.external_data[0].value = path.name  # to onnx, the whole model is their file of weights
            checked.write_bytes(serialise(model, path))
        onnx.checker.check_model(str(checked.resolve()))
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        raise ConversionFailed(f"the model is not valid ONNX: {error}", where=str(path)) from error
    finally:
        if checked != path:
            checked.unlink(missing_ok=True)
