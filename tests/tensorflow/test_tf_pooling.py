"""Pools against ONNX Runtime: any number of axes, pads, ceil_mode, indices, lengths known and unknown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

AUTO_PADS = ("NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


@st.composite
def pools(draw, axes=(1, 2, 3), dilated=True):
    """Attributes of a pool, and the lengths of the images. No window is all padding."""
    rank = draw(st.sampled_from(axes))
    some = lambda low, high: st.lists(st.integers(low, high), min_size=rank, max_size=rank)  # noqa: E731
    kernel, strides = draw(some(1, 3)), draw(some(1, 3))
    auto_pad = draw(st.sampled_from(AUTO_PADS))
    attributes = {"kernel_shape": kernel, "strides": strides, "auto_pad": auto_pad}
    if auto_pad.startswith(
        "SAME"
    ):  # windows that are far apart ONNX Runtime refuses, or it leaves out the first elements
        attributes["strides"] = [min(stride, size) for stride, size in zip(strides, kernel, strict=True)]
    if auto_pad == "NOTSET":
        attributes["pads"] = [draw(st.integers(0, size - 1)) for size in kernel * 2]
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    if dilated and auto_pad in ("NOTSET", "VALID") and draw(st.booleans()):
        attributes["dilations"] = draw(some(1, 2))
    return attributes, draw(some(5, 9 if rank < 3 else 6))


@given(pools(), st.sampled_from([np.float32, np.float32, np.int8, np.uint8]))
@settings(max_examples=20)
def test_max_pool(agrees, drawn, dtype):
    attributes, lengths = drawn
    x = (normal(2, 3, *lengths) * 40 - 60).astype(np.float32)
    x = x if dtype == np.float32 else np.clip(x, np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)
    agrees("MaxPool", {"x": x}, **attributes)


@given(pools(), st.integers(0, 1), st.booleans())
@settings(max_examples=12)
def test_indices_of_maxima(agrees, drawn, storage_order, ties):
    attributes, lengths = drawn
    x = normal(2, 3, *lengths)
    agrees("MaxPool", {"x": np.round(x) if ties else x}, outputs=2, storage_order=storage_order, **attributes)


@given(pools(), st.integers(0, 1))
@settings(max_examples=20)
def test_average_pool(agrees, drawn, count_include_pad):
    attributes, lengths = drawn
    agrees("AveragePool", {"x": normal(2, 3, *lengths)}, count_include_pad=count_include_pad, **attributes)


@given(pools(), st.sampled_from([1, 2, 3]))
@settings(max_examples=12)
def test_lp_pool(agrees, drawn, p):
    attributes, lengths = drawn
    agrees("LpPool", {"x": normal(2, 3, *lengths)}, p=p, rtol=1e-4, **attributes)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (2, 3, 2, 5, 4)])
def test_global_pools(agrees, op, shape):
    agrees(op, {"x": normal(*shape)}, opset=21)


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool"])
def test_types_are_kept(agrees, op, dtype):
    """A window that is the whole image, by numpy."""
    x = normal(2, 3, 4, 5, dtype=dtype)
    take = {"MaxPool": np.max, "GlobalMaxPool": np.max, "LpPool": lambda x, **k: np.sqrt(np.sum(x * x, **k))}
    wanted = take.get(op, np.mean)(x.astype(np.float64), axis=(2, 3), keepdims=True).astype(dtype)
    attributes = {} if op.startswith("Global") else {"kernel_shape": [4, 5]}
    agrees(op, {"x": x}, wanted=[wanted], rtol=1e-12 if dtype == np.float64 else 2e-3, **attributes)


@pytest.mark.parametrize("given_shape", [True, False])
def test_what_max_pool_took_is_put_back(agrees, given_shape):
    x, indices = normal(1, 1, 2, 2), np.array([[[[5, 7], [13, 15]]]], np.int64)
    feeds = {"x": x, "i": indices}
    if given_shape:  # of an image of 5 x 5, whose last row and column no window reached
        feeds["i"] = np.array([[[[6, 8], [16, 18]]]], np.int64)
        feeds["s"] = np.array([1, 1, 5, 5], np.int64)
    agrees("MaxUnpool", feeds, ("s",) if given_shape else (), kernel_shape=[2, 2], strides=[2, 2])


@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([1.0, 0.5, 0.0625]), st.integers(0, 5))
@settings(max_examples=10)
def test_max_roi_pool(agrees, rows, columns, scale, seed):
    draw = np.random.default_rng(seed)
    corners = draw.integers(0, int(8 / scale), (4, 2, 2)) + draw.integers(0, 2, (4, 2, 2)) * 0.25
    corners = np.sort(corners, axis=1).reshape(4, 4)
    rois = np.concatenate([draw.integers(0, 2, (4, 1)), corners], 1).astype(np.float32)
    agrees(
        "MaxRoiPool", {"x": normal(2, 3, 8, 9), "r": rois}, opset=21, pooled_shape=[rows, columns], spatial_scale=scale
    )
