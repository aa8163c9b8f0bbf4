"""RNN, LSTM and GRU: what one time step computes, with as few operations as it can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import tensorflow as tf

from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator
from mlconvert.tensorflow.recurrence import Activation, Weights, activations_of, answers, batch_first, prepared, run


def rnn(
    x: Any,
    w: Any,
    r: Any,
    b: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    *,
    activations: tuple[str, ...] = (),
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    output_sequence: int = 0,  # noqa: ARG001 - opset 1 to 6: whether Y may be left out
    node: Node,
) -> tuple[Any, ...]:
    sequence, backwards = prepared(node, x, r, hidden_size, layout, sequence_lens, direction)
    names = activations or ("Tanh",) * len(backwards)
    functions = activations_of(node, names, len(backwards), activation_alpha, activation_beta, clip)
    weights, initial_h = Weights(node, "rnn"), batch_first(initial_h, layout)
    outputs, states = [], []
    for at, back in enumerate(backwards):
        recurrence = weights.matrix(2, r, at)
        bias = weights.bias(3, b, at, sequence.hidden, sequence.hidden)
        f = functions[at]

        def step(now: Any, h: Any, recurrence: Any = recurrence, f: Activation = f) -> tuple[Any, ...]:
            return (f(now + tf.matmul(h, recurrence)),)

        gates = sequence.projected(weights.matrix(1, w, at), bias)
        out, last = run(sequence, gates, (sequence.initial(initial_h, at),), step, back, node.wants(0))
        outputs.append(out)
        states.append(last)
    return answers(outputs, states, layout)


def gru(
    x: Any,
    w: Any,
    r: Any,
    b: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    *,
    activations: tuple[str, ...] = (),
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
    output_sequence: int = 0,  # noqa: ARG001 - opset 1 to 6: whether Y may be left out
    node: Node,
) -> tuple[Any, ...]:
    """Gates in ONNX's order: update z, reset r, hidden h."""
    sequence, backwards = prepared(node, x, r, hidden_size, layout, sequence_lens, direction)
    hidden = sequence.hidden
    names = activations or ("Sigmoid", "Tanh") * len(backwards)
    functions = activations_of(node, names, 2 * len(backwards), activation_alpha, activation_beta, clip)
    weights, initial_h = Weights(node, "gru"), batch_first(initial_h, layout)
    outputs, states = [], []
    for at, back in enumerate(backwards):
        f, g = functions[2 * at : 2 * at + 2]
        if linear_before_reset:
            # The reset gate multiplies the recurrence's product together with its bias, which stays apart therefore.
            bias = weights.bias(3, b, at, 3 * hidden, 2 * hidden)
            inner = weights.vector(3, b, at, 5 * hidden, 6 * hidden)
            step = _gru_linear_before_reset(weights.matrix(2, r, at), inner, hidden, f, g)
        else:
            bias = weights.bias(3, b, at, 3 * hidden, 3 * hidden)
            gate, candidate = (weights.columns(2, r, at, *part) for part in ((0, 2 * hidden), (2 * hidden, 3 * hidden)))
            step = _gru_reset_first(gate, candidate, hidden, f, g)
        gates = sequence.projected(weights.matrix(1, w, at), bias)
        out, last = run(sequence, gates, (sequence.initial(initial_h, at),), step, back, node.wants(0))
        outputs.append(out)
        states.append(last)
    return answers(outputs, states, layout)


def _gru_linear_before_reset(
    recurrence: Any, bias: Any, hidden: int, f: Activation, g: Activation
) -> Callable[..., tuple[Any, ...]]:
    def step(now: Any, h: Any) -> tuple[Any, ...]:
        gates, candidate = tf.split(now, [2 * hidden, hidden], axis=1)
        of_gates, of_candidate = tf.split(tf.matmul(h, recurrence), [2 * hidden, hidden], axis=1)
        z, reset = tf.split(f(gates + of_gates), 2, axis=1)
        if bias is not None:
            of_candidate += bias
        new = g(candidate + reset * of_candidate)
        return (new + z * (h - new),)

    return step


