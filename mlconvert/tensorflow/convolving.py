"""What the operators of convolution are computed by, with channels last.

TensorFlow has kernels for two and three axes. One axis is computed as two of which the first has length one; what the
kernels lack (more axes, three axes with groups or dilations) as the sum of convolutions of one axis less, one for each
place of the window along the first axis. A transposed convolution that has no kernel is a convolution of the images
with zeros between their elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.errors import ConversionFailed
from mlconvert.tensorflow.kernels import FLOATS, length
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.windows import Windows, larger, padded


def kernel_of(w: Any, kernel_shape: tuple[int, ...] | None, node: Node) -> tuple[Any, ...]:
    if w.shape.rank is None:
        raise node.refuse("has a filter whose number of axes is not known")
    lengths = [length(w, axis) for axis in range(2, w.shape.rank)]
    if kernel_shape is None:
        return tuple(lengths)
    return tuple(size if isinstance(size, int) else kernel_shape[i] for i, size in enumerate(lengths))


def filters_of(w: Any, place: int, node: Node) -> Any:
    """ONNX's filters [out, in, …] as TensorFlow's […, in, out]; constant ones, the input at `place`, at conversion."""
    order = (*range(2, w.shape.rank), 1, 0)
    arranged = node.arranged(place, "hwio", lambda array: array.transpose(order))
    return tf.transpose(w, order) if arranged is None else arranged


def convolve(x: tf.Tensor, filters: tf.Tensor, windows: Sequence[Windows], groups: int = 1) -> tf.Tensor:
    """A convolution of images [N, …, C] with filters […, C / groups, M], padded with zeros."""
    if len(windows) == 1:
        first = tf.expand_dims(x, 1)
        result = convolve(first, tf.expand_dims(filters, 0), (Windows(1, 1), *windows), groups)
        return tf.squeeze(result, 1)
    if len(windows) == 2:
        return _convolve_2d(x, filters, windows, groups)
    if len(windows) == 3 and groups == 1 and x.dtype in FLOATS and all(one.dilation == 1 for one in windows):
        strides = [1, *(one.stride for one in windows), 1]
        return tf.nn.conv3d(padded(x, windows), filters, strides, "VALID")
    return _convolve_nd(x, filters, windows, groups)


def _convolve_2d(x: tf.Tensor, filters: tf.Tensor, windows: Sequence[Windows], groups: int) -> tf.Tensor:
    if groups > 1 and filters.shape[-2] == 1 and filters.shape.is_fully_defined() and x.dtype in FLOATS:
        done = _depthwise(x, filters, windows, groups)
        if done is not None:
            return done
    if filters.shape[-2] in (1, None) and groups == 1 and _may_mislead_onednn(*windows):
        # Not tf.pad: the optimiser joins it with the convolution, and ends the process where filters are padded too.
        x, filters = tf.concat([x, tf.zeros_like(x)], 3), tf.concat([filters, tf.zeros_like(filters)], 2)
    padding: Any = "VALID"
    if any(one.is_padded for one in windows):
        if all(one.is_simple for one in windows):
            padding = [[0, 0], *(list(one.padding) for one in windows), [0, 0]]
        else:
            x = padded(x, windows)
    strides, dilations = [one.stride for one in windows], [one.dilation for one in windows]
    return tf.nn.conv2d(x, filters, strides, padding, dilations=dilations)


def _may_mislead_onednn(rows: Windows, columns: Windows) -> bool:
    """Whether oneDNN would convolve images of one channel wrongly: it strides along the rows instead of the columns.

    Measured with TensorFlow 2.21 over convolutions drawn at random: wrong exactly where rows have stride 1, columns a
    larger one, and the answer is one column wide. A second channel, of zeros, takes another way.
    """
    wide = isinstance(columns.count, int) and columns.count != 1
    flat = isinstance(rows.count, int) and rows.count == 1
    return rows.stride == 1 < columns.stride and not wide and not flat


def _depthwise(x: tf.Tensor, filters: tf.Tensor, windows: Sequence[Windows], groups: int) -> tf.Tensor | None:
    """A convolution of each channel apart; None where there is no kernel.

    The padding is an operation of its own: TensorFlow 2.21's optimiser ends the process over explicit padding here.
    """
    strides = {one.stride for one in windows if not (isinstance(one.length, int) and one.length == one.kernel == 1)}
    if len(strides) > 1 or any(one.dilation > 1 and one.kernel > 1 for one in windows):
        return None
    stride = strides.pop() if strides else 1
    height, width, _, features = filters.shape
    filters = tf.reshape(filters, (height, width, groups, features // groups))
    padding = "VALID"
    if all(one.is_simple for one in windows) and _is_same(windows):
        padding = "SAME"
    else:
        x = padded(x, windows)
    return tf.nn.depthwise_conv2d(x, filters, [1, stride, stride, 1], padding)


def _is_same(windows: Sequence[Windows]) -> bool:
    """Whether the padding is what TensorFlow calls SAME, whatever the length."""
    return all(one.stride == 1 and one.begin == (one.kernel - 1) // 2 and one.end == one.kernel // 2 for one in windows)


def _convolve_nd(x: tf.Tensor, filters: tf.Tensor, windows: Sequence[Windows], groups: int) -> tf.Tensor:
    first, rest = windows[0], windows[1:]
    if not isinstance(first.kernel, int):
        raise ConversionFailed("A convolution of this kind needs filters of known lengths")
    x = padded(x, (first, *(Windows(one.length, 1) for one in rest)))
    shape = tf.shape(x)
    result = None
    for place in range(first.kernel):
        start = place * first.dilation
        part = x[:, start : start + (first.count - 1) * first.stride + 1 : first.stride]
        flat = tf.reshape(part, tf.concat([[-1], shape[2:]], 0))
        flat = tf.ensure_shape(flat, [None, *x.shape[2:]])
        one = convolve(flat, filters[place], rest, groups)
        result = one if result is None else result + one
    assert result is not None
    lengths = tf.concat([shape[:1], [first.count], tf.shape(result)[1:]], 0)
    count = first.count if isinstance(first.count, int) else None
    return tf.ensure_shape(tf.reshape(result, lengths), [x.shape[0], count, *result.shape[1:]])


# --- transposed ---


def shared_out(one: Windows, total: Any, *, upper: bool) -> Windows:
    """The pads that add up to `total`; what is less than nothing makes the end longer."""
    half = total // 2 if upper else total - total // 2
    begin = larger(half, 0)
    return replace(one, begin=begin, end=total - begin)


def transposed(x: tf.Tensor, w: tf.Tensor, windows: Sequence[Windows], groups: int, node: Node) -> tf.Tensor:
    """Here the pads are what is cut off the answer, and the overhang (output_padding) is what lies beyond the end."""
    kernels = groups == 1 and len(windows) <= 3 and x.dtype in FLOATS
    for one in windows:
        kernels &= one.dilation == 1 or (isinstance(one.kernel, int) and one.kernel == 1)
        kernels &= isinstance(one.begin, int) and isinstance(one.end, int) and one.end >= 0
        kernels &= one.overhang < one.stride
    return _backwards(x, w, windows, node) if kernels else _stuffed(x, w, windows, groups, node)


def _backwards(x: tf.Tensor, w: tf.Tensor, windows: Sequence[Windows], node: Node) -> tf.Tensor:
    """By the kernels that TensorFlow has for the gradient of a convolution, which is what a transposed one is."""
    order = (*range(2, len(windows) + 2), 1, 0)
    filters = node.arranged(1, "hwoi", lambda w: w.transpose(order))
    if filters is None:
        filters = tf.transpose(w, order)
    if len(windows) == 1:
        x, filters, windows = tf.expand_dims(x, 1), tf.expand_dims(filters, 0), (Windows(1, 1), *windows)
    whole = [(one.length - 1) * one.stride + one.extent + one.overhang for one in windows]
    lengths = [size - one.begin - one.end for size, one in zip(whole, windows, strict=True)]
    batch, features = length(x, 0), length(filters, -2)
    strides = [one.stride for one in windows]
    if len(windows) == 2:
        padding: Any = "VALID"
        if any(one.begin or one.end for one in windows):
            padding = [[0, 0], *([one.begin, one.end] for one in windows), [0, 0]]
        result = tf.nn.conv2d_transpose(x, filters, tf.stack([batch, *lengths, features]), strides, padding)
    else:
        result = tf.nn.conv3d_transpose(x, filters, tf.stack([batch, *whole, features]), strides, "VALID")
        result = tf.slice(result, [0, *(one.begin for one in windows), 0], tf.stack([-1, *lengths, -1]))
    known = [size if isinstance(size, int) else None for size in lengths]
    result = tf.ensure_shape(result, [x.shape[0], *known, filters.shape[-2]])
    return tf.squeeze(result, 1) if w.shape.rank == 3 else result


def _stuffed(x: tf.Tensor, w: tf.Tensor, windows: Sequence[Windows], groups: int, node: Node) -> tf.Tensor:
    """As a convolution of the images with zeros between their elements, by the filters turned round."""
    rank = len(windows)
    filters = node.arranged(1, f"turned {groups}", lambda w: _turned(w, groups))
    if filters is None:
        shape = tf.shape(w)
        apart = tf.reshape(w, tf.concat([[groups, shape[0] // groups], shape[1:]], 0))
        apart = tf.transpose(apart, (*range(3, rank + 3), 1, 0, 2))
        filters = tf.reshape(apart, tf.concat([shape[2:], [shape[0] // groups, shape[1] * groups]], 0))
        filters = tf.reverse(filters, list(range(rank)))
        kernel = [one.kernel if isinstance(one.kernel, int) else None for one in windows]
        depth, features = w.shape[0], w.shape[1]
        filters = tf.ensure_shape(
            filters, [*kernel, depth and depth // groups, features and features * groups]
        )  # fmt: skip
    dense, cuts = [], []
    for axis, one in enumerate(windows, 1):
        x = _with_zeros(x, axis, one.stride)
        begin, end = one.extent - 1 - one.begin, one.extent - 1 - one.end + one.overhang
        wanted = (one.length - 1) * one.stride + one.extent + one.overhang - one.begin - one.end
        cuts.append((larger(-begin, 0), wanted))
        dense.append(Windows(length(x, axis), one.kernel, 1, one.dilation, larger(begin, 0), larger(end, 0)))
    result = convolve(x, filters, dense, groups)
    for axis, (begin, wanted) in enumerate(cuts, 1):
        picks = [slice(None)] * (rank + 2)
        picks[axis] = slice(begin, begin + wanted)
        result = result[tuple(picks)]
    return result


def _turned(w: np.ndarray, groups: int) -> np.ndarray:
    """[C, M / groups, …] as […, C / groups, M], the window back to front."""
    rank = w.ndim - 2
    apart = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    apart = apart.transpose(*range(3, rank + 3), 1, 0, 2)
    filters = apart.reshape(*w.shape[2:], w.shape[0] // groups, groups * w.shape[1])
    return np.flip(filters, tuple(range(rank)))


def _with_zeros(x: tf.Tensor, axis: int, stride: int) -> tf.Tensor:
    """`stride - 1` zeros between the elements along an axis."""
    if stride == 1:
        return x
    pads = [(0, 0)] * (x.shape.rank + 1)
    pads[axis + 1] = (0, stride - 1)
    wide = tf.pad(tf.expand_dims(x, axis + 1), pads)
    size = x.shape[axis]
    lengths = tf.concat([tf.shape(x)[:axis], [length(x, axis) * stride], tf.shape(x)[axis + 1 :]], 0)
    flat = tf.reshape(wide, lengths)
    flat = tf.ensure_shape(flat, [*x.shape[:axis], size and size * stride, *x.shape[axis + 1 :]])
    picks = [slice(None)] * x.shape.rank
    picks[axis] = slice(0, length(x, axis) * stride - (stride - 1))
    return flat[tuple(picks)]
