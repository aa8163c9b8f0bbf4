"""The operators of convolution: plain, transposed, of integers, at places that are moved; all with channels last."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow.convolving import convolve, filters_of, kernel_of, shared_out, transposed
from mlconvert.tensorflow.kernels import DOUBLES, length, wide
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator
from mlconvert.tensorflow.sampling import sampled, zeros
from mlconvert.tensorflow.windows import Windows, windows_of

EXACT = 1 << 24
"""Up to there float32 holds every integer."""


def conv(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    node: Node,
) -> Any:
    kernel = kernel_of(w, kernel_shape, node)
    windows = windows_of(x, kernel, node, auto_pad=auto_pad, dilations=dilations, pads=pads, strides=strides)
    filters = filters_of(w, 1, node)
    result = convolve(x, filters, windows, group)
    return result if b is None else tf.nn.bias_add(result, b)


# --- transposed ---


def conv_transpose(
    x: Any,
    w: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    output_padding: tuple[int, ...] | None = None,
    output_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    node: Node,
) -> Any:
    kernel = kernel_of(w, kernel_shape, node)
    rank = len(kernel)
    strides, dilations, extra = strides or (1,) * rank, dilations or (1,) * rank, output_padding or (0,) * rank
    pads = pads if pads and auto_pad in ("NOTSET", "") else (0,) * (2 * rank)
    shape = tuple(output_shape[-rank:]) if output_shape else None
    windows: list[Windows] = []
    for i in range(rank):
        one = Windows(length(x, i + 1), kernel[i], strides[i], dilations[i], pads[i], pads[i + rank], extra[i])
        if shape is not None:
            whole = (one.length - 1) * one.stride + one.extent + one.overhang
            one = shared_out(one, whole - shape[i], upper=auto_pad == "SAME_UPPER")
        elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            one = shared_out(one, one.extent - one.stride + one.overhang, upper=auto_pad == "SAME_UPPER")
        windows.append(one)
    result = transposed(x, w, windows, group, node)
    return result if b is None else tf.nn.bias_add(result, b)


# --- at places that are moved ---


def deform_conv(
    x: Any,
    w: Any,
    offset: Any,
    b: Any = None,
    mask: Any = None,
    *,
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    offset_group: int = 1,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    node: Node,
) -> Any:
    """Each element of a window is sampled beside its place, as far off as `offset` says, and times `mask`."""
    kernel = kernel_of(w, kernel_shape, node)
    windows = windows_of(x, kernel, node, auto_pad="NOTSET", dilations=dilations, pads=pads, strides=strides)
    rank, dtype = len(windows), x.dtype
    real = wide(dtype, DOUBLES)
    x, batch = tf.cast(x, real), tf.shape(x)[0]
    out = [one.count for one in windows]
    taps = functools.reduce(operator.mul, kernel)
    order = (0, 1, *range(4, rank + 4), 2, 3)
    moves = tf.reshape(tf.cast(offset, real), tf.stack([batch, offset_group, taps, rank, *out]))
    moves = tf.reshape(tf.transpose(moves, order), tf.stack([batch * offset_group, *out, taps, rank]))
    grid = tf.meshgrid(*(tf.range(size) for size in kernel), indexing="ij")
    places = []
    for axis, one in enumerate(windows):
        within = tf.reshape(grid[axis], [-1]) * one.dilation
        starts = tf.reshape(tf.range(one.count) * one.stride - one.begin, [-1, *[1] * (rank - axis)])
        places.append(tf.cast(starts + within, real) + moves[..., axis])
    channels = length(x, -1) // offset_group
    apart = tf.reshape(x, tf.stack([batch, *(one.length for one in windows), offset_group, channels]))
    apart = tf.transpose(apart, (0, rank + 1, *range(1, rank + 1), rank + 2))
    apart = tf.reshape(apart, tf.stack([batch * offset_group, *(one.length for one in windows), channels]))
    values = sampled(apart, places, "linear", zeros)  # [N x offset groups, …, taps, C / offset groups]
    if mask is not None:
        shares = tf.reshape(tf.cast(mask, real), tf.stack([batch * offset_group, taps, *out]))
        values *= tf.transpose(shares, (0, *range(2, rank + 2), 1))[..., None]
    values = tf.reshape(values, tf.stack([batch, offset_group, -1, taps, channels]))
    values = tf.transpose(values, (0, 2, 3, 1, 4))
    values = tf.reshape(values, tf.stack([batch, -1, taps, group, channels * offset_group // group]))
    filters = filters_of(w, 1, node)
    features = length(filters, -1) // group
    filters = tf.reshape(tf.cast(filters, real), tf.stack([taps, -1, group, features]))
    result = tf.einsum("npkgc,kcgm->npgm", values, filters)
    result = tf.reshape(result, tf.stack([batch, *out, features * group]))
    known = [size if isinstance(size, int) else None for size in (*out, features)]
    known[-1] = known[-1] and known[-1] * group
    result = tf.cast(tf.ensure_shape(result, [None, *known]), dtype)
    return result if b is None else tf.nn.bias_add(result, b)


# --- in integers ---


def _exact(x: tf.Tensor, filters: tf.Tensor, windows: Sequence[Windows], groups: int) -> tf.Tensor:
    """An exact convolution of int32 values of 9 bits; in float32, which is faster, where its integers reach."""
    terms = filters.shape[:-1].num_elements()
    if terms is not None and terms * 255 * 255 < EXACT:
        done = convolve(tf.cast(x, tf.float32), tf.cast(filters, tf.float32), windows, groups)
        return tf.cast(done, tf.int32)
    return convolve(x, filters, windows, groups)


def conv_integer(
    x: Any,
    w: Any,
    x_zero_point: Any = None,
    w_zero_point: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    node: Node,
) -> Any:
    kernel = kernel_of(w, kernel_shape, node)
    windows = windows_of(x, kernel, node, auto_pad=auto_pad, dilations=dilations, pads=pads, strides=strides)
    filters = filters_of(w, 1, node)
    wide, filters = tf.cast(x, tf.int32), tf.cast(filters, tf.int32)
    if x_zero_point is not None:
        wide -= tf.reshape(tf.cast(x_zero_point, tf.int32), [])
    if w_zero_point is not None:
        filters -= tf.cast(w_zero_point, tf.int32)  # one, or one for each filter: the last axis
    return _exact(wide, filters, windows, group)


def q_linear_conv(
    x: Any,
    x_scale: Any,
    x_zero_point: Any,
    w: Any,
    w_scale: Any,
    w_zero_point: Any,
    y_scale: Any,
    y_zero_point: Any,
    b: Any = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: tuple[int, ...] | None = None,
    group: int = 1,
    kernel_shape: tuple[int, ...] | None = None,
    pads: tuple[int, ...] | None = None,
    strides: tuple[int, ...] | None = None,
    node: Node,
) -> Any:
    kernel = kernel_of(w, kernel_shape, node)
    windows = windows_of(x, kernel, node, auto_pad=auto_pad, dilations=dilations, pads=pads, strides=strides)
    filters = filters_of(w, 3, node)
    wide = tf.cast(x, tf.int32) - tf.reshape(tf.cast(x_zero_point, tf.int32), [])
    filters = tf.cast(filters, tf.int32) - tf.cast(w_zero_point, tf.int32)
    total = _exact(wide, filters, windows, group)
    if b is not None:
        total += b
    factor = tf.reshape(x_scale, []) * w_scale / tf.reshape(y_scale, [])
    zero = tf.reshape(tf.cast(y_zero_point, tf.float32), [])
    result = tf.round(tf.cast(total, tf.float32) * factor) + zero
    dtype = y_zero_point.dtype
    return tf.cast(tf.clip_by_value(result, float(dtype.min), float(dtype.max)), dtype)


OPERATORS: tuple[Operator, ...] = (
    Operator("Conv", 1, conv, layout="last", arranges=(1,)),
    Operator("ConvTranspose", 1, conv_transpose, layout="last", arranges=(1,)),
    Operator("DeformConv", 19, deform_conv, layout="last", arranges=(1,)),
    Operator("ConvInteger", 10, conv_integer, layout="last", arranges=(1,)),
    Operator("QLinearConv", 10, q_linear_conv, layout="last", arranges=(3,)),
)
