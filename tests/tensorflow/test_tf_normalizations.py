"""Normalizations against ONNX Runtime, and against numpy for what it lacks."""

from __future__ import annotations

import numpy as np
import pytest


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def statistics(channels, dtype=np.float32):
    return {
        "scale": normal(channels, dtype=dtype), "b": normal(channels, dtype=dtype, seed=1),
        "mean": normal(channels, dtype=dtype, seed=2),
        "var": np.abs(normal(channels, dtype=dtype, seed=3)) + dtype(0.1),
    }  # fmt: skip


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 5, 4), (2, 3, 2, 5, 4)])
@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("opset", [7, 9, 15])
def test_batch_normalization(agrees, shape, constant, opset):
    known = ("scale", "b", "mean", "var") if constant else ()
    agrees("BatchNormalization", {"x": normal(*shape)} | statistics(3), known, opset=opset, epsilon=1e-6)


@pytest.mark.parametrize("constant", [True, False])
def test_batch_normalization_in_double(agrees, constant):
    known = ("scale", "b", "mean", "var") if constant else ()
    feeds = {"x": normal(2, 3, 5, 4, dtype=np.float64)} | statistics(3, np.float64)
    agrees("BatchNormalization", feeds, known, opset=15, rtol=1e-12, atol=1e-12)


def test_batch_normalization_of_places(agrees):
    """spatial=0 of opsets 1 to 8: statistics for each channel and place."""
    feeds = {"x": normal(4, 3, 5, 6)}
    feeds |= {name: np.abs(normal(3, 5, 6, seed=i)) + 0.1 for i, name in enumerate(("scale", "b", "mean", "var"))}
    x, scale, b, mean, var = feeds.values()
    wanted = scale * (x - mean) / np.sqrt(var + 1e-5) + b
    for known in ((), ("scale", "b", "mean", "var")):
        agrees("BatchNormalization", feeds, known, opset=7, spatial=0, wanted=[wanted])


def test_batch_normalization_while_training(agrees):
    x, s = normal(4, 3, 5, 6), statistics(3)
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    along = (1, 3, 1, 1)
    y = (x - mean.reshape(along)) / np.sqrt(var.reshape(along) + 1e-5) * s["scale"].reshape(along) + s["b"].reshape(
        along
    )
    wanted = [y, s["mean"] * 0.8 + mean * 0.2, s["var"] * 0.8 + var * 0.2]
    wanted = [one.astype(np.float32) for one in wanted]
    agrees("BatchNormalization", {"x": x} | s, opset=15, outputs=3, training_mode=1, momentum=0.8, wanted=wanted)
    agrees("BatchNormalization", {"x": x} | s, opset=6, is_test=0, momentum=0.8, wanted=wanted[:1])


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (2, 3, 2, 5, 4)])
def test_instance_normalization(agrees, shape):
    agrees("InstanceNormalization", {"x": normal(*shape), "s": normal(3), "b": normal(3, seed=1)}, ("s",), rtol=2e-5)


@pytest.mark.parametrize("opset", [18, 21])
@pytest.mark.parametrize("shape", [(2, 6, 5), (2, 6, 5, 4), (2, 6, 2, 5, 4)])
def test_group_normalization(agrees, shape, opset):
    size = 3 if opset == 18 else 6
    feeds = {"x": normal(*shape), "s": normal(size), "b": normal(size, seed=1)}
    agrees("GroupNormalization", feeds, ("s", "b"), opset=opset, num_groups=3, rtol=2e-5)


@pytest.mark.parametrize("axis", [-1, 1, -2])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_layer_normalization(agrees, axis, bias, outputs, dtype):
    x = normal(2, 5, 6, dtype=dtype)
    feeds = {"x": x, "s": normal(*x.shape[axis:], dtype=dtype)}
    if bias:
        feeds["b"] = normal(*x.shape[axis:], dtype=dtype, seed=1)
    axes = tuple(range(axis % 3, 3))
    wide = x.astype(np.float64)
    mean = wide.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt(wide.var(axes, keepdims=True) + 1e-5)
    y = (wide - mean) * inverse * feeds["s"] + feeds.get("b", 0)
    wanted = [y.astype(dtype), mean.astype(np.float32), inverse.astype(np.float32)][:outputs]
    rtol = {np.float16: 2e-3, np.float32: 1e-5}.get(dtype, 1e-6 if outputs > 1 else 1e-12)
    agrees("LayerNormalization", feeds, ("s",), axis=axis, outputs=outputs, wanted=wanted, rtol=rtol)
    if dtype == np.float32:
        agrees("LayerNormalization", feeds, ("s",), axis=axis, outputs=outputs)


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_rms_normalization(agrees, axis, dtype):
    x = normal(2, 5, 6, dtype=dtype)
    scale = normal(*x.shape[axis:], dtype=dtype)
    wide = x.astype(np.float64)
    square = (wide * wide).mean(tuple(range(axis % 3, 3)), keepdims=True)
    wanted = (wide / np.sqrt(square + 1e-5) * scale).astype(dtype)
    rtol = {np.float16: 2e-3, np.float32: 1e-5, np.float64: 1e-12}[dtype]
    agrees("RMSNormalization", {"x": x, "s": scale}, ("s",), opset=23, axis=axis, wanted=[wanted], rtol=rtol)


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lrn(agrees, size, dtype):
    x = normal(2, 7, 4, 3, dtype=dtype)
    squares = np.stack([(x[:, max(0, c - size // 2) : c + size // 2 + 1] ** 2).sum(1) for c in range(7)], 1)
    wanted = (x / (2 + 0.1 / size * squares) ** 0.6).astype(dtype)
    rtol = 1e-5 if dtype == np.float32 else 1e-12
    agrees("LRN", {"x": x}, size=size, alpha=0.1, beta=0.6, bias=2.0, wanted=[wanted], rtol=rtol)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("p", [1, 2])
def test_lp_normalization(agrees, axis, p):
    x = normal(2, 3, 4)
    x[0, 0] = 0  # a norm of nothing gives nothing
    x[:, :, 1] = 0
    x[1] *= 1
    norm = np.linalg.norm(x.astype(np.float64), p, axis, keepdims=True)
    wanted = np.divide(x, norm, out=np.zeros_like(x), where=norm != 0, casting="unsafe").astype(np.float32)
    agrees("LpNormalization", {"x": x}, axis=axis, p=p, wanted=[wanted])


def test_mean_variance_normalization(agrees):
    agrees("MeanVarianceNormalization", {"x": normal(2, 3, 4, 5)}, opset=13)
    agrees("MeanVarianceNormalization", {"x": normal(2, 3, 4)}, opset=13, axes=[0, 2])
