"""Attention against ONNX Runtime where it has the operator, else against the same written out in numpy."""

import math

import numpy as np
import pytest
from onnx import TensorProto, helper

from mlconvert.errors import ConversionFailed


def some(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def softmax(scores):
    with np.errstate(invalid="ignore"):
        weights = np.exp(scores - np.max(scores, -1, keepdims=True))
        return np.nan_to_num(weights / weights.sum(-1, keepdims=True))


def written_out(q, k, v, bias=0.0, softcap=0.0, scale=None):
    """[batch, heads, sequence, size] for all, with as many heads."""
    scores = q @ np.swapaxes(k, -1, -2) * (scale or 1 / math.sqrt(q.shape[-1]))
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
    return softmax(scores + bias) @ v


@pytest.mark.parametrize("heads", [4, 2, 1])
@pytest.mark.parametrize("options", [{}, {"is_causal": 1}, {"softcap": 1.5, "scale": 0.3}])
def test_four_axes(agrees, heads, options):
    """Heads that share keys and values; sizes of keys and values differ."""
    feeds = {"q": some(2, 4, 3, 8), "k": some(2, heads, 5, 8), "v": some(2, heads, 5, 6)}
    agrees("Attention", feeds, opset=23, rtol=1e-5, **options)


@pytest.mark.parametrize("heads", [4, 2])
def test_three_axes(agrees, heads):
    feeds = {"q": some(2, 3, 32), "k": some(2, 5, heads * 8), "v": some(2, 5, heads * 6)}
    agrees("Attention", feeds, opset=23, q_num_heads=4, kv_num_heads=heads)


@pytest.mark.parametrize("shape", [(3, 5), (1, 1, 3, 5), (2, 4, 3, 5), (4, 1, 5)])
@pytest.mark.parametrize("boolean", [True, False])
def test_masks(agrees, shape, boolean):
    mask = some(*shape, seed=1)
    if boolean:
        mask = mask > -0.5
        mask[..., 0] = True
    feeds = {"q": some(2, 4, 3, 8), "k": some(2, 2, 5, 8), "v": some(2, 2, 5, 6), "mask": mask}
    bias = np.where(mask, 0, -np.inf) if boolean else mask
    k, v = (np.repeat(feeds[name], 2, axis=1) for name in "kv")
    wanted = [written_out(feeds["q"], k, v, bias).astype(np.float32)]
    agrees("Attention", feeds, opset=23, wanted=wanted)


def test_a_query_that_sees_nothing_gets_zeros(agrees):
    mask = np.array([[True, False], [False, False]])
    feeds = {"q": some(1, 1, 2, 4), "k": some(1, 1, 2, 4), "v": some(1, 1, 2, 4), "mask": mask}
    wanted = np.stack([feeds["v"][0, 0, 0], np.zeros(4, np.float32)])[None, None]
    agrees("Attention", feeds, opset=23, wanted=[wanted])


def test_a_mask_that_is_too_short_hides_the_rest(agrees):
    mask = some(3, 4, seed=1)
    feeds = {"q": some(1, 2, 3, 8), "k": some(1, 2, 6, 8), "v": some(1, 2, 6, 8), "mask": mask}
    wanted = [written_out(feeds["q"], feeds["k"][:, :, :4], feeds["v"][:, :, :4], mask)]
    agrees("Attention", feeds, opset=23, wanted=wanted)


@pytest.mark.parametrize("causal", [0, 1])
def test_a_cache(agrees, causal):
    """The past is put before keys and values, and a causal query sees all of it."""
    feeds = {"q": some(2, 3, 2, 8), "k": some(2, 3, 2, 8), "v": some(2, 3, 2, 8)}
    past = {"pk": some(2, 3, 4, 8, seed=2), "pv": some(2, 3, 4, 8, seed=3)}
    keys, values = (np.concatenate([past[f"p{name}"], feeds[name]], axis=2) for name in "kv")
    bias = np.where(np.arange(6) <= np.arange(2)[:, None] + 4, 0, -np.inf) if causal else 0.0
    wanted = [written_out(feeds["q"], keys, values, bias), keys, values]
    wanted = [one.astype(np.float32) for one in wanted]
    names = ["q", "k", "v", "", "pk", "pv"]
    agrees("Attention", feeds | past, inputs=names, outputs=3, opset=23, is_causal=causal, wanted=wanted)


def test_a_padded_cache_and_windows(agrees):
    feeds = {"q": some(2, 1, 2, 4), "k": some(2, 1, 6, 4), "v": some(2, 1, 6, 4), "valid": np.array([3, 6])}
    places = np.arange(2)[:, None] + (feeds["valid"] - 2).reshape(2, 1, 1, 1)
    keys = np.arange(6)
    seen = (keys <= places) & (keys >= places - 1) & (keys < feeds["valid"].reshape(2, 1, 1, 1))
    wanted = [written_out(feeds["q"], feeds["k"], feeds["v"], np.where(seen, 0, -np.inf)).astype(np.float32)]
    names = ["q", "k", "v", "", "", "", "valid"]
    options = {"is_causal": 1, "left_window_size": 1, "wanted": wanted}
    agrees("Attention", feeds, inputs=names, opset=25, **options)


def test_doubles_stay_doubles(agrees):
    feeds = {name: some(1, 2, 3, 4, seed=seed, dtype=np.float64) for seed, name in enumerate("qkv")}
    wanted = [written_out(*feeds.values())]
    agrees("Attention", feeds, opset=23, wanted=wanted, rtol=1e-14, atol=1e-15)


def test_scores_are_an_output_at_four_stages(agrees):
    feeds = {"q": some(1, 2, 3, 4), "k": some(1, 2, 5, 4), "v": some(1, 2, 5, 4), "mask": some(3, 5, seed=4)}
    raw = feeds["q"] @ np.swapaxes(feeds["k"], -1, -2) / 2
    capped = 2 * np.tanh(raw / 2)
    stages = [raw, capped, capped + feeds["mask"], softmax(capped + feeds["mask"])]
    answer = stages[3] @ feeds["v"]
    for mode, stage in enumerate(stages):
        wanted = [answer, feeds["k"], feeds["v"], stage]
        agrees("Attention", feeds, outputs=4, opset=23, softcap=2.0, qk_matmul_output_mode=mode, wanted=wanted)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("part", [0, 4])
@pytest.mark.parametrize("packed", [False, True])
def test_rotary_positions(agrees, interleaved, part, packed):
    half = (part or 8) // 2
    feeds = {
        "x": some(2, 5, 24) if packed else some(2, 3, 5, 8), "cos": some(10, half), "sin": some(10, half, seed=1),
        "at": np.array([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]),
    }  # fmt: skip
    options = {"interleaved": interleaved, "rotary_embedding_dim": part}
    agrees("RotaryEmbedding", feeds, ("cos", "sin"), opset=23, **options, **({"num_heads": 3} if packed else {}))


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_linear_attention(agrees, rule, steps):
    """Against the recurrence of its definition, query heads in groups of two."""
    q, k, v = some(2, steps, 4, 3), some(2, steps, 2, 3, seed=1), some(2, steps, 2, 5, seed=2)
    decay, beta = -np.abs(some(2, steps, 2, seed=3)), np.abs(some(2, steps, 2, seed=4)) / 4
    past = some(2, 2, 3, 5, seed=5)
    state, found = past.copy(), np.zeros((2, steps, 4, 5), np.float32)
    for time in range(steps):
        if rule.startswith("gated"):
            state = state * np.exp(decay[:, time, :, None, None])
        new = v[:, time]
        if rule.endswith("delta"):
            new = beta[:, time, :, None] * (new - np.einsum("bhkv,bhk->bhv", state, k[:, time]))
        state = state + k[:, time, :, :, None] * new[:, :, None]
        found[:, time] = np.einsum("bhkv,bhk->bhv", np.repeat(state, 2, 1), q[:, time]) / math.sqrt(3)
    feeds = {
        name: array.reshape(2, steps, math.prod(array.shape[2:])) for name, array in zip("qkv", (q, k, v), strict=True)
    }
    feeds |= {"past": past, "decay": decay, "beta": beta}
    names = ["q", "k", "v", "past", "decay" if rule.startswith("gated") else "", "beta"]
    options = {"q_num_heads": 4, "kv_num_heads": 2, "update_rule": rule}
    wanted = [found.reshape(2, steps, 20), state]
    agrees("LinearAttention", feeds, inputs=names, outputs=2, opset=27, wanted=wanted, **options)


@pytest.mark.parametrize("steps", [0, 1, 6])
@pytest.mark.parametrize("size", [1, 3])
def test_causal_convolutions(agrees, steps, size):
    feeds = {"x": some(2, 3, steps), "w": some(3, 1, size, seed=1), "b": some(3, seed=2), "past": some(2, 3, size - 1)}
    padded = np.concatenate([feeds["past"], feeds["x"]], 2)
    sums = sum(padded[:, :, tap : tap + steps] * feeds["w"][:, :, tap] for tap in range(size)) + feeds["b"][:, None]
    wanted = [sums / (1 + np.exp(-sums)), padded[:, :, steps:]]
    agrees("CausalConvWithState", feeds, ("b",), outputs=2, opset=27, activation="silu", wanted=wanted)


def test_flex_attention_runs_its_graphs(graph_agrees):
    def body(name, op):
        value = helper.make_tensor_value_info
        return helper.make_graph(
            [helper.make_node(op, ["s"], ["t"])], name,
            [value("s", TensorProto.FLOAT, [None] * 4)], [value("t", TensorProto.FLOAT, [None] * 4)],
        )  # fmt: skip

    node = helper.make_node(
        "FlexAttention", ["q", "k", "v"], ["y"], domain="ai.onnx.preview",
        score_mod=body("scores", "Tanh"), prob_mod=body("weights", "Sqrt"),
    )  # fmt: skip
    feeds = {"q": some(2, 4, 3, 8), "k": some(2, 2, 5, 8), "v": some(2, 2, 5, 6)}
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feeds.items()]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)])
    opsets = [helper.make_opsetid("", 25), helper.make_opsetid("ai.onnx.preview", 1)]
    k, v = (np.repeat(feeds[name], 2, axis=1) for name in "kv")
    scores = np.tanh(feeds["q"] @ np.swapaxes(k, -1, -2) / np.float32(math.sqrt(8)))
    wanted = [np.sqrt(softmax(scores)) @ v]
    graph_agrees(helper.make_model(graph, opset_imports=opsets, ir_version=10), feeds, wanted=wanted)


def test_three_axes_need_the_number_of_heads(agrees):
    feeds = {"q": some(2, 3, 32), "k": some(2, 5, 32), "v": some(2, 5, 32)}
    with pytest.raises(ConversionFailed, match="number of heads"):
        agrees("Attention", feeds, opset=23, wanted=[np.zeros(())])
