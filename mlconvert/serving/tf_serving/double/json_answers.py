"""A model's answers as the JSON of REST, written as the real server writes it (json_tensor.cc).

NaN, Infinity and -Infinity are tokens, beyond the standard; strings of outputs whose names end in `_bytes` are base64.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlconvert.serving.tf_serving.double.status import invalid


def write(outputs: Mapping[str, np.ndarray], *, rows: bool) -> str:
    """The JSON of a model's answers. Raises Refused for what the server cannot write."""
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    texts = {name: _texts(name, np.asarray(array)) for name, array in sorted(outputs.items())}
    if not rows:
        columns = {name: _nested(list(texts[name]), np.shape(outputs[name])) for name in texts}
        return f'{{"outputs": {_joined(columns)}}}'
    count = -1
    for name in texts:
        shape = np.shape(outputs[name])
        if not shape:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if count not in (-1, shape[0]):
            raise invalid(f"Tensor name: {name} has inconsistent batch size: {shape[0]} expecting: {count}")
        count = shape[0]
    listed = []
    for row in range(count):
        cells = {}
        for name, values in texts.items():
            shape = np.shape(outputs[name])[1:]
            size = int(np.prod(shape))
            cells[name] = _nested(values[row * size : (row + 1) * size], shape)
        listed.append(_joined(cells))
    return f'{{"predictions": [{", ".join(listed)}]}}'


def _joined(cells: Mapping[str, str]) -> str:
    if len(cells) == 1:
        return next(iter(cells.values()))
    return "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in cells.items()) + "}"


def _nested(values: list[str], shape: Sequence[int]) -> str:
    if not shape:
        return values[0]
    step = int(np.prod(shape[1:]))
    inner = [_nested(values[place * step : (place + 1) * step], shape[1:]) for place in range(shape[0])]
    return f"[{', '.join(inner)}]"


def _texts(name: str, array: np.ndarray) -> list[str]:
    flat = array.reshape(-1)
    kind = flat.dtype.kind
    if flat.dtype in (np.float32, np.float64):
        return [_decimal(value, 9 if flat.dtype == np.float32 else 17) for value in flat]
    if kind in "iu" and flat.dtype != np.uint16:
        return [str(value) for value in flat.tolist()]
    if kind == "b":
        return ["true" if value else "false" for value in flat]
    if kind in "OS":
        return [_string(value, as_bytes=name.endswith("_bytes")) for value in flat]
    raise invalid(f"Failed to write JSON value for tensor type: {_type_of(flat.dtype)}")


def _decimal(value: Any, digits: int) -> str:
    """The shortest of six digits where that reads back as the value, all digits else; a point in whole numbers."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = f"{float(value):.6g}"
    if type(value)(text) != value:
        text = f"{float(value):.{digits}g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _string(value: Any, *, as_bytes: bool) -> str:
    raw = value if isinstance(value, bytes) else str(value).encode()
    if as_bytes:
        return json.dumps({"b64": base64.b64encode(raw).decode()})
    # The server writes the bytes as they are; what is no UTF-8 is then no JSON.
    return json.dumps(raw.decode("utf-8", errors="surrogateescape"), ensure_ascii=False)


def _type_of(dtype: Any) -> str:
    return "half" if dtype == np.float16 else str(dtype.name)
