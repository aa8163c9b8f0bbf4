"""A stand-in for `triton_python_backend_utils`, the module that Triton's python backend gives to a model.py.

It holds what a generated model.py uses, and is as strict: a tensor's dtype must be one that the server has, and text
goes as bytes. Other members of the real module are missing here, and using one is an AttributeError that names it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

NAME = "triton_python_backend_utils"

NUMPY_TYPES: Mapping[str, str] = {
    "TYPE_BOOL": "bool",
    "TYPE_UINT8": "uint8",
    "TYPE_UINT16": "uint16",
    "TYPE_UINT32": "uint32",
    "TYPE_UINT64": "uint64",
    "TYPE_INT8": "int8",
    "TYPE_INT16": "int16",
    "TYPE_INT32": "int32",
    "TYPE_INT64": "int64",
    "TYPE_FP16": "float16",
    "TYPE_FP32": "float32",
    "TYPE_FP64": "float64",
    "TYPE_STRING": "object",
}
TRITON_TYPES: Mapping[str, str] = {dtype: name for name, dtype in NUMPY_TYPES.items()}


class TritonModelException(Exception):
    pass


class TritonError:
    def __init__(self, message: str = "", code: int = 0) -> None:
        self._message, self._code = message, code

    def message(self) -> str:
        return self._message

    def code(self) -> int:
        return self._code


class Tensor:
    """A named array. Raises TritonModelException for a dtype that the server does not have."""

    def __init__(self, name: str, values: np.ndarray) -> None:
        if values.dtype.name not in TRITON_TYPES:
            raise TritonModelException(f"Unsupported numpy dtype {values.dtype} of the tensor '{name}'")
        self._name, self._values = name, values

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._values

    def triton_dtype(self) -> str:
        return TRITON_TYPES[self._values.dtype.name]


class InferenceRequest:
    def __init__(self, inputs: Sequence[Tensor], requested_output_names: Sequence[str]) -> None:
        self._inputs, self._requested = list(inputs), set(requested_output_names)

    def inputs(self) -> list[Tensor]:
        return self._inputs

    def requested_output_names(self) -> set[str]:
        return self._requested


class InferenceResponse:
    def __init__(self, output_tensors: Sequence[Tensor] = (), error: TritonError | None = None) -> None:
        self._outputs, self._error = list(output_tensors), error

    def output_tensors(self) -> list[Tensor]:
        return self._outputs

    def has_error(self) -> bool:
        return self._error is not None

    def error(self) -> TritonError | None:
        return self._error


def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor | None:
    return next((tensor for tensor in request.inputs() if tensor.name() == name), None)


def triton_string_to_numpy(name: str) -> Any:
    import numpy as np

    return np.dtype(NUMPY_TYPES[name]).type


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """While this holds, a model.py finds the stand-in under the real module's name."""
    module = ModuleType(NAME)
    for member in (
        InferenceRequest, InferenceResponse, Tensor, TritonError, TritonModelException, get_input_tensor_by_name,
        triton_string_to_numpy,
    ):  # fmt: skip
        setattr(module, member.__name__, member)
    before = sys.modules.get(NAME)
    sys.modules[NAME] = module
    try:
        yield
    finally:
        del sys.modules[NAME]
        if before is not None:
            sys.modules[NAME] = before
