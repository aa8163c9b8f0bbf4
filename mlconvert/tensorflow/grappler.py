"""What Grappler, which optimises a graph when a server loads it, gets wrong in TensorFlow 2.21, and how to keep it off.

An EnsureShape between two operations costs nothing and breaks the pattern that a rule of Grappler's looks for. Each of
the rules below was found by graphs drawn at random (tests/tensorflow/test_tf_drawn.py) and has its test.

- max(f(x)) becomes f(max(x)) where f is monotonic (arithmetic_optimizer.cc, OptimizeMaxOrMinOfMonotonic), minima,
  pools and places alike. It forgets which output of its node x is: the first half of a Split for the second. And the
  place of the largest x is not that of the first largest f(x): argmax(relu(x)) of negative numbers.
- max(x * c, x) becomes a LeakyReLU of slope c (remapper.cc), which it is for c <= 1 only.
- (x + bias) + c becomes (x + c) + bias where c is constant (constant_folding.cc), with c as the argument of BiasAdd,
  whose kernel then refuses what has more than one axis.
- A row added to a product of matrices becomes its bias, see `families.arithmetic`; explicit pads of a depthwise
  convolution end the process, see `convolving`.
"""

from __future__ import annotations

import tensorflow as tf

_MOVES = frozenset({"Cast", "EnsureShape", "ExpandDims", "Identity", "Reshape", "Squeeze", "Transpose"})


def fenced(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor, such that no rule sees what it was made by."""
    return tf.ensure_shape(tensor, tensor.shape)


def is_constant(tensor: tf.Tensor) -> bool:
    """Whether Grappler will know the value: constants, and what only moves the elements of constants."""
    if isinstance(tensor, tf.__internal__.EagerTensor):
        return True
    op = tensor.op
    return op.type == "Const" or (op.type in _MOVES and all(is_constant(given) for given in op.inputs))


def is_biased(tensor: tf.Tensor) -> bool:
    """Whether the tensor is what a BiasAdd gave."""
    return not isinstance(tensor, tf.__internal__.EagerTensor) and tensor.op.type == "BiasAdd"
