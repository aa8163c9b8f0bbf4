"""Which axes of a model's inputs are dynamic, what they are called, and what that makes of its outputs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.signature import Axis

if TYPE_CHECKING:
    import numpy as np

BATCH = "batch"
ROWS = 2  # rows of an example: torch.export takes an axis of length 1 for a constant
AXIS_NAME = re.compile(r"[A-Za-z]\w*|_\w+")
SYMBOL = re.compile(r"[A-Za-z_]\w*")

Axes = Mapping[str, tuple[Axis, ...]]
"""For each tensor its axes: a name where an axis is dynamic, a length where it is fixed (never None in inputs)."""


def plan_axes(
    shapes: Mapping[str, tuple[int, ...]], dynamic: Mapping[str, Sequence[str]] | None, *, static: bool
) -> dict[str, tuple[Axis, ...]]:
    """The axes of each input, from the shapes of the samples and the option `dynamic`.

    Without the option the first axis is `batch` and the others are as long as the samples'. In it an axis is a name,
    or `_` or a length for a fixed one; a fixed first axis holds one row, or as many as the length says.
    Raises UsageError where the option does not fit the samples.
    """
    dynamic = dict(dynamic or {})
    if static and dynamic:
        raise UsageError("the options 'static' and 'dynamic' contradict each other", hint="leave one of them out")
    for name in dynamic:
        if name not in shapes:
            what = f"option dynamic: the model has no input '{name}'.{suggest(name, shapes)}"
            raise UsageError(what, hint=f"inputs in the samples: {', '.join(shapes)}")
    axes = {}
    for name, shape in shapes.items():
        if not shape or not all(shape):
            raise UsageError(f"the samples of '{name}' have the shape {list(shape)}: there is nothing in them")
        default = (BATCH,) + ("_",) * (len(shape) - 1)
        asked = tuple(dynamic.get(name, ("_",) * len(shape) if static else default))
        if len(asked) != len(shape):
            what = f"option dynamic gives '{name}' {len(asked)} axes, and its samples have {len(shape)}"
            raise UsageError(what, hint=f"{name}={','.join(default)}")
        axes[name] = tuple(_axis(name, n, axis, shape[n]) for n, axis in enumerate(asked))
    return axes


def _axis(name: str, number: int, asked: str, length: int) -> Axis:
    if asked == "_":
        return length if number else 1
    if asked.isdecimal():
        if int(asked) < 1 or (number and int(asked) != length):
            what = f"option dynamic fixes axis {number} of '{name}' at {asked}, and the samples have {length}"
            raise UsageError(what, hint="give samples of that length")
        return int(asked)
    if not AXIS_NAME.fullmatch(asked):
        raise UsageError(f"option dynamic: '{asked}' is no name for an axis", hint="a name, a length, or _ for fixed")
    if number and length < ROWS:
        what = f"axis '{asked}' of '{name}' has the length {length} in the samples, too short to be taken for dynamic"
        raise UsageError(what, hint=f"give samples in which it is {ROWS} or longer")
    return asked


def example_inputs(samples: Mapping[str, np.ndarray], axes: Axes) -> dict[str, np.ndarray]:
    """The first rows of the samples, as many as each input's first axis wants; a few rows are repeated."""
    import numpy as np

    examples = {}
    for name, (first, *_) in axes.items():
        rows = first if isinstance(first, int) else ROWS
        examples[name] = np.asarray(samples[name])[np.arange(rows) % len(samples[name])]
    return examples


def dynamic_names(axes: Axes) -> list[str]:
    return list(dict.fromkeys(axis for spec in axes.values() for axis in spec if isinstance(axis, str)))


