"""Convolutions against ONNX Runtime: any number of axes, groups, pads, lengths known and unknown."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def normal(*shape, dtype=np.float32, seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


@st.composite
def windows(draw, axes=(1, 2, 3), most=9):
    """Attributes of a convolution, and the lengths of the images."""
    rank = draw(st.sampled_from(axes))
    some = lambda low, high: st.lists(st.integers(low, high), min_size=rank, max_size=rank)  # noqa: E731
    kernel, strides, dilations = (
        draw(some(1, 3)),
        draw(some(1, 3)),
        draw(some(1, 2) if draw(st.booleans()) else some(1, 1)),
    )
    auto_pad = draw(st.sampled_from(AUTO_PADS))
    attributes = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "auto_pad": auto_pad}
    if auto_pad == "NOTSET":
        attributes["pads"] = draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))
    lengths = draw(some(5, most if rank < 3 else 6))
    return attributes, lengths


@given(
    windows(), st.sampled_from([(1, 3, 2), (1, 1, 4), (2, 2, 3), (3, 1, 2), (4, 1, 1)]), st.booleans(), st.booleans()
)
@settings(max_examples=25)
def test_conv(agrees, drawn, channels, constant, bias):
    attributes, lengths = drawn
    if attributes["auto_pad"].startswith("SAME"):
        attributes["dilations"] = [1] * len(lengths)  # ONNX Runtime refuses both together
    group, inner, each = channels
    feeds = {"x": normal(2, group * inner, *lengths), "w": normal(group * each, inner, *attributes["kernel_shape"])}
    if bias:
        feeds["b"] = normal(group * each)
    agrees("Conv", feeds, ("w",) if constant else (), group=group, **attributes)


@given(windows(), st.sampled_from([(1, 3, 2), (1, 1, 4), (2, 2, 3), (3, 1, 1)]), st.booleans(), st.data())
@settings(max_examples=25)
def test_conv_transpose(agrees, drawn, channels, constant, data):
    attributes, lengths = drawn
    rank, (group, inner, each) = len(lengths), channels
    attributes["auto_pad"] = "NOTSET" if attributes["auto_pad"] == "VALID" else attributes["auto_pad"]
    strides, dilations = attributes["strides"], attributes["dilations"]
    extra = [data.draw(st.integers(0, stride - 1)) for stride in strides]
    attributes["output_padding"] = extra
    for i in range(rank):
        extent = (attributes["kernel_shape"][i] - 1) * dilations[i] + 1
        if attributes["auto_pad"] == "NOTSET":
            pads = attributes.setdefault("pads", [0] * (2 * rank))
            assume((lengths[i] - 1) * strides[i] + extent + extra[i] > pads[i] + pads[i + rank])
        else:
            assume(extent + extra[i] >= strides[i])
    feeds = {"x": normal(2, group * inner, *lengths), "w": normal(group * inner, each, *attributes["kernel_shape"])}
    if data.draw(st.booleans()):
        feeds["b"] = normal(group * each)
    agrees("ConvTranspose", feeds, ("w",) if constant else (), group=group, **attributes)


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("shape", [(9, 11), (8, 10), (7, 11), (10, 12)])
def test_conv_transpose_of_a_given_output_shape(agrees, auto_pad, shape):
    feeds = {"x": normal(1, 2, 4, 5), "w": normal(2, 3, 3, 3)}
    agrees("ConvTranspose", feeds, ("w",), strides=[2, 2], output_shape=shape, auto_pad=auto_pad)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-12), (np.float16, 2e-3)])
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_the_precision_is_kept(agrees, op, dtype, rtol, group):
    """A window of one element is a product of matrices, which numpy has in double."""
    x = normal(2, 4, 7, 6, dtype=dtype)
    w = normal(8, 4 // group, 1, 1, dtype=dtype) if op == "Conv" else normal(4, 8 // group, 1, 1, dtype=dtype)
    inner, each = 4 // group, 8 // group
    parts = []
    for g in range(group):
        matrix = w[g * each : (g + 1) * each, :, 0, 0] if op == "Conv" else w[g * inner : (g + 1) * inner, :, 0, 0].T
        parts.append(np.einsum("nchw,mc->nmhw", x[:, g * inner : (g + 1) * inner].astype(np.float64), matrix))
    wanted = np.concatenate(parts, 1).astype(dtype)
    agrees(op, {"x": x, "w": w}, ("w",), wanted=[wanted], rtol=rtol, group=group)


@pytest.mark.parametrize("axes", [4, 3])
def test_four_axes_and_grouped_three(agrees, axes):
    """By numpy: ONNX Runtime has no kernel for four axes."""
    group = 1 if axes == 4 else 2
    x, w = normal(2, 2, 5, 4, 6, 3)[:, :, :, :, :, : 1 + 2 * (axes == 4)], normal(4, 2 // group, 2, 3, 1, 2)
    if axes == 3:
        x, w = x[..., 0], w[..., 0]
    views = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=tuple(range(2, axes + 2)))
    views = views[:, :, ::2]
    each = 4 // group
    parts = []
    for g in range(group):
        part = views[:, g * (2 // group) : (g + 1) * (2 // group)].astype(np.float64)
        parts.append(
            np.tensordot(
                part, w[g * each : (g + 1) * each], [[1, *range(axes + 2, part.ndim)], list(range(1, axes + 2))]
            )
        )
    wanted = np.moveaxis(np.concatenate(parts, -1), -1, 1).astype(np.float32)
    agrees("Conv", {"x": x, "w": w}, ("w",), wanted=[wanted], strides=[2, *[1] * (axes - 1)], group=group)


def test_an_empty_batch(agrees):
    """In double: TensorFlow 2.21's oneDNN kernel for float32 gives an empty batch the shape of its input."""
    feeds = {"x": normal(0, 3, 8, 8, dtype=np.float64), "w": normal(4, 3, 3, 3, dtype=np.float64)}
    agrees("Conv", feeds, ("w",), pads=[1, 1, 1, 1], wanted=[np.zeros((0, 4, 8, 8))])


