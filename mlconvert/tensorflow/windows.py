"""The windows of convolutions and pools: where they lie along each axis, and the padding that they need.

Lengths of images are often known at run time alone, so a length, a pad or a count is a Python int where it is known and
a scalar tensor where it is not; the arithmetic below takes both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow.kernels import length
from mlconvert.tensorflow.node import Node

Length = Any
"""An int, or a scalar tensor of int32."""


def larger(a: Length, b: Length) -> Length:
    return max(a, b) if isinstance(a, int) and isinstance(b, int) else tf.maximum(a, b)


@dataclass(frozen=True)
class Windows:
    """The windows along one axis: `kernel` elements each, `dilation` apart; a new one every `stride` elements.

    `begin` and `end` are what is padded; `overhang` is what the last window of ceil_mode sticks out beyond that.
    """

    length: Length
    kernel: Length  # of a pool always an int
    stride: int = 1
    dilation: int = 1
    begin: Length = 0
    end: Length = 0
    overhang: Length = 0

    @property
    def extent(self) -> Length:
        """From the first element of a window to its last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def count(self) -> Length:
        """How many windows there are."""
        return larger((self.length + self.begin + self.end + self.overhang - self.extent) // self.stride + 1, 0)

    @property
    def padding(self) -> tuple[Length, Length]:
        return self.begin, self.end + self.overhang

    @property
    def is_padded(self) -> bool:
        """Whether anything may be padded."""
        return any(not isinstance(pad, int) or pad > 0 for pad in self.padding)

    @property
    def is_simple(self) -> bool:
        """Whether the pads are known."""
        return all(isinstance(pad, int) for pad in self.padding)


def windows_of(
    tensor: tf.Tensor,
    kernel: Sequence[Length],
    node: Node,
    *,
    auto_pad: str,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    strides: Sequence[int] | None,
    ceil_mode: int = 0,
) -> tuple[Windows, ...]:
    """The windows along each axis of images [N, …, C], by the attributes that convolutions and pools share."""
    rank = len(kernel)
    if tensor.shape.rank != rank + 2:
        raise node.refuse(f"has a window of {rank} axes for a tensor of {tensor.shape.rank}")
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    pads = pads if pads and auto_pad in ("NOTSET", "") else (0,) * (2 * rank)
    if any(pad < 0 for pad in pads):
        raise node.refuse("has negative pads")
    found = []
    for i in range(rank):
        one = Windows(length(tensor, i + 1), kernel[i], strides[i], dilations[i], pads[i], pads[i + rank])
        if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            one = _same(one, upper=auto_pad == "SAME_UPPER")
        elif ceil_mode and auto_pad != "VALID":
            one = _ceiled(one)
        found.append(one)
    return tuple(found)


def _same(one: Windows, *, upper: bool) -> Windows:
    """As many windows as strides fit into the axis, the pads on both sides as equal as can be."""
    count = -(-one.length // one.stride)
    total = larger((count - 1) * one.stride + one.extent - one.length, 0)
    smaller = total // 2
    return replace(one, begin=smaller, end=total - smaller) if upper else replace(
        one, begin=total - smaller, end=smaller
    )  # fmt: skip


def _ceiled(one: Windows) -> Windows:
    """A last window may stick out at the end, if it begins within the axis or the padding before it."""
    padded = one.length + one.begin + one.end
    count = -(-(padded - one.extent) // one.stride) + 1
    starts = (count - 1) * one.stride
    over = larger(starts + one.extent - padded, 0)
    if isinstance(starts, int):
        return replace(one, overhang=over if starts < one.length + one.begin else 0)
    return replace(one, overhang=tf.where(starts < one.length + one.begin, over, 0))


def padded(tensor: tf.Tensor, windows: Sequence[Windows], value: Any = 0) -> tf.Tensor:
    """The images with the padding of the windows."""
    if not any(one.is_padded for one in windows):
        return tensor
    pads = [(0, 0), *(one.padding for one in windows), (0, 0)]
    return tf.pad(tensor, pads, constant_values=tf.cast(value, tensor.dtype))


def tap(tensor: tf.Tensor, axis: int, one: Windows, offset: int) -> tf.Tensor:
    """The element `offset` of every window along an axis of a padded tensor."""
    start = offset * one.dilation
    stop = start + (one.count - 1) * one.stride + 1
    picks = [slice(None)] * tensor.shape.rank
    picks[axis] = slice(start, stop, one.stride)
    return tensor[tuple(picks)]


def reduced(
    tensor: tf.Tensor, windows: Sequence[Windows], function: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Each window of a padded tensor reduced to one element, axis by axis, last axis first.

    The function is associative and commutative; so a window of 3 x 3 takes 6 slices and not 9.
    """
    for axis in reversed(range(1, len(windows) + 1)):
        one = windows[axis - 1]
        result = tap(tensor, axis, one, 0)
        for offset in range(1, one.kernel):
            result = function(result, tap(tensor, axis, one, offset))
        tensor = result
    return tensor


def lowest(dtype: tf.DType) -> Any:
    """What no element of the type is less than."""
    return float("-inf") if dtype.is_floating else dtype.min
