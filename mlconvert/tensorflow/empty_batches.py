"""Empty batches of models with convolutions.

TensorFlow's convolution kernels by oneDNN give an empty batch the shape of their input instead of their output's
(2.21; so does a model written in Keras): what comes next fails, or the answer has the wrong lengths. Where an axis of
the model's inputs is one that all its outputs have, a batch of none is computed as one of one, and nothing of it is
given back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from mlconvert.onnx_model.graphs import nodes_of
from mlconvert.signature import TensorSpec
from mlconvert.tensorflow.kernels import moved

if TYPE_CHECKING:
    import onnx


def batch_axis(model: onnx.ModelProto, inputs: Sequence[TensorSpec], outputs: Iterable[TensorSpec]) -> str | None:
    """The name of the batch's axis; None where the model convolves nothing, or where an output lacks the axis."""
    if not any("Conv" in node.op_type for node in nodes_of(model)):
        return None
    first = next((spec.shape[0] for spec in inputs if spec.shape and isinstance(spec.shape[0], str)), None)
    if first is None or any(spec.shape.count(first) != 1 for spec in outputs):
        return None
    return None if any(spec.shape.count(first) > 1 for spec in inputs) else str(first)


class Batch:
    """The inputs of one call, none of them empty along `axis`; `axis` None changes nothing."""

    def __init__(self, axis: str | None, tensors: Mapping[str, Any], specs: Sequence[TensorSpec]) -> None:
        self.axis, self.tensors = axis, dict(tensors)
        self._is_empty: Any = None
        for spec in specs:
            if axis is None or axis not in spec.shape:
                continue
            tensor, place = self.tensors[spec.name], spec.shape.index(axis)
            if self._is_empty is None:
                self._is_empty = tf.equal(tf.shape(tensor)[place], 0)
            self.tensors[spec.name] = _not_empty(tensor, place, self._is_empty)

    def given_back(self, tensor: Any, spec: TensorSpec) -> Any:
        """An output without what was computed for a batch of none."""
        if self._is_empty is None:
            return tensor
        place = spec.shape.index(self.axis)
        length = tf.where(self._is_empty, 0, tf.shape(tensor)[place])  # what the model says of others may be wrong
        return tensor[(*(slice(None),) * place, slice(length))]


def _not_empty(tensor: tf.Tensor, place: int, is_empty: tf.Tensor) -> tf.Tensor:
    """No tf.cond: a graph without control flow is run, and converted back, more simply."""
    pads = [[0, 0]] * place + [[0, tf.cast(is_empty, tf.int32)]] + [[0, 0]] * (tensor.shape.rank - place - 1)
    return tf.ensure_shape(moved(lambda x: tf.pad(x, pads), tensor), tensor.shape)
