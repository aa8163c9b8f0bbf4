"""RNN, GRU and LSTM against ONNX Runtime, with known and unknown lengths; doubles against the same in float32."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
DIRECTIONS = ("forward", "reverse", "bidirectional")


def feeds_of(op, *, steps=5, batch=3, width=4, hidden=6, directions=1, dtype=np.float32, seed=0, layout=0):
    draw = np.random.default_rng(seed)

    def some(*shape):
        return (draw.standard_normal(shape) / 2).astype(dtype)

    gates = GATES[op] * hidden
    feeds = {
        "X": some(steps, batch, width), "W": some(directions, gates, width), "R": some(directions, gates, hidden),
        "B": some(directions, 2 * gates), "lens": None, "h": some(directions, batch, hidden),
    }  # fmt: skip
    if op == "LSTM":
        feeds |= {"c": some(directions, batch, hidden), "P": some(directions, 3 * hidden)}
    if layout:
        feeds |= {name: feeds[name].swapaxes(0, 1).copy() for name in ("X", "h", "c") if name in feeds}
    return feeds


def given_inputs(feeds, **replaced):
    """The feeds that are there, and the names of the node's inputs."""
    feeds = feeds | replaced
    names = [name if array is not None else "" for name, array in feeds.items()]
    while not names[-1]:
        names.pop()
    return {name: array for name, array in feeds.items() if array is not None}, names


def check(agrees, op, feeds, *, constants=("W", "R", "B", "P"), **attributes):
    feeds, names = given_inputs(feeds)
    outputs = 3 if op == "LSTM" else 2
    constants = tuple(name for name in constants if name in feeds)
    return agrees(op, feeds, constants, inputs=names, outputs=outputs, opset=14, hidden_size=6, **attributes)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", GATES)
def test_directions(agrees, op, direction):
    both = 2 if direction == "bidirectional" else 1
    feeds = feeds_of(op, directions=both)
    check(agrees, op, feeds | {"P": None} if op == "LSTM" else feeds, direction=direction)
    lens = np.array([5, 2, 3], np.int32)
    check(agrees, op, feeds | {"lens": lens}, direction=direction, constants=())


@pytest.mark.parametrize("op", GATES)
def test_rows_without_a_step_end_in_zeros(agrees, op):
    check(agrees, op, feeds_of(op, steps=4) | {"lens": np.array([4, 0, 2], np.int32)})


def test_a_sequence_without_a_step_has_no_outputs(agrees):
    feeds = feeds_of("RNN", steps=0)
    answers = check(agrees, "RNN", feeds)
    assert answers[0].shape == (0, 1, 3, 6)
    feeds = feeds_of("LSTM", steps=0)
    state = np.zeros((1, 3, 6), np.float32)
    feeds, names = given_inputs(feeds)
    empty = np.zeros((0, 1, 3, 6), np.float32)
    agrees("LSTM", feeds, ("W",), inputs=names, outputs=3, opset=14, hidden_size=6, wanted=[empty, state, state])


@settings(max_examples=12, deadline=None)
@given(
    op=st.sampled_from(sorted(GATES)),
    direction=st.sampled_from(DIRECTIONS),
    clip=st.sampled_from([None, 0.3, 2.0]),
    bias=st.booleans(),
    start=st.booleans(),
    peepholes=st.booleans(),
    option=st.booleans(),
    lens=st.none() | st.lists(st.integers(0, 5), min_size=3, max_size=3),
    data=st.data(),
)
def test_options(agrees, op, direction, clip, bias, start, peepholes, option, lens, data):
    both = 2 if direction == "bidirectional" else 1
    feeds = feeds_of(op, directions=both, seed=data.draw(st.integers(0, 9)))
    if not bias:
        feeds["B"] = None
    if not start:
        feeds |= {name: None for name in ("h", "c") if name in feeds}
    if op == "LSTM" and not peepholes:
        feeds["P"] = None
    if lens is not None:
        feeds["lens"] = np.array(lens, np.int32)
    attributes = {} if clip is None else {"clip": clip}
    if option and op != "RNN":
        attributes["linear_before_reset" if op == "GRU" else "input_forget"] = 1
    names = ["Sigmoid", "HardSigmoid"] if op != "RNN" else []
    others = ["Tanh", "Relu", "LeakyRelu", "Elu", "Softsign", "ScaledTanh"]
    chosen = []
    for _ in range(both):
        gates = [data.draw(st.sampled_from(names))] if names else []
        chosen += gates + [data.draw(st.sampled_from(others)) for _ in range(2 if op == "LSTM" else 1)]
    with_alpha = [name for name in chosen if name in ("HardSigmoid", "LeakyRelu", "Elu", "ScaledTanh")]
    with_beta = [name for name in chosen if name in ("HardSigmoid", "ScaledTanh")]
    attributes |= {"activations": chosen}
    if with_alpha:
        attributes["activation_alpha"] = [0.3 + 0.1 * place for place in range(len(with_alpha))]
    if with_beta:
        attributes["activation_beta"] = [0.5 - 0.1 * place for place in range(len(with_beta))]
    check(agrees, op, feeds, direction=direction, **attributes)


@pytest.mark.parametrize("op", GATES)
def test_batch_first_and_doubles(agrees, op):
    """ONNX Runtime does neither: the answers are those of time first, in float32 in the last."""
    feeds = feeds_of(op, directions=2, dtype=np.float64)
    wide, names = given_inputs(feeds)
    narrow = {name: array.astype(np.float32) for name, array in wide.items()}
    outputs = 3 if op == "LSTM" else 2
    options = {"inputs": names, "outputs": outputs, "opset": 14, "hidden_size": 6, "direction": "bidirectional"}
    answers = agrees(op, narrow, ("W", "R"), **options)
    agrees(op, wide, ("W", "R"), wanted=[one.astype(np.float64) for one in answers], rtol=1e-5, **options)
    turned = [answers[0].transpose(2, 0, 1, 3), *(one.swapaxes(0, 1) for one in answers[1:])]
    moved = {name: narrow[name].swapaxes(0, 1).copy() for name in ("X", "h", "c") if name in narrow}
    agrees(op, narrow | moved, ("W", "R"), wanted=turned, layout=1, **options)


def test_what_is_refused_names_the_node(agrees):
    feeds, names = given_inputs(feeds_of("RNN"))
    wanted = [np.zeros(())]
    with pytest.raises(ConversionFailed, match="'Cosine'") as found:
        agrees("RNN", feeds, inputs=names, activations=["Cosine"], wanted=wanted)
    assert "tanh" in found.value.hint
    with pytest.raises(ConversionFailed, match="'sideways'"):
        agrees("RNN", feeds, inputs=names, direction="sideways", wanted=wanted)
