"""What an OpenVINO model takes and gives, read from its XML alone: OpenVINO is not needed.

Dynamic axes have no names in the IR. `onnx -> openvino` keeps those of the ONNX model in the runtime information, under
`mlconvert/axes`, where OpenVINO carries them along and ignores them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

from mlconvert.errors import ConversionFailed
from mlconvert.formats.openvino import weights_of
from mlconvert.signature import Axis, Signature, TensorSpec

DTYPES: Mapping[str, str] = {
    "bf16": "bfloat16",
    "boolean": "bool",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "i8": "int8",
    "string": "string",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "u8": "uint8",
}
_PRECISIONS = {"BOOL": "bool", "BF16": "bfloat16", "STRING": "string"} | {
    f"{letter}{width}": f"{kind}{width}"
    for letter, kind in (("FP", "float"), ("I", "int"), ("U", "uint"))
    for width in (8, 16, 32, 64)
    if (kind, width) != ("float", 8)
}


def openvino_signature(path: Path) -> Signature:
    """The inputs and outputs of a model, under the names that OpenVINO itself calls them by.

    Raises ConversionFailed for a file that is damaged, weights that are missing or too short, a tensor without a name,
    of a type that no other format has, or of an unknown number of axes.
    """
    weights = weights_of(path)
    root = _parsed(path)
    layers = {layer.get("id", ""): layer for layer in root.iterfind("./layers/layer")}
    if not layers:
        raise ConversionFailed("not an OpenVINO model: it has no layers", where=str(path))
    needed = max((_end(layer, path) for layer in layers.values() if layer.get("type") == "Const"), default=0)
    if weights.stat().st_size < needed:
        what = f"{weights.name} holds {weights.stat().st_size} bytes, and the model needs {needed}"
        raise ConversionFailed(what, where=str(path), hint="copy or convert both files again")
    feeding = {edge.get("to-layer"): edge for edge in root.iterfind("./edges/edge")}
    named = _axes_names(root)
    inputs = [_input(layer, named, path) for layer in layers.values() if layer.get("type") == "Parameter"]
    outputs = [
        _output(layer, layers, feeding.get(layer.get("id")), named, path)
        for layer in layers.values()
        if layer.get("type") == "Result"
    ]
    return Signature(tuple(inputs), tuple(outputs))


def operators(path: Path) -> frozenset[str]:
    """The types of a model's layers."""
    return frozenset(layer.get("type", "") for layer in _parsed(path).iter("layer"))


def _parsed(path: Path) -> ET.Element:
    try:
        return ET.parse(path).getroot()  # noqa: S314 - expat bounds the growth of entities, and reads no other file
    except OSError as error:
        raise ConversionFailed(f"cannot read the OpenVINO model: {error.strerror}", where=str(path)) from error
    except (ET.ParseError, ValueError, RecursionError) as error:
        what = f"not an OpenVINO model, or a damaged one: {error}"
        raise ConversionFailed(what, where=str(path), hint="copy or convert it again") from error


def _end(layer: ET.Element, path: Path) -> int:
    data = layer.find("data")
    try:
        return 0 if data is None else int(data.get("offset", "0")) + int(data.get("size", "0"))
    except ValueError as error:
        raise ConversionFailed(f"a damaged OpenVINO model: {error}", where=str(path)) from error


def _input(layer: ET.Element, named: Mapping[str, Any], path: Path) -> TensorSpec:
    data, port = layer.find("data"), layer.find("./output/port")
    name = _name(None if port is None else port.get("names"), layer, path)
    shape, kind = ("", "") if data is None else (data.get("shape", ""), data.get("element_type", ""))
    if shape == "...":
        raise _no_rank("input", name, path)
    axes = [_length(text) for text in shape.split(",")] if shape else []
    return TensorSpec(name, _dtype(DTYPES.get(kind), kind, name, path), _with_names(axes, named.get(name)))


def _output(
    layer: ET.Element,
    layers: Mapping[str, ET.Element],
    edge: ET.Element | None,
    named: Mapping[str, Any],
    path: Path,
) -> TensorSpec:
    source = None if edge is None else layers.get(edge.get("from-layer", ""))
    port = None
    if edge is not None and source is not None:
        port = next((one for one in source.iterfind("./output/port") if one.get("id") == edge.get("from-port")), None)
    # Since 2025 a result has names of its own; before, it had those of the tensor that it gives.
    name = _name(layer.get("output_names") or (None if port is None else port.get("names")), layer, path)
    mine = layer.find("./input/port")
    if mine is None:
        raise ConversionFailed(f"a damaged OpenVINO model: the output '{name}' has no port", where=str(path))
    axes = [_length(dim.text or "") for dim in mine.iterfind("dim")]
    told = named.get(name)
    if not axes and told != [] and (source is None or not _is_scalar(source)):
        raise _no_rank("output", name, path)
    kind = mine.get("precision", "")
    return TensorSpec(name, _dtype(_PRECISIONS.get(kind), kind, name, path), _with_names(axes, told))


def _is_scalar(source: ET.Element) -> bool:
    """Whether a layer certainly gives a scalar: the IR writes an unknown number of axes in the same way."""
    data = source.find("data")
    shaped = source.get("type") in ("Parameter", "Const") and data is not None
    return shaped and data is not None and data.get("shape") == ""


def _no_rank(side: str, name: str, path: Path) -> ConversionFailed:
    what = f"the {side} '{name}' of the OpenVINO model has no known number of axes, or is a scalar"
    return ConversionFailed(what, where=str(path), hint="convert it with mlconvert, or with the shapes of its inputs")


def _name(names: str | None, layer: ET.Element, path: Path) -> str:
    if not names:
        raise ConversionFailed(f"the tensor at layer '{layer.get('name')}' has no name", where=str(path))
    # A comma inside of a name is escaped; of several names OpenVINO's get_any_name() gives the first in order.
    return min(part.replace("\\,", ",") for part in re.split(r"(?<!\\),", names))


def _dtype(dtype: str | None, kind: str, name: str, path: Path) -> str:
    if dtype is None:
        raise ConversionFailed(f"'{name}' is of OpenVINO's type '{kind}', which no other format has", where=str(path))
    return dtype


def _length(text: str) -> int | None:
    return int(text) if text.strip().isdecimal() else None  # `?`, `-1`, or a range such as `1..8`


def _axes_names(root: ET.Element) -> Mapping[str, Any]:
    entry = root.find("./rt_info/mlconvert/axes")
    try:
        told = json.loads(entry.get("value", "{}")) if entry is not None else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _with_names(axes: list[int | None], told: Any) -> tuple[Axis, ...]:
    """The axes, dynamic ones with the names that were kept, where these are of the same number."""
    if not isinstance(told, list) or len(told) != len(axes):
        return tuple(axes)
    return tuple(
        name if axis is None and isinstance(name, str) else axis for axis, name in zip(axes, told, strict=True)
    )


def reason(error: Exception) -> str:
    """OpenVINO's message without the places in its own source."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '", "Summary:", "--"))]
    rules = [line.removeprefix("-- ") for line in lines if line.startswith("-- ")]
    return " ".join(rules or told)[:400] or type(error).__name__


def import_openvino() -> ModuleType:
    """The package openvino, without its telemetry.

    As it is imported it writes an identity of the user into the home folder, and it has no switch against that; it does
    without the package openvino_telemetry where that cannot be imported.
    """
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    module: ModuleType = openvino
    return module