def _gru_reset_first(
    gate: Any, candidate: Any, hidden: int, f: Activation, g: Activation
) -> Callable[..., tuple[Any, ...]]:
    def step(now: Any, h: Any) -> tuple[Any, ...]:
        gates, of_candidate = tf.split(now, [2 * hidden, hidden], axis=1)
        z, reset = tf.split(f(gates + tf.matmul(h, gate)), 2, axis=1)
        new = g(of_candidate + tf.matmul(reset * h, candidate))
        return (new + z * (h - new),)

    return step


def lstm(
    x: Any,
    w: Any,
    r: Any,
    b: Any = None,
    sequence_lens: Any = None,
    initial_h: Any = None,
    initial_c: Any = None,
    p: Any = None,
    *,
    activations: tuple[str, ...] = (),
    activation_alpha: tuple[float, ...] = (),
    activation_beta: tuple[float, ...] = (),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
    output_sequence: int = 0,  # noqa: ARG001 - opset 1 to 6: whether Y may be left out
    node: Node,
) -> tuple[Any, ...]:
    """Gates in ONNX's order: input i, output o, forget f, cell c."""
    sequence, backwards = prepared(node, x, r, hidden_size, layout, sequence_lens, direction)
    names = activations or ("Sigmoid", "Tanh", "Tanh") * len(backwards)
    functions = activations_of(node, names, 3 * len(backwards), activation_alpha, activation_beta, clip)
    weights, hidden = Weights(node, "lstm"), sequence.hidden
    initial_h, initial_c = batch_first(initial_h, layout), batch_first(initial_c, layout)
    outputs, states = [], []
    for at, back in enumerate(backwards):
        recurrence = weights.matrix(2, r, at)
        bias = weights.bias(3, b, at, 4 * hidden, 4 * hidden)
        # `clip` bounds what goes into the gates, not the cell's value.
        chosen = (*functions[3 * at : 3 * at + 2], replace(functions[3 * at + 2], clip=None))
        if p is None:
            step = _lstm_step(recurrence, hidden, chosen, bool(input_forget))
        else:
            peepholes = tuple(weights.vector(7, p, at, n * hidden, (n + 1) * hidden) for n in range(3))
            step = _lstm_peepholes(recurrence, chosen, bool(input_forget), peepholes)
        gates = sequence.projected(weights.matrix(1, w, at), bias)
        start = (sequence.initial(initial_h, at), sequence.initial(initial_c, at))
        out, last = run(sequence, gates, start, step, back, node.wants(0))
        outputs.append(out)
        states.append(last)
    return answers(outputs, states, layout)


def _lstm_step(
    recurrence: Any, hidden: int, functions: tuple[Activation, ...], coupled: bool
) -> Callable[..., tuple[Any, ...]]:
    f, g, h_of = functions

    def step(now: Any, h: Any, c: Any) -> tuple[Any, ...]:
        gates, cell = tf.split(now + tf.matmul(h, recurrence), [3 * hidden, hidden], axis=1)
        take, give, keep = tf.split(f(gates), 3, axis=1)
        new = keep * c + take * g(cell) if not coupled else c + take * (g(cell) - c)
        return give * h_of(new), new

    return step


def _lstm_peepholes(
    recurrence: Any, functions: tuple[Activation, ...], coupled: bool, peepholes: tuple[Any, ...]
) -> Callable[..., tuple[Any, ...]]:
    f, g, h_of = functions
    of_take, of_give, of_keep = peepholes

    def step(now: Any, h: Any, c: Any) -> tuple[Any, ...]:
        take, give, keep, cell = tf.split(now + tf.matmul(h, recurrence), 4, axis=1)
        take = f(take + of_take * c)
        keep = 1 - take if coupled else f(keep + of_keep * c)
        new = keep * c + take * g(cell)
        return f(give + of_give * new) * h_of(new), new

    return step


OPERATORS = (
    Operator("RNN", 1, rnn, arranges=(1, 2, 3)),
    Operator("GRU", 1, gru, arranges=(1, 2, 3)),
    Operator("LSTM", 1, lstm, arranges=(1, 2, 3, 7)),
)
