"""Tensors as TensorFlow Serving's REST API carries them: nested lists in JSON.

After the server's own source (tensorflow_serving/util/json_tensor.cc): it reads and writes NaN, Infinity and -Infinity
as those words, which is no JSON, and what Python's json does. It tells shapes by the lists alone. Strings of outputs
whose names end in `_bytes` are `{"b64": …}`; as inputs it takes both forms under any name. It writes floats so that
they come back exactly, and does not read them so: see `rapid_numbers`.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlconvert.errors import NotVerified, RepositoryInvalid
from mlconvert.serving.tf_serving.rapid_numbers import spelled
from mlconvert.serving.tf_serving.tensor_protos import DTYPES, text_of
from mlconvert.signature import KINDS, TensorSpec

if TYPE_CHECKING:
    import numpy as np

# TensorFlow's types that the server's JSON has; gRPC carries others as well.
REST_TYPES = frozenset(DTYPES) - {"DT_HALF", "DT_BFLOAT16", "DT_UINT16"}
REST_DTYPES = frozenset(DTYPES[name] for name in REST_TYPES)
BYTES_SUFFIX = "_bytes"
_HINT = "ask over gRPC: tfserving+grpc://HOST:PORT/NAME, port 8500 by default"


def to_json(name: str, array: np.ndarray) -> str:
    """An input as JSON. Raises NotVerified for what the server's JSON cannot carry."""
    import numpy as np

    from mlconvert.tensors.dtypes import dtype_name

    dtype = dtype_name(array.dtype) or str(array.dtype)
    check_dtype("input", name, dtype)
    if 0 in array.shape[:-1]:  # the server reads the shape off the lists, and finds none inside one that is empty
        what = f"input '{name}' of shape {list(array.shape)} cannot be sent over REST: an empty list has no inner shape"
        raise NotVerified(what, hint=_HINT)
    if dtype == "string" and name.endswith(BYTES_SUFFIX):
        return _nested(array, lambda word: json.dumps({"b64": base64.b64encode(word.encode()).decode()}))
    # What is read wrongly of a float32 is less than half a unit of it; but the largest one must not become larger.
    exactly = dtype == "float64" or (dtype == "float32" and bool((np.abs(array) == np.finfo(np.float32).max).any()))
    return _nested(array, _number) if exactly else json.dumps(array.tolist())


def _nested(array: np.ndarray, form: Callable[[Any], str]) -> str:
    return f"[{', '.join(_nested(row, form) for row in array)}]" if array.ndim else form(array.item())


def _number(value: float) -> str:
    return spelled(value) if math.isfinite(value) else json.dumps(value)


def check_dtype(side: str, name: str, dtype: str) -> None:
    """Raise NotVerified for a dtype that the server's JSON does not have."""
    if dtype not in REST_DTYPES:
        raise NotVerified(f"{side} '{name}' is {dtype}, which TensorFlow Serving's REST API cannot carry", hint=_HINT)


def from_json(spec: TensorSpec, value: Any) -> np.ndarray:
    """The array of an output. Raises RepositoryInvalid where the answer is none, NotVerified where none can be told."""
    import numpy as np

    from mlconvert.tensors.dtypes import numpy_dtype

    check_dtype("output", spec.name, spec.dtype)
    try:
        if spec.dtype == "string":
            value = _texts(value)
        found = _wide(value) if spec.dtype == "uint64" else np.asarray(value)
    except (ValueError, OverflowError, TypeError) as error:
        raise RepositoryInvalid(f"the server's output '{spec.name}' is no tensor: {error}") from error
    if found.size == 0:
        return np.empty(_empty_shape(spec, found.shape), numpy_dtype(spec.dtype))
    kind = KINDS[spec.dtype]
    if found.dtype.kind not in {"bool": "b", "integer": "iu", "float": "fiu", "string": "U"}[kind]:
        raise RepositoryInvalid(f"the server's output '{spec.name}' is no tensor of {spec.dtype}")
    with np.errstate(over="ignore"):
        cast: np.ndarray = found if kind == "string" else found.astype(numpy_dtype(spec.dtype))
    if kind == "integer" and not (cast == found).all():
        raise RepositoryInvalid(f"the server's output '{spec.name}' holds numbers that are no {spec.dtype}")
    if cast.ndim != len(spec.shape):
        what = f"the server's output '{spec.name}' has {cast.ndim} axes, and by its own word {len(spec.shape)}"
        raise RepositoryInvalid(what)
    return cast


def _wide(value: Any) -> np.ndarray:
    """Numbers up to 2**64, which numpy would make doubles of where some are small."""
    import numpy as np

    found = np.asarray(value, dtype=object)
    if not all(type(one) is int for one in found.reshape(-1)):
        raise TypeError("not all of it are whole numbers")
    return found.astype(np.uint64)


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(one) for one in value]
    if isinstance(value, dict) and set(value) == {"b64"}:
        try:
            return text_of(base64.b64decode(value["b64"], validate=True))
        except (binascii.Error, TypeError) as error:
            raise ValueError("what is marked as base64 is none") from error
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no string")
    return text_of(value.encode("utf-8", errors="surrogateescape"))


def _empty_shape(spec: TensorSpec, told: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an output without any value: what the lists leave open, the signature tells."""
    rest = spec.shape[len(told) :]
    if len(told) > len(spec.shape) or not all(isinstance(length, int) for length in rest):
        raise NotVerified(f"the answer over REST does not tell the shape of the empty output '{spec.name}'", hint=_HINT)
    return (*told, *(length for length in rest if isinstance(length, int)))
