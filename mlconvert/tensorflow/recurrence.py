"""What RNN, LSTM and GRU share: their activations, their weights laid out anew, and the loop over the time steps.

A time step is an iteration of `tf.while_loop`, whose overhead is an operation's, not an element's: each saved
operation of the body counts, so that what a step reads of the input is one product before the loop. The lists that hold
inputs and outputs by time are TensorLists, as they can be stacked where there is no step at all. A direction that runs
backwards reads from the end; its outputs are written as they come and reversed after the loop, as tf2onnx takes
whatever is written in a loop for what comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from mlconvert.tensorflow.node import Node


@dataclass(frozen=True)
class Activation:
    function: Callable[..., Any]
    parameters: tuple[float, ...]
    clip: float | None

    def __call__(self, x: Any) -> Any:
        if self.clip is not None:
            x = tf.clip_by_value(x, tf.cast(-self.clip, x.dtype), tf.cast(self.clip, x.dtype))
        return self.function(x, *self.parameters)


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    return tf.clip_by_value(_scaled(x, alpha) + tf.cast(beta, x.dtype), tf.zeros((), x.dtype), tf.ones((), x.dtype))


def _scaled(x: Any, factor: float) -> Any:
    return x * tf.cast(factor, x.dtype)


# name -> (defaults of the parameters that it takes, function). ONNX: "the same as of corresponding ONNX operators".
_ACTIVATIONS: dict[str, tuple[tuple[float, ...], Callable[..., Any]]] = {
    "relu": ((), tf.nn.relu),
    "tanh": ((), tf.tanh),
    "sigmoid": ((), tf.sigmoid),
    "softsign": ((), tf.nn.softsign),
    "softplus": ((), tf.nn.softplus),
    "leakyrelu": ((0.01,), lambda x, alpha: tf.where(x >= 0, x, _scaled(x, alpha))),
    "thresholdedrelu": ((1.0,), lambda x, alpha: tf.where(x >= tf.cast(alpha, x.dtype), x, tf.zeros_like(x))),
    "elu": ((1.0,), lambda x, alpha: tf.where(x >= 0, x, _scaled(tf.math.expm1(x), alpha))),
    "affine": ((1.0, 0.0), lambda x, alpha, beta: _scaled(x, alpha) + tf.cast(beta, x.dtype)),
    "scaledtanh": ((1.0, 1.0), lambda x, alpha, beta: _scaled(tf.tanh(_scaled(x, beta)), alpha)),
    "hardsigmoid": ((0.2, 0.5), _hard_sigmoid),
}


def activations_of(
    node: Node,
    names: Sequence[str],
    count: int,
    alphas: Sequence[float],
    betas: Sequence[float],
    clip: float | None,
) -> list[Activation]:
    """The functions for all directions. Parameters are dealt out in the order of the functions that take them."""
    if len(names) < count:
        raise node.refuse(f"has {len(names)} activations, and needs {count}")
    alphas, betas = list(alphas), list(betas)
    found = []
    for name in names:
        defaults, function = _ACTIVATIONS.get(name.lower(), (None, None))
        if defaults is None or function is None:
            raise node.refuse(f"asks for the activation '{name}'", hint=f"one of: {', '.join(sorted(_ACTIVATIONS))}")
        given = zip((alphas, betas), defaults, strict=False)
        parameters = tuple(listed.pop(0) if listed else default for listed, default in given)
        found.append(Activation(function, parameters, clip))
    return found


@dataclass(frozen=True)
class Weights:
    """The inputs of a node that are usually constant, by direction, laid out anew at conversion where they are."""

    node: Node
    kind: str

    def take(self, index: int, tensor: Any, part: str, arrange: Callable[[Any, Any], Any]) -> Any:
        """`arrange` gets the array and the module (numpy or tensorflow) whose `transpose` and slices it may use."""
        if tensor is None:
            return None
        known = self.node.arranged(index, f"{self.kind}.{part}", lambda array: np.ascontiguousarray(arrange(array, np)))
        return arrange(tensor, tf) if known is None else known

    def matrix(self, index: int, tensor: Any, direction: int) -> Any:
        """[direction, gates * hidden, in] -> [in, gates * hidden]."""
        return self.take(index, tensor, f"matrix{direction}", lambda w, xp: xp.transpose(w[direction]))

    def columns(self, index: int, tensor: Any, direction: int, begin: int, end: int) -> Any:
        """Some gates' part of a matrix: [in, end - begin]."""
        part = f"matrix{direction}.{begin}.{end}"
        return self.take(index, tensor, part, lambda w, xp: xp.transpose(w[direction, begin:end]))

    def vector(self, index: int, tensor: Any, direction: int, begin: int, end: int) -> Any:
        part = f"vector{direction}.{begin}.{end}"
        return self.take(index, tensor, part, lambda w, _: w[direction, begin:end])

    def bias(self, index: int, tensor: Any, direction: int, width: int, both: int) -> Any:
        """The biases of input and recurrence, [2 * width], added for the first `both`; the input's alone after that."""

        def arrange(b: Any, xp: Any) -> Any:
            summed = b[direction, :both] + b[direction, width : width + both]
            if both == width:
                return summed
            rest = b[direction, both:width]
            return np.concatenate([summed, rest]) if xp is np else tf.concat([summed, rest], 0)

        return self.take(index, tensor, f"bias{direction}.{both}", arrange)