# --- integers ---


def whole(*shape, dtype, seed=0):
    info = np.iinfo(dtype)
    return np.random.default_rng([seed, *shape]).integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("depth", [2, 300])  # of 300 channels the sums are beyond what float32 holds exactly
@pytest.mark.parametrize("types", [(np.uint8, np.uint8), (np.uint8, np.int8)])
@pytest.mark.parametrize("zero_points", ["none", "one", "each"])
def test_conv_integer_is_exact(agrees, depth, types, zero_points):
    x, w = whole(1, depth, 6, 5, dtype=types[0]), whole(4, depth, 3, 3, dtype=types[1])
    feeds = {"x": x, "w": w}
    if zero_points != "none":
        feeds["x0"] = np.array(7, types[0])
        feeds["w0"] = np.array(3, types[1]) if zero_points == "one" else np.array([3, 0, 5, 1], types[1])
    wide, filters = x.astype(np.int64), w.astype(np.int64)
    if zero_points != "none":
        wide, filters = wide - 7, filters - feeds["w0"].astype(np.int64).reshape(-1, 1, 1, 1)
    views = np.lib.stride_tricks.sliding_window_view(
        np.pad(wide, [(0, 0), (0, 0), (1, 1), (1, 1)]), (3, 3), axis=(2, 3)
    )
    wanted = np.einsum("nchwij,mcij->nmhw", views, filters).astype(np.int32)
    agrees("ConvInteger", feeds, ("w",), wanted=[wanted], pads=[1, 1, 1, 1])


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_q_linear_conv(agrees, constant, each, dtype):
    feeds = {
        "x": whole(2, 4, 6, 6, dtype=dtype), "xs": np.float32(0.02), "x0": np.array(3, dtype),
        "w": whole(6, 2, 3, 3, dtype=np.int8),
        "ws": np.linspace(0.01, 0.05, 6, dtype=np.float32) if each else np.float32(0.03),
        "w0": np.zeros(6, np.int8) if each else np.array(0, np.int8),
        "ys": np.float32(0.4), "y0": np.array(5, dtype), "b": np.arange(-3, 3, dtype=np.int32) * 100,
    }  # fmt: skip
    feeds = {name: np.asarray(array) for name, array in feeds.items()}
    known = tuple(name for name in feeds if name != "x") if constant else ("xs", "x0", "ws", "w0", "ys", "y0")
    agrees("QLinearConv", feeds, known, pads=[1, 0, 1, 2], strides=[2, 1], group=2)


# --- places that are moved ---


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("offset_group", [1, 2])
@pytest.mark.parametrize("masked", [True, False])
def test_deform_conv(agrees, group, offset_group, masked):
    feeds = {"x": normal(2, 4, 6, 7), "w": normal(6, 4 // group, 3, 2)}
    feeds["offset"] = normal(2, offset_group * 3 * 2 * 2, 4, 4)
    feeds["b"] = normal(6)
    if masked:
        feeds["mask"] = np.abs(normal(2, offset_group * 3 * 2, 4, 4))
    agrees(
        "DeformConv", feeds, ("w",), group=group, offset_group=offset_group, pads=[1, 0, 2, 1], strides=[2, 2],
        dilations=[1, 1],
    )  # fmt: skip


def test_one_channel_and_a_column_of_answers(agrees):
    """oneDNN strides along the wrong axis here, unless it is kept from it."""
    for kernel, pads, stride, size in (((3, 3), (0, 1, 1, 0), 2, (9, 2)), ((4, 2), (1, 0, 2, 1), 3, (7, 1))):
        feeds = {"x": normal(3, 1, *size), "w": normal(6, 1, *kernel)}
        for constants in ((), ("w",)):
            agrees("Conv", feeds, constants, strides=[1, stride], pads=pads)
