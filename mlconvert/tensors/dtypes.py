"""Dtypes by the names that signatures use, and casts that refuse to change a value into another."""

from __future__ import annotations

import numpy as np

from mlconvert.errors import MlconvertError
from mlconvert.signature import KINDS


def dtype_name(dtype: np.dtype) -> str | None:
    """The signature's name of a numpy dtype, `string` for `<U…`; None when it is not one that models exchange."""
    if dtype.kind == "U":
        return "string"
    # bfloat16 is not numpy's own (ml_dtypes registers it), but has its name there.
    return dtype.name if dtype.name in KINDS else None


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype of a signature's dtype. `string` gives `<U`, which takes the width of what is cast to it."""
    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return np.dtype(np.str_ if name == "string" else name)


def kind_of(dtype: np.dtype) -> str:
    """`bool`, `integer`, `float` or `string`; for any other dtype its own name."""
    name = dtype_name(dtype)
    return dtype.name if name is None else KINDS[name]


def described(array: np.ndarray) -> str:
    """`float32[16, 4]`, as TensorSpec prints it."""
    name = dtype_name(array.dtype) or str(array.dtype)
    return f"{name}[{', '.join(str(length) for length in array.shape)}]"


def cast(array: np.ndarray, to: str, *, what: str, error: type[MlconvertError]) -> np.ndarray:
    """The array in the dtype `to`, the same object when it has it already.

    A float may lose precision (that is what a narrower contract does), but a finite value must stay finite; integers
    and booleans must keep their value. Otherwise `error` is raised: it begins with `what` and gives the first value
    that does not fit. NaN fits no integer; strings fit nothing but strings.
    """
    have = dtype_name(array.dtype)
    if have == to:
        return array
    if have is None or "string" in (have, to):
        raise error(f"{what}: expected {to}, got {have or array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(numpy_dtype(to))
        bad = np.isinf(result) if KINDS[to] == "float" else result.astype(array.dtype) != array
    if KINDS[to] == "float" and KINDS[have] == "float":
        bad &= ~np.isinf(array)
    elif KINDS[to] == KINDS[have] == "integer":
        bad |= (result < 0) != (array < 0)  # uint64 to int64 wraps round and comes back the same
    if bad.any():
        index = np.unravel_index(int(bad.argmax()), bad.shape)
        at = f" (row {int(index[0])})" if index else ""
        raise error(f"{what}: the value {array[index]}{at} of {have} does not fit {to}")
    return result