def output_axes(
    run: Callable[[Mapping[str, np.ndarray]], Mapping[str, tuple[int, ...]]],
    examples: Mapping[str, np.ndarray],
    axes: Axes,
) -> dict[str, tuple[Axis, ...]]:
    """The outputs' axes, found by running the model with each dynamic axis in turn a little longer or shorter.

    `run` gives the shapes of the outputs. An axis that is as long as a dynamic axis of the inputs in every run gets
    its name; one that changes in another way is None. Where the model refuses the other length the axis stays fixed.
    Raises ConversionFailed where the outputs themselves are other ones for another length.
    """
    base = run(examples)
    found: dict[str, list[Axis]] = {name: list(shape) for name, shape in base.items()}
    for axis in dynamic_names(axes):
        before, after = _lengths(axis, examples, axes)
        try:
            probed = run(_resized(examples, axes, axis, after))
        except ConversionFailed:
            continue
        if list(probed) != list(base):
            what = f"the model's outputs depend on the length of '{axis}': {', '.join(base)} or {', '.join(probed)}"
            raise ConversionFailed(what)
        for name, shape in probed.items():
            if len(shape) != len(base[name]):
                raise ConversionFailed(f"the rank of the output '{name}' depends on the length of '{axis}'")
            for n, (old, new) in enumerate(zip(base[name], shape, strict=True)):
                if old != new:
                    plain = (old, new) == (before, after) and isinstance(found[name][n], int)
                    found[name][n] = axis if plain else None
    return {name: tuple(spec) for name, spec in found.items()}


def _lengths(axis: str, examples: Mapping[str, np.ndarray], axes: Axes) -> tuple[int, int]:
    """The length of an axis in the examples, and another: one row more, one less of what may have a limit."""
    number, length = next(
        (n, examples[i].shape[n]) for i, spec in axes.items() for n, a in enumerate(spec) if a == axis
    )
    return length, length + 1 if number == 0 or length <= ROWS else length - 1


def _resized(examples: Mapping[str, np.ndarray], axes: Axes, axis: str, length: int) -> dict[str, np.ndarray]:
    import numpy as np

    changed = dict(examples)
    for name, spec in axes.items():
        for number, own in enumerate(spec):
            if own == axis:
                had = changed[name].shape[number]
                changed[name] = np.take(changed[name], np.arange(length) % had, axis=number)
    return changed


def name_symbols(shapes: Mapping[str, Sequence[Axis]], asked: Axes, *, what: str) -> dict[str, str]:
    """Symbols of torch (`s31`) -> the names asked for, from the inputs' shapes in symbols.

    Raises ConversionFailed where an axis that was to be dynamic came out fixed, and UsageError where two names were
    given to what the model needs to be of one length.
    """
    names: dict[str, str] = {}
    for name, shape in shapes.items():
        for number, (symbol, axis) in enumerate(zip(shape, asked[name], strict=True)):
            if not isinstance(axis, str):
                continue
            if not isinstance(symbol, str):
                fixed = "an unknown length" if symbol is None else str(symbol)
                message = f"axis '{axis}' of the input '{name}' (axis {number}) came out fixed at {fixed} in {what}"
                raise ConversionFailed(message, hint=fixed_hint(name, number, asked[name]))
            if SYMBOL.fullmatch(symbol) and names.setdefault(symbol, axis) != axis:
                message = f"the axes '{names[symbol]}' and '{axis}' must be of one length for this model"
                raise UsageError(message, hint="give both the same name in the option dynamic")
    return names


def fixed_hint(name: str, number: int, axes: Sequence[Axis]) -> str:
    """The option that fixes one axis of an input and leaves the others as they were asked for."""
    asked = ["_" if n == number else axis if isinstance(axis, str) else "_" for n, axis in enumerate(axes)]
    return f"mend the model's code, or fix that axis: --set 'onnx.dynamic={name}={','.join(asked)}'"


def rename_expression(expression: str, names: Mapping[str, str]) -> str:
    """A length in torch's symbols (`2*s31 + 1`) in the given names."""
    return SYMBOL.sub(lambda found: names.get(found[0], found[0]), expression)
