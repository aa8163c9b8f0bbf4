"""Samples: the rows that models are compared on. Checked against a model's signature, and told apart from it clearly.

Files are read by `mlconvert.samples.files`, made up by `mlconvert.samples.generation`; both are reached from here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mlconvert.errors import UsageError, suggest
from mlconvert.samples.files import read_samples
from mlconvert.samples.generation import generate_samples
from mlconvert.samples.writing import write_samples
from mlconvert.signature import KINDS, Axis, Signature, TensorSpec
from mlconvert.tensors.dtypes import cast, described, dtype_name, kind_of

__all__ = ["check_samples", "generate_samples", "read_samples", "write_samples"]


def check_samples(samples: Mapping[str, np.ndarray], signature: Signature | None) -> dict[str, np.ndarray]:
    """The samples in the order and the dtypes of the signature's inputs (as they are when it is None).

    Widened: integers and booleans for floats, booleans for integers, 0 and 1 for booleans; narrowed: widths of one
    kind, as long as the values fit. An input without a batch axis takes one more axis, in front: one call per sample.
    Raises UsageError, naming the input, what was expected and what came: inputs missing or extra, another kind of
    dtype, another rank or fixed length, zero rows, different numbers of rows, axes of one name with different
    lengths.
    """
    if not samples:
        raise UsageError("the samples hold no inputs at all")
    checked = dict(samples) if signature is None else _matched(samples, signature.inputs)
    for name, array in checked.items():
        if dtype_name(array.dtype) is None:
            raise UsageError(f"input '{name}' has the dtype {array.dtype}, which no model takes")
        if array.ndim == 0:
            raise UsageError(f"input '{name}' is a single value: samples have an axis for the rows in front")
        if len(array) == 0:
            raise UsageError(f"input '{name}' has zero rows: nothing could be compared", hint="give at least one row")
    rows = {name: len(array) for name, array in checked.items()}
    if len(set(rows.values())) > 1:
        listed = ", ".join(f"'{name}' {count}" for name, count in rows.items())
        raise UsageError(f"the inputs have different numbers of rows: {listed}")
    return checked


def _matched(samples: Mapping[str, np.ndarray], inputs: tuple[TensorSpec, ...]) -> dict[str, np.ndarray]:
    names = [spec.name for spec in inputs]
    takes = "the model takes: " + "; ".join(str(spec) for spec in inputs)
    extras = [name for name in samples if name not in names]
    for spec in inputs:
        if spec.name not in samples:
            raise UsageError(
                f"the samples lack the input '{spec.name}' ({spec}).{suggest(spec.name, extras)}", hint=takes
            )
    if extras:
        raise UsageError(_extra(extras, names), hint=f"{takes}. A column of labels must be left out of the samples")
    checked = {}
    lengths: dict[str, tuple[int, str]] = {}
    for spec in inputs:
        array = samples[spec.name]
        _check_kind(spec, array)
        shape = _check_shape(spec, array)
        for axis, length in zip(spec.shape[1:], shape[1:], strict=True):
            if isinstance(axis, str):
                before, where = lengths.setdefault(axis, (length, spec.name))
                if before != length:
                    what = f"the axis '{axis}' is {before} long in the input '{where}' and {length} in '{spec.name}'"
                    raise UsageError(what, hint=takes)
        checked[spec.name] = cast(array, spec.dtype, what=f"input '{spec.name}'", error=UsageError)
    return checked


def _extra(extras: list[str], names: Iterable[str]) -> str:
    if len(extras) == 1:
        return f"the samples have '{extras[0]}', which the model does not take.{suggest(extras[0], names)}"
    listed = ", ".join(f"'{name}'" for name in extras)
    return f"the samples have {listed}, which the model does not take"


def _check_kind(spec: TensorSpec, array: np.ndarray) -> None:
    have, want = kind_of(array.dtype), KINDS[spec.dtype]
    allowed = {"float": ("float", "integer", "bool"), "integer": ("integer", "bool"), "bool": ("bool", "integer")}
    if have not in allowed.get(want, (want,)):
        hint = f"save it as {spec.dtype}" if want != "string" else "save it as text (numpy's <U…)"
        raise UsageError(f"input '{spec.name}': expected {spec.dtype}, got {described(array)}", hint=hint)


def _check_shape(spec: TensorSpec, array: np.ndarray) -> tuple[int, ...]:
    """The shape of what one call takes (with any number of rows); UsageError when it is not the model's."""
    if array.ndim == len(spec.shape) + 1 and not has_batch_axis(spec):
        shape, axes = array.shape[1:], spec.shape
    else:
        shape, axes = array.shape, (None, *spec.shape[1:])
    if len(shape) != len(axes) or not all(_fits(axis, length) for axis, length in zip(axes, shape, strict=True)):
        hint = None
        if len(shape) == 1 and len(axes) == 2 and axes[1] in (1, None):
            hint = "give it a second axis: x.reshape(-1, 1)"
        raise UsageError(f"input '{spec.name}': expected {spec}, got {described(array)}", hint=hint)
    return shape


def has_batch_axis(spec: TensorSpec) -> bool:
    """Whether the first axis is one of rows beyond doubt: dynamic, and called `batch` or nothing."""
    return bool(spec.shape) and (spec.shape[0] is None or spec.shape[0] == "batch")


def _fits(axis: Axis, length: int) -> bool:
    return not isinstance(axis, int) or axis == length
