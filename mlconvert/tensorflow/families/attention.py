"""Scaled dot products of queries and keys, rotary positions, and the linear attentions that run as a recurrence.

Heads that share keys and values are never repeated: the queries of a group become rows of one product. float16 and
bfloat16 are computed as float32.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from mlconvert.tensorflow import kernels
from mlconvert.tensorflow.node import Node
from mlconvert.tensorflow.operators import Operator

if TYPE_CHECKING:
    import onnx


def _wide(tensor: Any) -> Any:
    return tf.cast(tensor, tf.float32) if tensor is not None and tensor.dtype in kernels.HALVES else tensor


def _dtype(code: int) -> tf.DType:
    from onnx import helper

    return tf.as_dtype(helper.tensor_dtype_to_np_dtype(code))


def _reshaped(tensor: Any, *sizes: Any) -> Any:
    """Reshape to sizes that are ints or scalars; the static shape keeps the ints."""
    answer = tf.reshape(tensor, tf.stack([tf.cast(size, tf.int32) for size in sizes]))
    answer.set_shape([size if isinstance(size, int) and size >= 0 else None for size in sizes])
    return answer


def _by_head(tensor: Any, heads: int | None, node: Node) -> Any:
    """[batch, sequence, heads * size] -> [batch, heads, sequence, size]."""
    if not heads:
        raise node.refuse("has inputs of three axes, and does not say the number of heads")
    width = tensor.shape[-1]
    split = _reshaped(
        tensor, kernels.length(tensor, 0), kernels.length(tensor, 1), heads, -1 if width is None else width // heads
    )
    return tf.transpose(split, [0, 2, 1, 3])


def _merged(tensor: Any) -> Any:
    """[batch, heads, sequence, size] -> [batch, sequence, heads * size]."""
    batch, heads, steps, size = (kernels.length(tensor, axis) for axis in range(4))
    return _reshaped(tf.transpose(tensor, [0, 2, 1, 3]), batch, steps, heads * size)


def _grouped(q: Any, kv_heads: Any) -> Any:
    """The queries of the heads that share a key as rows of one: [batch, kv heads, group * sequence, size]."""
    if _same(q.shape[1], kv_heads):
        return q
    batch, size = kernels.length(q, 0), kernels.length(q, 3)
    return _reshaped(q, batch, kv_heads, -1, size)


def _ungrouped(rows: Any, q: Any) -> Any:
    """Back to [batch, query heads, sequence, …]."""
    if _same(q.shape[1], rows.shape[1]):
        return rows
    return _reshaped(rows, *(kernels.length(q, axis) for axis in range(3)), kernels.length(rows, 3))


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, int) and isinstance(other, int) and one == other


def _scale(scale: float | None, q: Any) -> Any:
    if scale is not None:
        return tf.constant(scale, q.dtype)
    size = q.shape[-1]
    return tf.constant(1 / math.sqrt(size), q.dtype) if size else tf.math.rsqrt(tf.cast(tf.shape(q)[-1], q.dtype))


def attention(
    q: Any,
    k: Any,
    v: Any,
    attn_mask: Any = None,
    past_key: Any = None,
    past_value: Any = None,
    nonpad_kv_seqlen: Any = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int = 0,
    node: Node,
) -> tuple[Any, ...]:
    packed, dtype = q.shape.rank == 3, q.dtype
    if packed:
        q, k, v = _by_head(q, q_num_heads, node), _by_head(k, kv_num_heads, node), _by_head(v, kv_num_heads, node)
    key = k if past_key is None else tf.concat([past_key, k], 2)
    value = v if past_value is None else tf.concat([past_value, v], 2)
    q, k, v = _wide(q), _wide(key), _wide(value)
    product = tf.matmul(_grouped(q * _scale(scale, q), kernels.length(k, 1)), k, transpose_b=True)
    scores = raw = _ungrouped(product, q)
    if softcap:
        scores = softcap * tf.tanh(scores / softcap)
    capped = scores
    offset: Any = 0
    if past_key is not None:
        offset = kernels.length(past_key, 2)
    elif nonpad_kv_seqlen is not None:
        valid = tf.cast(tf.reshape(nonpad_kv_seqlen, [-1, 1, 1, 1]), tf.int32)
        offset = valid - kernels.length(q, 2)
    allowed = _allowed(q, k, offset, bool(is_causal), left_window_size, right_window_size, nonpad_kv_seqlen)
    bias = _bias(allowed, attn_mask, k, scores.dtype)
    if bias is not None:
        scores = scores + bias
    biased = scores
    if softmax_precision and _dtype(softmax_precision) not in kernels.HALVES:
        scores = tf.cast(scores, _dtype(softmax_precision))
    weights = tf.nn.softmax(scores, axis=-1)
    if bias is not None:
        # A query that may attend to no key gets zeros, whatever its scores were.
        nothing = tf.equal(tf.reduce_max(bias, axis=-1, keepdims=True), -math.inf)
        weights = tf.where(nothing, tf.zeros((), weights.dtype), weights)
    weights = tf.cast(weights, q.dtype)
    answer = _ungrouped(tf.matmul(_grouped(weights, kernels.length(v, 1)), v), q)
    if packed:
        answer = _merged(answer)
    shown = (raw, capped, biased, weights)[qk_matmul_output_mode]
    return tf.cast(answer, dtype), key, value, tf.cast(shown, dtype)


def _allowed(q: Any, k: Any, offset: Any, causal: bool, left: int, right: int, nonpad: Any) -> Any:
    """Which keys a query may see by its position: a mask that broadcasts to [batch, heads, queries, keys], or None.

    The first query stands at `offset`.
    """
    keys = tf.range(kernels.length(k, 2))
    places = tf.range(kernels.length(q, 2))[:, tf.newaxis] + offset
    found = []
    if causal:
        found.append(keys <= places)
    if left >= 0:
        found.append(keys >= places - left)
    if right >= 0:
        found.append(keys <= places + right)
    if nonpad is not None:
        found.append(keys < tf.cast(tf.reshape(nonpad, [-1, 1, 1, 1]), tf.int32))
    if not found:
        return None
    mask = found[0]
    for one in found[1:]:
        mask = tf.logical_and(mask, one)
    return mask


def _bias(allowed: Any, mask: Any, k: Any, dtype: tf.DType) -> Any:
    """What is added to the scores: minus infinity where a key is not seen; a mask that is too short hides the rest."""
    never = tf.constant(-math.inf, dtype)
    bias = None if allowed is None else tf.where(allowed, tf.zeros((), dtype), never)
    if mask is None:
        return bias
    mask = tf.where(mask, tf.zeros((), dtype), never) if mask.dtype == tf.bool else tf.cast(mask, dtype)
    keys, width = kernels.length(k, 2), kernels.length(mask, -1)
    if not _same(keys, width):
        missing = tf.maximum(keys - width, 0)
        pads = [[0, 0]] * (mask.shape.rank - 1) + [[0, missing]]
        mask = tf.pad(mask, pads, constant_values=-math.inf)
    return mask if bias is None else bias + mask


def rotary(
    x: Any,
    cos_cache: Any,
    sin_cache: Any,
    position_ids: Any = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    node: Node,
) -> Any:
    packed = x.shape.rank == 3
    if packed:
        rows, width = (kernels.length(x, axis) for axis in range(2)), x.shape[-1]
        if not num_heads:
            raise node.refuse("has an input of three axes, and does not say the number of heads")
        heads = _reshaped(x, *rows, num_heads, -1 if width is None else width // num_heads)
    else:
        heads = tf.transpose(x, [0, 2, 1, 3])
    # From here on [batch, sequence, heads, size].
    cos, sin = cos_cache, sin_cache
    if position_ids is not None:
        cos, sin = tf.gather(cos, position_ids), tf.gather(sin, position_ids)
    cos, sin = cos[:, :, tf.newaxis], sin[:, :, tf.newaxis]
    turned, rest = heads, None
    if rotary_embedding_dim:
        turned, rest = heads[..., :rotary_embedding_dim], heads[..., rotary_embedding_dim:]
    if interleaved:
        real, imaginary = turned[..., 0::2], turned[..., 1::2]
    else:
        real, imaginary = tf.split(turned, 2, axis=-1)
    parts = [cos * real - sin * imaginary, sin * real + cos * imaginary]
    answer = tf.reshape(tf.stack(parts, -1), tf.shape(turned)) if interleaved else tf.concat(parts, -1)
    answer = tf.ensure_shape(answer, turned.shape)
    if rest is not None:
        answer = tf.concat([answer, rest], -1)
    if packed:
        return tf.ensure_shape(tf.reshape(answer, tf.shape(x)), x.shape)
    return tf.transpose(answer, [0, 2, 1, 3])


def flex_attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    prob_mod: onnx.GraphProto | None = None,
    scale: float | None = None,
    score_mod: onnx.GraphProto | None = None,
    softmax_precision: int = 0,
    node: Node,
) -> Any:
    dtype = q.dtype
    precision = _dtype(softmax_precision) if softmax_precision else tf.float64 if dtype == tf.float64 else tf.float32
    q, k, v = _wide(q), _wide(k), _wide(v)
    heads = kernels.length(k, 1)
    scores = _ungrouped(tf.matmul(_grouped(q * _scale(scale, q), heads), k, transpose_b=True), q)
    scores = tf.cast(scores, precision)
    if score_mod is not None:
        scores = node.lower(score_mod, scores)[0]
    weights = tf.nn.softmax(scores, axis=-1)
    if prob_mod is not None:
        weights = node.lower(prob_mod, weights)[0]
    weights = tf.cast(weights, q.dtype)
    return tf.cast(_ungrouped(tf.matmul(_grouped(weights, heads), v), q), dtype)


def linear_attention(
    query: Any,
    key: Any,
    value: Any,
    past_state: Any = None,
    decay: Any = None,
    beta: Any = None,
    *,
    chunk_size: int = 64,  # noqa: ARG001 - a hint for other hardware
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
    node: Node,
) -> tuple[Any, Any]:
    """A step of the recurrence is a step of the loop; the state is [batch, kv heads, key size, value size]."""
    rules = ("linear", "gated", "delta", "gated_delta")
    if update_rule not in rules:
        raise node.refuse(f"has the update rule '{update_rule}'", hint=f"one of: {', '.join(rules)}")
    dtype, gated, delta = query.dtype, update_rule.startswith("gated"), update_rule.endswith("delta")
    batch, steps = tf.shape(query)[0], tf.shape(query)[1]
    group = q_num_heads // kv_num_heads

    def by_time(tensor: Any, *sizes: Any) -> Any:
        """[batch, time, heads * …] -> [time, batch, heads, …], as float32."""
        split = _reshaped(_wide(tensor), batch, steps, *sizes)
        return tf.transpose(split, [1, 0, *range(2, 2 + len(sizes))])

    d_k, d_v = kernels.length(key, -1) // kv_num_heads, kernels.length(value, -1) // kv_num_heads
    q = by_time(query, kv_num_heads, group, d_k)
    q *= _scale(scale or None, q)
    k, v = by_time(key, kv_num_heads, d_k), by_time(value, kv_num_heads, d_v)
    gate = rate = None
    if gated:  # one for each head, or for each element of a key
        gate = tf.exp(by_time(decay, kv_num_heads, kernels.length(decay, -1) // kv_num_heads))[..., tf.newaxis]
    if delta:  # one for all heads, or for each
        rate = by_time(beta, kernels.length(beta, -1), 1)
    sizes = tf.stack([batch, kv_num_heads, d_k, d_v])
    state = tf.zeros(sizes, q.dtype) if past_state is None else tf.cast(past_state, q.dtype)
    shape = tf.TensorShape([query.shape[0], kv_num_heads, *(n if isinstance(n, int) else None for n in (d_k, d_v))])
    rows = tf.stack([batch, kv_num_heads, group, d_v])
    kept = tf.raw_ops.TensorListReserve(element_shape=rows, num_elements=steps, element_dtype=q.dtype)

    def step(time: Any, state: Any, kept: Any) -> tuple[Any, Any, Any]:
        now, new = k[time], v[time]
        if gate is not None:
            state = state * gate[time]
        if rate is not None:
            recalled = tf.squeeze(tf.matmul(now[:, :, tf.newaxis], state), 2)
            new = rate[time] * (new - recalled)
        state = state + now[..., tf.newaxis] * new[:, :, tf.newaxis]
        out = tf.matmul(q[time], state)
        state.set_shape(shape)
        return time + 1, state, tf.raw_ops.TensorListSetItem(input_handle=kept, index=time, item=out)

    _, state, kept = tf.while_loop(
        lambda time, *_: time < steps,
        step,
        (tf.constant(0), state, kept),
        shape_invariants=(tf.TensorShape([]), shape, tf.TensorShape(None)),
    )
    stacked = tf.raw_ops.TensorListStack(input_handle=kept, element_shape=rows, element_dtype=q.dtype)
    merged = tf.reshape(tf.transpose(stacked, [1, 0, 2, 3, 4]), tf.stack([batch, steps, q_num_heads * d_v]))
    merged.set_shape([query.shape[0], query.shape[1], q_num_heads * d_v if isinstance(d_v, int) else None])
    return tf.cast(merged, dtype), tf.cast(state, dtype if past_state is None else past_state.dtype)


def causal_conv(
    x: Any, weight: Any, bias: Any = None, past_state: Any = None, *, activation: str = "none", node: Node
) -> tuple[Any, Any]:
    """A depthwise convolution along time that sees nothing later; the state is its last inputs."""
    if activation not in ("none", "silu", "swish"):
        raise node.refuse(f"has the activation '{activation}'", hint="none, silu or swish")
    dtype, size, steps = x.dtype, kernels.length(weight, -1), tf.shape(x)[2]
    past = tf.zeros(tf.stack([tf.shape(x)[0], tf.shape(x)[1], size - 1]), dtype) if past_state is None else past_state
    padded = tf.concat([past, x], 2)
    total = _taps(_wide(padded), _wide(weight)[:, 0], size, steps)
    if bias is not None:
        total += tf.cast(bias, total.dtype)[:, tf.newaxis]
    if activation != "none":
        total = tf.nn.silu(total)
    state = padded[:, :, steps:]
    state.set_shape([x.shape[0], x.shape[1], size - 1 if isinstance(size, int) else None])
    return tf.ensure_shape(tf.cast(total, dtype), x.shape), state


def _taps(padded: Any, weight: Any, size: Any, steps: Any) -> Any:
    """The sum over the taps of the kernel of the input moved by as much, times the tap; no layout is changed."""
    if not isinstance(size, int):
        windows = tf.gather(padded, tf.range(steps)[:, tf.newaxis] + tf.range(size), axis=2)
        return tf.einsum("bctk,ck->bct", windows, weight)
    total = padded[:, :, :steps] * weight[:, :1]
    for tap in range(1, size):
        total += padded[:, :, tap : tap + steps] * weight[:, tap : tap + 1]
    return total


OPERATORS = (
    Operator("Attention", 23, attention),
    Operator("RotaryEmbedding", 23, rotary),
    Operator("LinearAttention", 27, linear_attention),
    Operator("CausalConvWithState", 27, causal_conv),
    Operator("FlexAttention", 1, flex_attention, domain="ai.onnx.preview"),
)
