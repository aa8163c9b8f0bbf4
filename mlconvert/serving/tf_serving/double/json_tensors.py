"""JSON of REST to tensors, with the real server's rules (json_tensor.cc).

`instances` are rows, `inputs` columns. Numbers must be of the input's kind: `1.0` is no integer, `true` no number. A
string may come as `{"b64": …}`. NaN, Infinity and -Infinity are tokens that are read, beyond the standard. float16 and
bfloat16 have no JSON, and are refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlconvert.serving.tf_serving.double.status import Refused, invalid
from mlconvert.serving.tf_serving.double.tensors import short_name
from mlconvert.serving.tf_serving.messages import message, type_name
from mlconvert.serving.tf_serving.rapid_numbers import read_number

_INTEGERS = {
    "DT_INT32": (32, "int_val"), "DT_INT16": (32, "int_val"), "DT_INT8": (32, "int_val"), "DT_UINT8": (32, "int_val"),
    "DT_INT64": (64, "int64_val"), "DT_UINT32": (-32, "uint32_val"), "DT_UINT64": (-64, "uint64_val"),
}  # fmt: skip
# the largest value, the binary digits, the field
_FLOATS = {
    "DT_FLOAT": (float(np.finfo(np.float32).max), 24, "float_val"),
    "DT_DOUBLE": (float(np.finfo(np.float64).max), 53, "double_val"),
}


def parse(body: bytes) -> dict[str, Any]:
    """The object of a request. Raises Refused."""
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        found = json.loads(body, parse_float=read_number)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: {error.msg} at offset: {error.pos}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(found, dict):
        raise invalid(f"JSON Value: {_shown(found)} Is not object")
    return found


def signature_name(request: Mapping[str, Any]) -> str:
    name = request.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_shown(request)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return name


def read(request: Mapping[str, Any], infos: Mapping[str, Any], signature: str) -> tuple[dict[str, Any], bool]:
    """The TensorProto of each input, and whether the request is of rows. `infos`: name -> TensorInfo."""
    if not infos:
        raise invalid(f"Failed to get input map for signature: {signature or 'DEFAULT'}")
    if "instances" in request and "inputs" in request:
        raise invalid(
            f"JSON Value: {_shown(request)} Not formatted correctly expecting only one of 'inputs' or 'instances' "
            "keys to exist "
        )
    if "instances" in request:
        rows = request["instances"]
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {_shown(request)} Excepting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {_shown(request)} No values in 'instances' array")
        return _from_rows(rows, infos), True
    if "inputs" in request:
        return _from_columns(request["inputs"], infos), False
    raise invalid("Missing 'inputs' or 'instances' key")


def _from_rows(rows: list[Any], infos: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_object(rows[0])
    found: dict[str, Any] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    only = min(infos)
    for place, row in enumerate(rows):
        if named and not _is_object(row):
            raise invalid(f"Expecting object but got list at item {place} of input list")
        if not named and _is_object(row):
            raise invalid(f"Expecting value/list but got object at item {place} of input list")
        items = row if named else {only: row}
        for name, item in items.items():
            try:
                _add_row(item, name, infos, shapes, found)
            except Refused as error:
                key = f" key: {name}" if named else ""
                raise invalid(f"Failed to process element: {place}{key} of 'instances' list. Error: {error}") from error
        if named and set(items) != set(infos):
            raise invalid(
                f"Failed to process element: {place} of 'instances' list. JSON object: {_shown(row)} keys must be "
                f"equal to: {','.join(sorted(infos))}"
            )
    for name, tensor in found.items():
        tensor.dtype = infos[name].dtype
        _set_shape(tensor, (len(rows), *shapes[name]))
    return found


def _add_row(
    item: Any, name: str, infos: Mapping[str, Any], shapes: dict[str, tuple[int, ...]], found: dict[str, Any]
) -> None:
    if name not in infos:
        raise invalid(f"JSON object: does not have named input: {name}")
    shape = _shape_of(item)
    _fill(item, 0, infos[name].dtype, shape, found.setdefault(name, message("TensorProto")()))
    if shapes.setdefault(name, shape) != shape:
        wanted = shapes[name]
        if np.prod(wanted) != np.prod(shape):
            raise invalid(f"Expecting tensor size: {int(np.prod(wanted))} but got: {int(np.prod(shape))}")
        raise invalid(f"Expecting shape {_listed(wanted)} but got: {_listed(shape)}")


def _from_columns(value: Any, infos: Mapping[str, Any]) -> dict[str, Any]:
    if not _is_object(value):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
                "tensorinfo_map"
            )
        value = {next(iter(infos)): value}
    found = {}
    for name in sorted(infos):
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
        shape = _shape_of(value[name])
        tensor = found[name] = message("TensorProto")(dtype=infos[name].dtype)
        _fill(value[name], 0, tensor.dtype, shape, tensor)
        _set_shape(tensor, shape)
    return found


def _shape_of(value: Any) -> tuple[int, ...]:
    """By the first element of each level."""
    if not isinstance(value, list):
        return ()
    return (len(value), *(_shape_of(value[0]) if value else ()))


def _fill(value: Any, level: int, data_type: int, shape: tuple[int, ...], tensor: Any) -> None:
    if isinstance(value, list):
        if level >= len(shape):
            raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
        if len(value) != shape[level]:
            raise invalid(
                f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
            )
        for one in value:
            _fill(one, level + 1, data_type, shape, tensor)
        return
    if level != len(shape):
        raise invalid(
            f"JSON Value: {_shown(value)} found at incorrect level: {level + 1} in the JSON DOM. "
            f"Expected at level: {len(shape)}"
        )
    _add(value, data_type, tensor)


def _add(value: Any, data_type: int, tensor: Any) -> None:
    name = type_name(data_type)
    wrong = invalid(
        f"JSON Value: {_shown(value)} Type: {_kind(value)} is not of expected type: {short_name(data_type)}"
    )
    if isinstance(value, dict) and name != "DT_STRING":
        raise wrong
    if name in _FLOATS:
        _add_float(value, name, tensor, wrong)
    elif name in _INTEGERS:
        bits, field = _INTEGERS[name]
        low, high = (0, 2**-bits) if bits < 0 else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        if type(value) is not int or not low <= value < high:
            raise wrong
        getattr(tensor, field).append(value)
    elif name == "DT_BOOL":
        if not isinstance(value, bool):
            raise wrong
        tensor.bool_val.append(value)
    elif name == "DT_STRING":
        if not isinstance(value, (str, dict)):
            raise wrong
        tensor.string_val.append(_decoded(value) if isinstance(value, dict) else value.encode())
    else:
        raise Refused("UNIMPLEMENTED", f"Conversion of JSON Value: {_shown(value)} to type: {short_name(data_type)}")


def _add_float(value: Any, name: str, tensor: Any, wrong: Refused) -> None:
    most, digits, field = _FLOATS[name]
    if type(value) not in (int, float):
        raise wrong
    most = 2**digits - 1 if type(value) is int else most
    if math.isfinite(value) and abs(value) > most:
        raise invalid(
            f"Cannot convert JSON value: {_shown(value)} to {short_name(1 if name == 'DT_FLOAT' else 2)} without loss "
            "of precision."
        )
    getattr(tensor, field).append(value)


def _decoded(value: dict[str, Any]) -> bytes:
    if _is_object(value):
        raise invalid(f"JSON Value: {_shown(value)} not formatted correctly for base64 data")
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("Unable to base64 decode") from error


def _is_object(value: Any) -> bool:
    """An object that is not a base64 value."""
    return isinstance(value, dict) and not (list(value) == ["b64"] and isinstance(value["b64"], str))


def _set_shape(tensor: Any, shape: Sequence[int]) -> None:
    tensor.tensor_shape.SetInParent()
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return str(value)
    kinds = {type(None): "Null", dict: "Object", list: "Array", str: "String"}
    return kinds.get(type(value), "Number")


def _shown(value: Any) -> str:
    return json.dumps(value)


def _listed(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"
