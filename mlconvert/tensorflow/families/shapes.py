"""Shape, Size, and what changes a shape and no element: Reshape, Flatten, Squeeze, Expand, Transpose, Concat, Split …

Lengths that are known stay known: see `dimensions`. Axes and shapes may all be computed at run time; the rank of what
comes out is known as long as the length of the vector that says it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow import dimensions, kernels
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator


def shape(data: tf.Tensor, *, start: int = 0, end: int | None = None) -> tf.Tensor:
    if data.shape.rank is None:
        return tf.shape(data, tf.int64)[start:end]
    return dimensions.vector(dimensions.dims(data)[start:end])


def size(data: tf.Tensor) -> tf.Tensor:
    count = data.shape.num_elements()
    return tf.size(data, tf.int64) if count is None else tf.constant(count, tf.int64)


def reshape_1(data: tf.Tensor, *, shape: tuple[int, ...], consumed_inputs: tuple[int, ...] = ()) -> tf.Tensor:  # noqa: ARG001
    return reshape(data, tf.constant(shape, tf.int64))


def reshape(data: tf.Tensor, shape: tf.Tensor, *, allowzero: int = 0) -> tf.Tensor:
    wanted = dimensions.elements(shape)
    if allowzero or (wanted is None and data.shape.rank is None):
        return tf.reshape(data, shape)
    if wanted is None:
        own_lengths = tf.gather(tf.shape(data), tf.minimum(tf.range(tf.size(shape)), data.shape.rank - 1))
        return tf.reshape(data, tf.where(shape == 0, tf.cast(own_lengths, shape.dtype), shape))
    rank = data.shape.rank
    own = dimensions.dims(data) if rank is not None and any(_may_copy(one, shape) for one in wanted) else []
    lengths = []
    for axis, length in enumerate(wanted):
        if not _may_copy(length, shape) or axis >= len(own):
            lengths.append(length)
        elif isinstance(length, tf.Tensor):
            lengths.append(tf.where(length == 0, tf.cast(own[axis], length.dtype), length))
        else:
            lengths.append(own[axis])
    return tf.reshape(data, dimensions.vector(lengths))


def _may_copy(length: Any, shape: tf.Tensor) -> bool:
    """Whether a length is or may be the 0 that stands for the input's own. What was taken from a shape is a length."""
    return not dimensions.is_stack(shape) if isinstance(length, tf.Tensor) else length == 0


def flatten(data: tf.Tensor, *, axis: int = 1) -> tf.Tensor:
    own = dimensions.dims(data)
    axis = axis + len(own) if axis < 0 else axis
    left, right = dimensions.product(own[:axis]), dimensions.product(own[axis:])
    if isinstance(left, tf.Tensor) and not isinstance(right, tf.Tensor) and right:
        left = -1
    elif isinstance(right, tf.Tensor) and not isinstance(left, tf.Tensor) and left:
        right = -1
    return tf.reshape(data, dimensions.vector([left, right]))


def squeeze_1(data: tf.Tensor, *, axes: tuple[int, ...] | None = None) -> tf.Tensor:
    return squeeze(data, None if axes is None else tf.constant(axes, tf.int64))


def squeeze(data: tf.Tensor, axes: tf.Tensor | None = None) -> tf.Tensor:
    if axes is None:
        return tf.squeeze(data)
    known = kernels.known(axes)
    if known is not None:
        parts = dimensions.elements(data) if dimensions.is_shape(data) else None
        if parts is not None and len(parts) == 1 and known.size == 1:
            return tf.cast(parts[0], data.dtype)
        return tf.squeeze(data, known.reshape(-1).tolist()) if known.size else tf.identity(data)
    rank = tf.rank(data) if data.shape.rank is None else data.shape.rank
    stays = tf.reduce_all(tf.range(rank)[:, None] != tf.cast(axes, tf.int32) % rank, axis=1)
    lengths = tf.boolean_mask(tf.shape(data), stays)
    count = axes.shape[0]
    unknown = count is None or data.shape.rank is None
    return tf.reshape(data, lengths if unknown else tf.ensure_shape(lengths, [rank - count]))


def unsqueeze_1(data: tf.Tensor, *, axes: tuple[int, ...]) -> tf.Tensor:
    return unsqueeze(data, tf.constant(axes, tf.int64))


def unsqueeze(data: tf.Tensor, axes: tf.Tensor) -> tf.Tensor:
    axes = kernels.flat(axes)
    known = kernels.known(axes)
    if known is None or data.shape.rank is None:
        have = tf.rank(data) if data.shape.rank is None else data.shape.rank
        rank = have + (tf.size(axes) if axes.shape[0] is None else axes.shape[0])
        old = tf.reduce_all(tf.range(rank)[:, None] != tf.cast(axes, tf.int32) % rank, axis=1)
        places = tf.where(old)
        return tf.reshape(data, tf.tensor_scatter_nd_update(tf.ones([rank], tf.int32), places, tf.shape(data)))
    if data.shape.rank == 0 and known.size == 1 and data.dtype in kernels.INTEGERS:
        return tf.stack([data])
    rank = data.shape.rank + known.size
    lengths = dimensions.dims(data)
    for axis in sorted(dimensions.plain_axes(known, rank)):
        if known.size == 1:
            return tf.expand_dims(data, axis)
        lengths.insert(axis, 1)
    return tf.reshape(data, dimensions.vector(lengths))


