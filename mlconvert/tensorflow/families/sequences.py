"""Sequences and optionals: values that are no tensors.

A sequence whose length is known at conversion is the list of its tensors, and costs nothing at run time. One whose
length is not (it is carried through a loop, or made by a split of an unknown length) is a TensorList, which TensorFlow
passes through loops and branches as one tensor; its elements may differ in shape. A sequence never leaves a model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from mlconvert.tensorflow import kernels
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator

if TYPE_CHECKING:
    pass

_ANY_SHAPE = -1  # of the elements of a TensorList


@dataclass(frozen=True)
class Sequence:
    """A sequence of tensors of one type: `elements` where their number is known, else `handle`, a TensorList.

    `shape` is what is known of the shape of all elements; None for a sequence that never had any.
    """

    dtype: tf.DType
    elements: tuple[Any, ...] | None = ()
    handle: Any = None
    shape: tf.TensorShape | None = None

    @classmethod
    def of(cls, elements: tuple[Any, ...]) -> Sequence:
        shape = elements[0].shape
        for element in elements[1:]:
            shape = shape.most_specific_compatible_shape(element.shape)
        return cls(elements[0].dtype, elements, None, shape)

    def listed(self) -> Any:
        """The sequence as a TensorList."""
        if self.elements is None:
            return self.handle
        handle = tf.raw_ops.EmptyTensorList(element_shape=_ANY_SHAPE, max_num_elements=-1, element_dtype=self.dtype)
        for element in self.elements:
            handle = tf.raw_ops.TensorListPushBack(input_handle=handle, tensor=element)
        return handle

    def length(self) -> Any:
        if self.elements is not None:
            return tf.constant(len(self.elements))
        return tf.raw_ops.TensorListLength(input_handle=self.handle)

    def at(self, position: Any) -> Any:
        """The element at a position from the front."""
        item = tf.raw_ops.TensorListGetItem(
            input_handle=self.listed(), index=position, element_shape=_ANY_SHAPE, element_dtype=self.dtype
        )
        if self.shape is not None:
            item.set_shape(self.shape)
        return item

    def with_list(self, handle: Any, shape: tf.TensorShape | None) -> Sequence:
        return Sequence(self.dtype, None, handle, shape)

    def joined_shape(self, shape: tf.TensorShape) -> tf.TensorShape:
        return shape if self.shape is None else self.shape.most_specific_compatible_shape(shape)


@dataclass(frozen=True)
class Optional:
    """An optional: a tensor, a sequence, or None for one that is empty. Which it is, is known at conversion."""

    value: Any


# --- TensorLists ---


def _from_front(position: Any, length: Any) -> Any:
    """A position from the front, as int32: negative ones count from the back."""
    position = tf.cast(tf.reshape(position, []), tf.int32)
    return tf.where(position < 0, position + length, position)


def filled(count: Any, element: Callable[[Any], Any], dtype: tf.DType) -> Any:
    """A TensorList of `count` elements, which may differ in shape."""
    handle = tf.raw_ops.TensorListReserve(element_shape=_ANY_SHAPE, num_elements=count, element_dtype=dtype)

    def body(at: Any, handle: Any) -> tuple[Any, Any]:
        return at + 1, tf.raw_ops.TensorListSetItem(input_handle=handle, index=at, item=element(at))

    _, handle = tf.while_loop(lambda at, _: at < count, body, (tf.constant(0), handle))
    return handle


def _static(position: Any, count: int) -> int | None:
    """A position of a list of known length, where it is known."""
    known = kernels.known(position)
    if known is None:
        return None
    at = int(known.reshape(-1)[0])
    return at + count if at < 0 else at


# --- operators ---


def construct(*inputs: Any) -> Sequence:
    return Sequence.of(inputs)


def empty(*, dtype: int = 1) -> Sequence:
    return Sequence(_dtype(dtype))


def _dtype(code: int) -> tf.DType:
    from onnx import TensorProto, helper

    return tf.string if code == TensorProto.STRING else tf.as_dtype(helper.tensor_dtype_to_np_dtype(code))


def insert(sequence: Sequence, tensor: Any, position: Any = None) -> Sequence:
    shape = sequence.joined_shape(tensor.shape)
    if sequence.elements is not None:
        count = len(sequence.elements)
        at = count if position is None else _static(position, count)
        if at is not None:
            return Sequence.of((*sequence.elements[:at], tensor, *sequence.elements[at:]))
    handle = sequence.listed()
    if position is None:
        return sequence.with_list(tf.raw_ops.TensorListPushBack(input_handle=handle, tensor=tensor), shape)
    length = sequence.length()
    at = _from_front(position, length)

    def element(index: Any) -> Any:
        # A TensorList has no way to choose between two of its elements but a branch.
        source = tf.where(index < at, index, index - 1)
        return tf.cond(tf.equal(index, at), lambda: tensor, lambda: _raw(sequence, handle, source))

    return sequence.with_list(filled(length + 1, element, sequence.dtype), shape)


def _raw(sequence: Sequence, handle: Any, index: Any) -> Any:
    return tf.raw_ops.TensorListGetItem(
        input_handle=handle, index=index, element_shape=_ANY_SHAPE, element_dtype=sequence.dtype
    )


def erase(sequence: Sequence, position: Any = None) -> Sequence:
    if sequence.elements is not None:
        count = len(sequence.elements)
        at = count - 1 if position is None else _static(position, count)
        if at is not None:
            rest = (*sequence.elements[:at], *sequence.elements[at + 1 :])
            return Sequence.of(rest) if rest else Sequence(sequence.dtype)
    handle, length = sequence.listed(), sequence.length()
    if position is None:
        shorter = tf.raw_ops.TensorListResize(input_handle=handle, size=length - 1)
        return sequence.with_list(shorter, sequence.shape)
    at = _from_front(position, length)

    def element(index: Any) -> Any:
        return _raw(sequence, handle, tf.where(index < at, index, index + 1))

    return sequence.with_list(filled(length - 1, element, sequence.dtype), sequence.shape)


def at(sequence: Sequence, position: Any) -> Any:
    if sequence.elements is not None:
        place = _static(position, len(sequence.elements))
        if place is not None:
            return sequence.elements[place]
    return sequence.at(_from_front(position, sequence.length()))


def length(sequence: Sequence) -> Any:
    return tf.cast(sequence.length(), tf.int64)


def split(tensor: Any, split: Any = None, *, axis: int = 0, keepdims: int = 1, node: Node) -> Sequence:
    rank = tensor.shape.rank
    if rank is None:
        raise node.refuse("splits a tensor whose number of axes is not known")
    axis = axis % rank
    if split is None and not keepdims:
        return _unstacked(tensor, axis)
    chosen = node.constant(1) if split is not None else None
    if chosen is None and split is not None:
        chosen = kernels.known(split)
    size = tensor.shape[axis]
    if split is None or chosen is not None:
        lengths: list[int] | None = None
        if chosen is not None and chosen.ndim:
            lengths = [int(part) for part in chosen]
        elif size is not None:
            each = 1 if chosen is None else int(chosen)
            lengths = [min(each, size - begin) for begin in range(0, size, each)]
        if lengths:
            return Sequence.of(tuple(kernels.moved(lambda t: tuple(tf.split(t, lengths, axis)), tensor)))
    return _split_at_run_time(tensor, split, axis)


def _unstacked(tensor: Any, axis: int) -> Sequence:
    if tensor.shape[axis]:
        return Sequence.of(tuple(tf.unstack(tensor, axis=axis)))
    rows = tf.transpose(tensor, [axis, *(one for one in range(tensor.shape.rank) if one != axis)])
    handle = tf.raw_ops.TensorListFromTensor(tensor=rows, element_shape=tf.shape(rows)[1:])
    return Sequence(tensor.dtype, None, handle, rows.shape[1:])


def _split_at_run_time(tensor: Any, split: Any, axis: int) -> Sequence:
    size = tf.shape(tensor)[axis]
    if split is not None and split.shape.rank != 0:
        lengths = tf.cast(split, tf.int32)
        count, ends = tf.shape(lengths)[0], tf.cumsum(lengths)
        begins = ends - lengths
    else:
        each = tf.constant(1) if split is None else tf.cast(split, tf.int32)
        count = (size + each - 1) // each
        begins = tf.range(count) * each
        ends = tf.minimum(begins + each, size)
    order = (slice(None),) * axis

    def element(index: Any) -> Any:
        return tensor[(*order, slice(begins[index], ends[index]))]

    shape = tensor.shape.as_list()
    shape[axis] = None
    return Sequence(tensor.dtype, None, filled(count, element, tensor.dtype), tf.TensorShape(shape))


def concat(sequence: Sequence, *, axis: int, new_axis: int = 0, node: Node) -> Any:
    if sequence.elements:
        join = tf.stack if new_axis else tf.concat
        return kernels.moved(lambda *tensors: join(list(tensors), axis), *sequence.elements)
    if sequence.shape is None or sequence.shape.rank is None:
        raise node.refuse("joins a sequence whose tensors' number of axes is not known")
    rank = sequence.shape.rank
    if new_axis:
        rows = tf.shape(sequence.at(tf.constant(0)))
        stacked = tf.raw_ops.TensorListStack(
            input_handle=sequence.handle, element_shape=rows, element_dtype=sequence.dtype
        )
        stacked.set_shape([None, *sequence.shape])
        axis = axis % (rank + 1)
        return tf.transpose(stacked, [*range(1, axis + 1), 0, *range(axis + 1, rank + 1)])
    axis = axis % rank
    to_front = [axis, *(one for one in range(rank) if one != axis)]
    back = [*range(1, axis + 1), 0, *range(axis + 1, rank)]
    handle = sequence.handle
    if axis:
        handle = filled(sequence.length(), lambda index: tf.transpose(sequence.at(index), to_front), sequence.dtype)
    joined, _ = tf.raw_ops.TensorListConcatV2(
        input_handle=handle,
        element_shape=_ANY_SHAPE,
        leading_dims=tf.zeros([0], tf.int64),
        element_dtype=sequence.dtype,
    )
    joined.set_shape([None, *(sequence.shape[one] for one in to_front[1:])])
    return tf.transpose(joined, back) if axis else joined


# --- optionals ---


def optional(value: Any = None, *, type: Any = None) -> Optional:  # noqa: A002, ARG001 - ONNX's name
    return value if isinstance(value, Optional) else Optional(value)


def optional_get(value: Any, *, node: Node) -> Any:
    if not isinstance(value, Optional):
        return value
    if value.value is None:
        raise node.refuse("takes the element of an optional that is empty")
    return value.value


def optional_has(value: Any = None) -> Any:
    if isinstance(value, Optional):
        value = value.value
    return tf.constant(value is not None)


WITHIN = "a sequence stays within the model: none is an input or an output of it"
_KNOWN = "whether an optional is empty is known at conversion"

OPERATORS = (
    Operator("SequenceConstruct", 11, construct, folds=False, note=WITHIN),
    Operator("SequenceEmpty", 11, empty, folds=False, note=WITHIN),
    Operator("SequenceInsert", 11, insert, folds=False, note=WITHIN),
    Operator("SequenceErase", 11, erase, folds=False, note=WITHIN),
    Operator("SequenceAt", 11, at, folds=False, note=WITHIN),
    Operator("SequenceLength", 11, length, folds=False, note=WITHIN),
    Operator("SplitToSequence", 11, split, folds=False, note=WITHIN),
    Operator("ConcatFromSequence", 11, concat, folds=False, note=WITHIN),
    Operator("Optional", 15, optional, folds=False, note=_KNOWN),
    Operator("OptionalGetElement", 15, optional_get, folds=False, note=_KNOWN),
    Operator("OptionalHasElement", 15, optional_has, folds=False, note=_KNOWN),
)
