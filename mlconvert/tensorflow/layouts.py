"""Values in two layouts: as ONNX has them, channels first, and channels last, as TensorFlow's kernels want images.

A value knows the layouts that it was made in and makes the other one when it is first asked for. So between two
convolutions there is no transposition, and nothing has to be cancelled afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf


def last_of_first(rank: int) -> tuple[int, ...]:
    """The permutation from [N, C, …] to [N, …, C]."""
    return (0, *range(2, rank), 1)


def first_of_last(rank: int) -> tuple[int, ...]:
    """The permutation from [N, …, C] to [N, C, …]."""
    return (0, rank - 1, *range(1, rank - 1))


def axis_in_last(axis: int, rank: int) -> int:
    """Where an axis of [N, C, …] is in [N, …, C]."""
    return last_of_first(rank).index(axis % rank)


@dataclass(eq=False)
class Value:
    """A value of a graph: a tensor in one layout or both, or (`other`) a sequence or an optional.

    Tensors are kept by the graph that TensorFlow was tracing when they were made: what an inner graph (the body of a
    loop) made cannot be used outside of it, whereas what was made outside can be used within.
    """

    array: np.ndarray | None = None  # the value, where it is known at conversion
    other: Any = None
    key: tuple[str, ...] | None = None  # of the weight that `array` is
    _first: dict[Any, Any] = field(default_factory=dict)
    _last: dict[Any, Any] = field(default_factory=dict)
    _home: tuple[Any, Any] = (None, None)  # the tensors that it was made with: first, last

    @staticmethod
    def of(tensor: Any) -> Value:
        return Value(_home=(tensor, None)) if isinstance(tensor, tf.Tensor) else Value(other=tensor)

    @staticmethod
    def of_last(tensor: Any) -> Value:
        """Of a tensor with channels last; of rank 0 to 2 both layouts are the same."""
        rank = tensor.shape.rank
        return Value(_home=(None, tensor) if rank is None or rank > 2 else (tensor, None))

    @property
    def rank(self) -> int | None:
        if self.array is not None:
            return self.array.ndim
        made = self._home[0] if self._home[0] is not None else self._home[1]
        return None if made is None else made.shape.rank

    @property
    def is_last(self) -> bool:
        """Whether channels last is the layout that it was made in."""
        return self._home[0] is None and self._home[1] is not None

    def first(self) -> Any:
        """The tensor as ONNX has it."""
        made, other = self._home
        if made is not None or other is None:
            return made
        return self._in_graph(self._first, other, first_of_last(other.shape.rank))

    def last(self) -> Any:
        """The tensor with channels last."""
        made, other = self._home[1], self._home[0]
        rank = self.rank
        if made is not None or other is None:
            return made
        if rank is None or rank < 3:
            return other
        return self._in_graph(self._last, other, last_of_first(rank))

    def _in_graph(self, cache: dict[Any, Any], tensor: Any, permutation: tuple[int, ...]) -> Any:
        key = tf.compat.v1.get_default_graph()  # itself: the id of a scratch graph that is gone may come again
        if key not in cache:
            cache[key] = tf.transpose(tensor, permutation)
        return cache[key]


def in_last(value: Value, rank: int, tensor: Any) -> Any:
    """A value as [N, …, C], for an operation on tensors of `rank` that broadcasts; `tensor`: as [N, C, …]."""
    if value.rank == rank:
        return value.last() if value.array is None else tf.transpose(tensor, last_of_first(rank))
    if value.rank == 0:
        return tensor
    ones = [1] * (rank - (value.rank or 0))
    shape = tensor.shape
    if shape.is_fully_defined():
        wide = tf.reshape(tensor, ones + shape.as_list())
    else:
        wide = tf.reshape(tensor, tf.concat([ones, tf.shape(tensor)], 0))
    return tf.transpose(wide, last_of_first(rank))