def expand(data: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
    """Both may have axes of length 1 that the other one stretches."""
    wanted = dimensions.elements(shape)
    if wanted is None or data.shape.rank is None:
        target = tf.broadcast_dynamic_shape(tf.shape(data, tf.int64), tf.cast(shape, tf.int64))
        return kernels.moved(lambda x: tf.broadcast_to(x, target), data)
    own = dimensions.dims(data)
    count = max(len(own), len(wanted))
    pairs = zip([1] * (count - len(own)) + own, [1] * (count - len(wanted)) + wanted, strict=True)
    target = [_stretched(mine, other) for mine, other in pairs]
    if not any(isinstance(length, tf.Tensor) for length in (*own, *target)) and target == own:
        return tf.identity(data)
    return kernels.moved(lambda x: tf.broadcast_to(x, dimensions.vector(target)), data)


def _stretched(mine: Any, other: Any) -> Any:
    """The length that two lengths broadcast to."""
    if not isinstance(other, tf.Tensor):
        return mine if other == 1 else other
    if not isinstance(mine, tf.Tensor):
        return other if mine == 1 else mine
    return tf.where(other == 1, tf.cast(mine, other.dtype), other)


def transpose(data: tf.Tensor, *, perm: tuple[int, ...] | None = None) -> tf.Tensor:
    return kernels.moved(lambda x: tf.transpose(x, perm), data)


def concat_1(*inputs: tf.Tensor, axis: int = 1) -> tf.Tensor:
    return concat(*inputs, axis=axis)


def concat(*inputs: tf.Tensor, axis: int) -> tf.Tensor:
    if len(inputs) == 1:
        return tf.identity(inputs[0])
    if all(dimensions.is_shape(one) or one.shape == [1] for one in inputs) and any(
        dimensions.is_stack(one) for one in inputs
    ):
        parts = [element for one in inputs for element in dimensions.elements(one) or ()]
        if len(parts) <= dimensions.LONGEST:
            return dimensions.vector(parts, inputs[0].dtype)
    return kernels.moved(lambda *tensors: tf.concat(tensors, axis), *inputs)


def split_1(
    data: tf.Tensor,
    sizes: tf.Tensor | None = None,
    *,
    node: Node,
    axis: int = 0,
    split: tuple[int, ...] | None = None,
) -> Any:
    """Opsets 1 to 12: the sizes are an attribute, in opset 1 an input too."""
    if split is not None:
        sizes = tf.constant(split, tf.int64)
    return split_13(data, sizes, node=node, axis=axis)


def split_13(
    data: tf.Tensor,
    sizes: tf.Tensor | None = None,
    *,
    node: Node,
    axis: int = 0,
    num_outputs: int | None = None,
) -> Any:
    count = num_outputs or len(node.outputs)
    if count == 1:
        return (tf.identity(data),)
    length = None if data.shape.rank is None else data.shape[axis]
    if sizes is None and ((length is None and not num_outputs) or (length is not None and length % count == 0)):
        return tuple(kernels.moved(lambda x: tf.split(x, count, axis), data))
    if sizes is None:  # the last part is what is left
        whole = tf.shape(data, tf.int64)[axis] if length is None else length
        each = (whole + count - 1) // count
        sizes = dimensions.vector([each] * (count - 1) + [whole - each * (count - 1)])
    parts = dimensions.elements(sizes)
    given = parts if parts is not None and not any(isinstance(one, tf.Tensor) for one in parts) else sizes
    return tuple(kernels.moved(lambda x: tf.split(x, given, axis, num=count), data))


def tile_1(data: tf.Tensor, tiles: tf.Tensor, axis: tf.Tensor, *, node: Node) -> tf.Tensor:
    along = node.constant(2)
    if along is None:
        raise node.refuse("repeats along an axis that is computed")
    repeats: list[Any] = [1] * data.shape.rank
    repeats[int(along)] = kernels.scalar(tiles, tf.int64)
    del axis
    return tile(data, dimensions.vector(repeats))


def tile(data: tf.Tensor, repeats: tf.Tensor) -> tf.Tensor:
    return kernels.moved(lambda x: tf.tile(x, repeats), data, kernels=kernels.STANDARD - {tf.uint16})


def depth_to_space(data: tf.Tensor, *, blocksize: int, mode: str = "DCR") -> tf.Tensor:
    """With channels last."""
    if blocksize == 1:
        return tf.identity(data)
    if mode == "DCR":
        return kernels.moved(lambda x: tf.nn.depth_to_space(x, blocksize), data)
    batch, height, width, channels = dimensions.dims(data)
    inner = [batch, height, width, channels // blocksize**2, blocksize, blocksize]
    outer = [batch, height * blocksize, width * blocksize, channels // blocksize**2]

    def moved(x: tf.Tensor) -> tf.Tensor:
        cut = tf.reshape(x, dimensions.vector(inner))
        return tf.reshape(tf.transpose(cut, [0, 1, 4, 2, 5, 3]), dimensions.vector(outer))

    return kernels.moved(moved, data)


def space_to_depth(data: tf.Tensor, *, blocksize: int, mode: str = "DCR") -> tf.Tensor:
    """With channels last."""
    if blocksize == 1:
        return tf.identity(data)
    if mode == "DCR":
        return kernels.moved(lambda x: tf.nn.space_to_depth(x, blocksize), data)
    batch, height, width, channels = dimensions.dims(data)
    high, wide = height // blocksize, width // blocksize
    inner = [batch, high, blocksize, wide, blocksize, channels]

    def moved(x: tf.Tensor) -> tf.Tensor:
        cut = tf.transpose(tf.reshape(x, dimensions.vector(inner)), [0, 1, 3, 5, 2, 4])
        return tf.reshape(cut, dimensions.vector([batch, high, wide, channels * blocksize**2]))

    return kernels.moved(moved, data)


def reverse_sequence(data: tf.Tensor, lengths: tf.Tensor, *, batch_axis: int = 1, time_axis: int = 0) -> tf.Tensor:
    return kernels.moved(lambda x: tf.reverse_sequence(x, lengths, time_axis, batch_axis), data)


def trilu(data: tf.Tensor, k: tf.Tensor | None = None, *, upper: int = 1) -> tf.Tensor:
    diagonal = tf.zeros((), tf.int64) if k is None else kernels.scalar(k)
    rows, columns = dimensions.dims(data)[-2:]
    offset = tf.range(tf.cast(columns, tf.int64)) - tf.range(tf.cast(rows, tf.int64))[:, None]
    kept = offset >= diagonal if upper else offset <= diagonal
    return kernels.moved(lambda x: tf.where(kept, x, tf.zeros((), x.dtype)), data)


def center_crop_pad(data: tf.Tensor, shape: tf.Tensor, *, axes: tuple[int, ...] | None = None) -> tf.Tensor:
    """What is too long loses at both ends, what is too short gets zeros; an odd one falls to the end."""
    own = dimensions.dims(data)
    rank = len(own)
    wanted = list(own)
    parts: Sequence[Any] | None = dimensions.elements(shape)
    for index, axis in enumerate(range(rank) if axes is None else dimensions.plain_axes(axes, rank)):
        wanted[axis] = tf.cast(shape[index], tf.int64) if parts is None else parts[index]
    starts, kept, before, after = [], [], [], []
    for have, want in zip(own, wanted, strict=True):
        cut = _at_least_zero(have - want) // 2
        add = _at_least_zero(want - have)
        starts.append(cut)
        kept.append(have - _at_least_zero(have - want))
        before.append(add // 2)
        after.append(add - add // 2)
    pads = tf.stack([dimensions.vector(before), dimensions.vector(after)], axis=1)

    def moved(x: tf.Tensor) -> tf.Tensor:
        cropped = tf.slice(x, dimensions.vector(starts), dimensions.vector(kept))
        return tf.ensure_shape(tf.pad(cropped, pads), dimensions.static(wanted))

    return kernels.moved(moved, data)


def _at_least_zero(length: Any) -> Any:
    return tf.maximum(length, tf.zeros((), length.dtype)) if isinstance(length, tf.Tensor) else max(length, 0)


OPERATORS: tuple[Operator, ...] = (
    Operator("Shape", 1, shape),
    Operator("Size", 1, size),
    Operator("Reshape", 1, reshape_1, until=4),
    Operator("Reshape", 5, reshape),
    Operator("Flatten", 1, flatten),
    Operator("Squeeze", 1, squeeze_1, until=12),
    Operator("Squeeze", 13, squeeze),
    Operator("Unsqueeze", 1, unsqueeze_1, until=12),
    Operator("Unsqueeze", 13, unsqueeze),
    Operator("Expand", 8, expand),
    Operator("Transpose", 1, transpose),
    Operator("Concat", 1, concat_1, until=3, layout="axis"),
    Operator("Concat", 4, concat, layout="axis"),
    Operator("Split", 1, split_1, until=12, layout="axis"),
    Operator("Split", 13, split_13, layout="axis"),
    Operator("Tile", 1, tile_1, until=5),
    Operator("Tile", 6, tile),
    Operator("DepthToSpace", 1, depth_to_space, layout="last"),
    Operator("SpaceToDepth", 1, space_to_depth, layout="last"),
    Operator("ReverseSequence", 10, reverse_sequence),
    Operator("Trilu", 14, trilu),
    Operator("CenterCropPad", 18, center_crop_pad),
)
