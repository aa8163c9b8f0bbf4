"""Samples made up from a signature, for models whose inputs are just numbers."""

from __future__ import annotations

import math

import numpy as np

from mlconvert.errors import NotVerified, UsageError
from mlconvert.signature import KINDS, Axis, Signature, TensorSpec
from mlconvert.tensors.dtypes import numpy_dtype

LENGTH = 8  # of a dynamic axis other than the batch
IDS = 100  # integers are below this: ids of any vocabulary, small classes, counts


def generate_samples(signature: Signature, *, count: int = 256, seed: int = 0) -> dict[str, np.ndarray]:
    """`count` random rows for every input, the same ones for the same seed.

    Floats are standard normal; integers are 0 … 99, so that they are in every vocabulary (uint8, an image as a rule,
    0 … 255; `token_type` and `segment` ids 0 or 1; `position` ids count up); booleans are tossed. Inputs with `mask`
    in their names are 1 for a random length that is never 0, then 0: frameworks differ on rows that are masked whole.
    Dynamic axes are 8 long (a matrix with known columns: as many), the same for the same name; the first one, if
    dynamic, has `count` rows. A first axis that is fixed at k gets the next multiple of k; where the inputs disagree
    on k, such inputs get one more axis in front: one call per sample. Random rows do not find what happens at the
    thresholds of trees.

    Raises NotVerified for inputs of text, of which no row can be guessed, and where the batch is not the first axis.
    """
    if count < 1:
        raise UsageError(f"count={count} is not valid: expected at least 1 row")
    if not signature.inputs:
        raise NotVerified("the model's signature has no inputs: no samples can be made up", hint="give --samples FILE")
    _check_inputs(signature)
    fixed = {spec.shape[0] for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], int)}
    rows = count
    if len(fixed) == 1 and all(spec.shape for spec in signature.inputs):
        step = max(1, int(next(iter(fixed)) or 1))
        rows = math.ceil(count / step) * step
    samples = {}
    for index, spec in enumerate(signature.inputs):
        # A stream of its own for each input: another input changes nothing for the rest.
        rng = np.random.default_rng([seed, index])
        tail = tuple(_length(spec, axis) for axis in spec.shape[1:])
        if not spec.shape or (isinstance(spec.shape[0], int) and len(fixed) > 1):
            tail = tuple(_length(spec, axis) for axis in spec.shape)
        samples[spec.name] = _values(spec, (rows, *tail), rng)
    return samples


def _check_inputs(signature: Signature) -> None:
    firsts = {spec.shape[0] for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], str)}
    for spec in signature.inputs:
        if spec.dtype == "string":
            what = f"the input {spec} is text, of which no samples can be made up"
            raise NotVerified(what, hint="give --samples FILE with rows such as the model was trained on")
        for axis in spec.shape[1:]:
            if isinstance(axis, str) and axis in firsts:
                what = f"the axis '{axis}' of the input {spec} is the first one elsewhere: rows cannot be told apart"
                raise NotVerified(what, hint="give --samples FILE")


def _length(spec: TensorSpec, axis: Axis) -> int:
    if isinstance(axis, int):
        return axis
    return len(spec.columns) if spec.columns else LENGTH


def _values(spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    name, kind = spec.name.lower(), KINDS[spec.dtype]
    dtype = numpy_dtype(spec.dtype)
    if "mask" in name:
        length = shape[-1] if len(shape) > 1 else 1
        ends = rng.integers(1, length + 1, size=(*shape[:-1], 1)) if len(shape) > 1 else np.ones(shape, np.int64)
        return np.broadcast_to(np.arange(length) < ends if len(shape) > 1 else ends > 0, shape).astype(dtype)
    if kind == "float":
        return rng.standard_normal(shape).astype(dtype)
    if kind == "bool":
        return rng.integers(0, 2, shape).astype(dtype)
    if "position" in name and len(shape) > 1:
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(dtype)
    high = 256 if spec.dtype == "uint8" else IDS
    if "token_type" in name or "segment" in name:
        high = 2
    return rng.integers(0, high, shape).astype(dtype)
