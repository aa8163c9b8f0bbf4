"""What TensorFlow's own optimiser gets wrong when it loads a graph, and we write around."""

from __future__ import annotations

import numpy as np
import pytest

MONOTONIC = ("Neg", "Relu", "Sigmoid", "Tanh", "Exp", "Floor", "Softplus")
EXTREMES = {
    "ReduceMax": "y = ReduceMax <axes = [2], keepdims = 0> (z)",
    "ReduceMin": "y = ReduceMin <axes = [2]> (z)",
    "ArgMax": "y = ArgMax <axis = 2> (z)",
    "ArgMin": "y = ArgMin <axis = 2, keepdims = 0> (z)",
    "Hardmax": "y = Hardmax <axis = 2> (z)",
    "MaxPool": "y = MaxPool <kernel_shape = [2, 2]> (z)",
    "GlobalMaxPool": "y = GlobalMaxPool (z)",
}


@pytest.mark.parametrize("extreme", EXTREMES)
def test_an_extreme_of_a_monotonic_function(graph_agrees, extreme):
    """Of the second of two outputs, and of values among which several become equal."""
    kind = "int64" if extreme.startswith("Arg") else "float"
    x = np.random.default_rng(0).uniform(-3, 3, (2, 4, 6, 5)).astype(np.float32)
    x[0] = -np.abs(x[0])
    for name in MONOTONIC:
        axes = "a, b, c" if "keepdims = 0" in EXTREMES[extreme] else "a, b, c, d"
        nodes = f"first, second = Split <axis = 1> (x) z = {name} (second) {EXTREMES[extreme]}"
        graph_agrees(f"g (float[2, 4, 6, 5] x) => ({kind}[{axes}] y) {{ {nodes} }}", {"x": x})


@pytest.mark.parametrize("slope", [0.5, 2.0, -3.0])
def test_the_larger_one_of_a_value_and_its_multiple(graph_agrees, slope):
    x = np.random.default_rng(0).uniform(-3, 3, (2, 3, 6)).astype(np.float32)
    graph_agrees(
        f"g (float[2, 3, 6] x) => (float[2, 3, 6] y, float[2, 3, 6] z) <float slope = {{{slope}}}> "
        "{ multiple = Mul (x, slope) y = Max (multiple, x) z = Max (x, multiple) }",
        {"x": x},
    )


@pytest.mark.parametrize("shape", [(6, 1), (3, 1, 1), (1, 1, 6, 1), (1, 3, 1, 1), (2, 1, 1, 1), (1, 1, 1, 1)])
def test_a_constant_added_to_what_has_a_bias(graph_agrees, shape):
    rng = np.random.default_rng(0)
    listed = ", ".join(map(str, rng.uniform(-1, 1, int(np.prod(shape))).astype(np.float32).tolist()))
    weights = "float[3, 2, 1, 1] w = {1, 2, 3, 4, 5, 6}, float[3] b = {1, -1, 2}"
    constant = f"float[{', '.join(map(str, shape))}] c = {{{listed}}}"
    nodes = "z = Conv (x, w, b) y = Add (c, z)"
    graph = f"g (float[2, 2, 6, 5] x) => (float[a, b, c, d] y) <{weights}, {constant}> {{ {nodes} }}"
    graph_agrees(graph, {"x": rng.standard_normal((2, 2, 6, 5)).astype(np.float32)})
