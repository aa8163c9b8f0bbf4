"""Optimisation profiles: the least, the usual and the largest shape of each input that an engine is built for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlconvert.errors import UsageError, suggest
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

ROWS = 256
"""Rows that a profile made of samples goes up to: as many as samples are run with at once."""

POINTS = ("min", "opt", "max")
_SHAPE = re.compile(r"\d+(?:x\d+)*")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Range:
    """The shapes of one input in one profile."""

    min: Shape
    opt: Shape
    max: Shape

    def as_json(self) -> dict[str, list[int]]:
        return {point: list(getattr(self, point)) for point in POINTS}

    def covers(self, shape: Shape) -> bool:
        return len(shape) == len(self.min) and all(
            low <= length <= high for low, length, high in zip(self.min, shape, self.max, strict=True)
        )


Profile = Mapping[str, Range]


def profiles_for(
    signature: Signature, given: Mapping[str, tuple[str, ...]] | None, samples: Mapping[str, np.ndarray]
) -> tuple[Profile, ...]:
    """The profiles of a build: those of the option, or one made of the samples; none where every axis is fixed.

    Raises UsageError for an option that is not one, that leaves a dynamic input out, contradicts the model or the
    samples, and where there is neither option nor sample.
    """
    if given:
        profiles = _given(signature, given)
        if samples:
            _check_samples(signature, profiles, samples)
        return profiles
    dynamic = [spec for spec in signature.inputs if is_dynamic(spec)]
    if not dynamic:
        return ()
    if not samples:
        what = f"the input {dynamic[0]} has axes of any length, and TensorRT builds an engine for known ones"
        raise UsageError(what, hint=f"give --samples FILE, or --set tensorrt.profiles='{_example(dynamic)}'")
    return (_from_samples(dynamic, samples),)


def is_dynamic(spec: TensorSpec) -> bool:
    return any(not isinstance(axis, int) for axis in spec.shape)


def _example(dynamic: list[TensorSpec]) -> str:
    def shape(spec: TensorSpec, rows: int) -> str:
        lengths = [axis if isinstance(axis, int) else rows if place == 0 else 16 for place, axis in
                   enumerate(spec.shape)]  # fmt: skip
        return "x".join(map(str, lengths))

    return ";".join(f"{spec.name}={shape(spec, 1)},{shape(spec, 8)},{shape(spec, 32)}" for spec in dynamic)


# --- the option ---


def _given(signature: Signature, given: Mapping[str, tuple[str, ...]]) -> tuple[Profile, ...]:
    inputs = {spec.name: spec for spec in signature.inputs}
    for name in given:
        if name not in inputs:
            what = f"option profiles: the model has no input '{name}'.{suggest(name, inputs)}"
            raise UsageError(what, hint=f"its inputs: {', '.join(map(str, signature.inputs))}")
    for spec in signature.inputs:
        if is_dynamic(spec) and spec.name not in given:
            what = f"option profiles leaves out the input {spec}, which has axes of any length"
            raise UsageError(what, hint=f"add ;{_example([spec])}")
    counts = {name: len(shapes) for name, shapes in given.items()}
    for name, count in counts.items():
        if not count or count % 3:
            what = f"option profiles gives '{name}' {count} shapes: a profile has three, min, opt and max"
            raise UsageError(what, hint=f"for example {_example([inputs[name]])}")
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"'{name}' {count // 3}" for name, count in counts.items())
        raise UsageError(f"option profiles: every input needs as many profiles as the others: {listed}")
    return tuple(
        {
            name: _range(inputs[name], [_shape(inputs[name], text) for text in shapes[number : number + 3]])
            for name, shapes in given.items()
        }
        for number in range(0, max(counts.values(), default=0), 3)
    )


def _shape(spec: TensorSpec, text: str) -> Shape:
    if not _SHAPE.fullmatch(text):
        raise UsageError(f"option profiles: '{text}' is no shape", hint=f"for example {_example([spec])}")
    shape = tuple(int(length) for length in text.split("x"))
    if len(shape) != len(spec.shape):
        what = f"option profiles: {text} has {len(shape)} axes, and the input is {spec}"
        raise UsageError(what, hint=f"for example {_example([spec])}")
    if 0 in shape:
        raise UsageError(f"option profiles: {text} of '{spec.name}' holds nothing: a length is 1 or more")
    for axis, length in zip(spec.shape, shape, strict=True):
        if isinstance(axis, int) and axis != length:
            what = f"option profiles: {text} contradicts the input {spec}: {axis} is fixed"
            raise UsageError(what, hint=f"for example {_example([spec])}")
    return shape


def _range(spec: TensorSpec, shapes: list[Shape]) -> Range:
    for lengths in zip(*shapes, strict=True):
        if sorted(lengths) != list(lengths):
            low, usual, high = lengths
            what = f"option profiles: '{spec.name}' has an axis of min {low}, opt {usual}, max {high}"
            raise UsageError(what, hint="give them so that min <= opt <= max holds on every axis")
    return Range(*shapes)


# --- the samples ---


def _lengths(spec: TensorSpec, array: np.ndarray) -> tuple[Shape, bool]:
    """The shape of a call with all rows, and whether its first axis is one of rows, of which a call may take fewer."""
    from mlconvert.samples import has_batch_axis

    if array.ndim == len(spec.shape) + 1 and not has_batch_axis(spec):  # a sample a call
        return array.shape[1:], False
    return array.shape, bool(spec.shape) and not isinstance(spec.shape[0], int)


def _from_samples(dynamic: list[TensorSpec], samples: Mapping[str, np.ndarray]) -> Profile:
    profile = {}
    for spec in dynamic:
        if spec.name not in samples:
            raise UsageError(f"the samples lack the input {spec}, so that no profile can be made of them",
                             hint=f"add it, or give --set tensorrt.profiles='{_example(dynamic)}'")  # fmt: skip
        shape, rows = _lengths(spec, samples[spec.name])
        most = (min(shape[0], ROWS), *shape[1:]) if rows else shape
        profile[spec.name] = Range((1, *most[1:]) if rows else most, most, most)
    return profile


def _check_samples(signature: Signature, profiles: tuple[Profile, ...], samples: Mapping[str, np.ndarray]) -> None:
    """Raise UsageError unless one of the profiles takes all of the samples, some rows at a time."""
    problems = []
    for number, profile in enumerate(profiles):
        problem = None
        for spec in signature.inputs:
            if spec.name in profile and spec.name in samples and problem is None:
                problem = _outside(spec, profile[spec.name], samples[spec.name])
        if problem is None:
            return
        problems.append(f"profile {number}: {problem}")
    what = f"option profiles contradicts the samples: {'; '.join(problems)}"
    raise UsageError(what, hint="widen a profile, or give samples of the shapes that the model will be asked for")


def _outside(spec: TensorSpec, bounds: Range, array: np.ndarray) -> str | None:
    from mlconvert.samples import has_batch_axis

    shape, _ = _lengths(spec, array)
    for place, (low, length, high) in enumerate(zip(bounds.min, shape, bounds.max, strict=True)):
        fewer = place == 0 and has_batch_axis(spec)  # the rest of the rows go into other calls
        if length < low or (length > high and not fewer):
            return f"axis {place} of '{spec.name}' goes from {low} to {high}, and is {length} long in the samples"
    return None
