"""Values of all kinds (tensors, sequences, optionals) as tensors, which loops and branches pass on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow.families.sequences import Optional, Sequence
from mlconvert.tensorflow.node import Node


@dataclass(frozen=True)
class Kind:
    """What a value is, beyond the tensor that stands for it; `shape` of a sequence is that of its elements."""

    dtype: tf.DType
    shape: tf.TensorShape | None
    sequence: bool = False
    optional: bool = False

    @property
    def invariant(self) -> tf.TensorShape:
        return tf.TensorShape([]) if self.sequence else tf.TensorShape(self.shape)

    def placeholder(self) -> Any:
        return tf.compat.v1.placeholder(tf.variant if self.sequence else self.dtype, self.invariant)

    def value(self, tensor: Any) -> Any:
        """The value that the tensor stands for."""
        made: Any = tensor
        if self.sequence:
            made = Sequence(self.dtype, None, tensor, self.shape)
        elif self.shape is not None:
            tensor.set_shape(self.shape)
        return Optional(made) if self.optional else made

    def joined(self, other: Kind, node: Node) -> Kind:
        """What is known of a value that may be the one or the other."""
        if (self.dtype, self.sequence) != (other.dtype, other.sequence):
            raise node.refuse(f"gives now {self._words()}, now {other._words()}")
        if self.shape is None or other.shape is None:
            shape = other.shape if self.shape is None else self.shape
        else:
            shape = self.shape.most_specific_compatible_shape(other.shape)
        return Kind(self.dtype, shape, self.sequence, self.optional or other.optional)

    def _words(self) -> str:
        return f"{'a sequence of ' if self.sequence else ''}{self.dtype.name}"


def kind_of(value: Any, node: Node) -> Kind:
    if isinstance(value, Optional):
        if value.value is None:
            raise node.refuse("passes on an optional that may be empty")
        inner = kind_of(value.value, node)
        return Kind(inner.dtype, inner.shape, inner.sequence, optional=True)
    if isinstance(value, Sequence):
        return Kind(value.dtype, value.shape, sequence=True)
    return Kind(value.dtype, value.shape)


def flat(value: Any) -> Any:
    """The tensor that stands for a value."""
    if isinstance(value, Optional):
        value = value.value
    return value.listed() if isinstance(value, Sequence) else value


def traced(function: Callable[..., tuple[Any, ...]], kinds: list[Kind], node: Node) -> list[Kind]:
    """What a function of such values gives, found by running it in a graph that is thrown away."""
    graph = tf.__internal__.FuncGraph("scratch")
    with graph.as_default():
        values = function(*(kind.value(kind.placeholder()) for kind in kinds))
        return [kind_of(value, node) for value in values]