@dataclass(frozen=True)
class Steps:
    """The input of a recurrent operator, time first, and its lengths."""

    x: Any  # [time, batch, in]
    lengths: Any  # [batch, 1], or None where all are as long as time
    hidden: int

    @property
    def steps(self) -> Any:
        return tf.shape(self.x)[0]

    @property
    def batch(self) -> Any:
        return tf.shape(self.x)[1]

    def projected(self, weight: Any, bias: Any) -> Any:
        """The input's part of all gates for all steps: [time, batch, gates * hidden]."""
        width = self.x.shape[-1] if self.x.shape[-1] is not None else weight.shape[0]
        rows = tf.matmul(tf.reshape(self.x, [-1, tf.shape(weight)[0] if width is None else width]), weight)
        if bias is not None:
            rows = tf.nn.bias_add(rows, bias)
        gates = tf.reshape(rows, tf.stack([self.steps, self.batch, tf.shape(weight)[1]]))
        gates.set_shape([self.x.shape[0], self.x.shape[1], weight.shape[1]])
        return gates

    def initial(self, state: Any, direction: int) -> Any:
        state = tf.zeros(tf.stack([self.batch, self.hidden]), self.x.dtype) if state is None else state[direction]
        return tf.ensure_shape(state, [self.x.shape[1], self.hidden])


def run(
    sequence: Steps,
    gates: Any,
    states: tuple[Any, ...],
    step: Callable[..., tuple[Any, ...]],
    backwards: bool,
    keep: bool,
) -> tuple[Any, tuple[Any, ...]]:
    """Run `step(gates at that time, *states) -> states` over the time; the first state is the output.

    Gives the outputs by time (None unless `keep`) and the last states. In a row whose sequence has ended the states
    stay as they are and the output is 0. Where there was no step at all the last states are 0, as in ONNX Runtime.
    """
    dtype, steps = gates.dtype, sequence.steps
    rows = tf.stack([sequence.batch, tf.shape(gates)[2]])
    out_rows = tf.stack([sequence.batch, sequence.hidden])
    source = tf.raw_ops.TensorListFromTensor(tensor=gates, element_shape=rows)
    kept = tf.raw_ops.TensorListReserve(element_shape=out_rows, num_elements=steps if keep else 0, element_dtype=dtype)
    shape = tf.TensorShape([gates.shape[1], sequence.hidden])

    def body(count: Any, kept: Any, *states: Any) -> tuple[Any, ...]:
        time = steps - 1 - count if backwards else count
        now = tf.raw_ops.TensorListGetItem(input_handle=source, index=time, element_shape=rows, element_dtype=dtype)
        now.set_shape(gates.shape[1:])
        new = step(now, *states)
        out = new[0]
        if sequence.lengths is not None:
            alive = time < sequence.lengths
            out = tf.where(alive, out, tf.zeros_like(out))
            new = tuple(tf.where(alive, after, before) for after, before in zip(new, states, strict=True))
        for state in new:
            state.set_shape(shape)
        if keep:
            kept = tf.raw_ops.TensorListSetItem(input_handle=kept, index=count, item=out)
        return count + 1, kept, *new

    _, kept, *last = tf.while_loop(
        lambda count, *_: count < steps,
        body,
        (tf.constant(0), kept, *states),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape(None), *(shape for _ in states)),
    )
    if sequence.lengths is not None or not gates.shape[0]:
        some = steps > 0 if sequence.lengths is None else sequence.lengths > 0
        last = [tf.where(some, state, tf.zeros_like(state)) for state in last]
    if not keep:
        return None, tuple(last)
    outputs = tf.raw_ops.TensorListStack(input_handle=kept, element_shape=out_rows, element_dtype=dtype)
    outputs.set_shape([gates.shape[0], *shape])
    if backwards:
        outputs = tf.reverse(outputs, [0])
    return outputs, tuple(last)


def prepared(
    node: Node, x: Any, r: Any, hidden_size: int | None, layout: int, lengths: Any, direction: str
) -> tuple[Steps, list[bool]]:
    """The input, time first, and for each direction whether it runs backwards."""
    directions = {"forward": [False], "foward": [False], "reverse": [True], "bidirectional": [False, True]}
    if direction not in directions:
        raise node.refuse(f"runs in the direction '{direction}'", hint="forward, reverse or bidirectional")
    hidden = hidden_size if hidden_size is not None else r.shape[-1]
    if hidden is None:
        raise node.refuse("does not say its hidden_size, and its weights' shape is not known")
    if layout:
        x = tf.transpose(x, [1, 0, 2])
    lengths = None if lengths is None else tf.cast(tf.reshape(lengths, [-1, 1]), tf.int32)
    return Steps(x, lengths, int(hidden)), directions[direction]


def batch_first(state: Any, layout: int) -> Any:
    """Initial states are [directions, batch, hidden] but for layout 1, and the last states likewise."""
    return tf.transpose(state, [1, 0, 2]) if layout and state is not None else state


def answers(outputs: list[Any], states: list[tuple[Any, ...]], layout: int) -> tuple[Any, ...]:
    """ONNX's outputs: Y [time, directions, batch, hidden], or [batch, time, directions, hidden], and the states."""
    y = None if outputs[0] is None else tf.stack(outputs, axis=1)
    if layout and y is not None:
        y = tf.transpose(y, [2, 0, 1, 3])
    return y, *(tf.stack(last, axis=1 if layout else 0) for last in zip(*states, strict=True))
