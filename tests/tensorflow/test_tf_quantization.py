"""Quantization against ONNX Runtime: bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import float8_e4m3fn, float8_e5m2, int4, uint4
from onnx import TensorProto

from mlconvert.errors import ConversionFailed


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16])
def test_ties_go_to_even_and_ends_hold(agrees, kind):
    x = np.array([[0.5, 1.5, 2.5, -0.5, -1.5, 1e9, -1e9, np.inf, -np.inf, 3.0]], np.float32)
    for zero in (0, 3):
        feeds = {"x": x, "scale": np.array(1, np.float32), "zero": np.array(zero, kind)}
        agrees("QuantizeLinear", feeds, ("zero",), opset=21)
        agrees("QuantizeLinear", feeds, opset=21)


def test_without_a_zero_point_the_type_is_uint8(agrees):
    feeds = {"x": np.linspace(-1, 300, 24, dtype=np.float32).reshape(2, 3, 4), "scale": np.array(0.9, np.float32)}
    assert agrees("QuantizeLinear", feeds, opset=13)[0].dtype == np.uint8
    agrees(
        "DequantizeLinear",
        {"x": np.arange(6, dtype=np.uint8).reshape(2, 3), "scale": np.array(0.3, np.float32)},
        opset=13,
    )


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
def test_one_scale_along_an_axis(agrees, axis):
    draw = np.random.default_rng(axis + 3)
    x = (draw.standard_normal((2, 3, 4)) * 20).astype(np.float32)
    count = x.shape[axis]
    scale = draw.uniform(0.1, 1, count).astype(np.float32)
    zero = draw.integers(-5, 5, count).astype(np.int8)
    whole = agrees("QuantizeLinear", {"x": x, "scale": scale, "zero": zero}, ("scale", "zero"), opset=13, axis=axis)
    agrees("DequantizeLinear", {"x": whole[0], "scale": scale, "zero": zero}, opset=13, axis=axis)


@pytest.mark.parametrize(("axis", "block"), [(0, 2), (1, 2), (1, 3), (-1, 5)])
def test_blocks(agrees, axis, block):
    draw = np.random.default_rng(block)
    x = (draw.standard_normal((4, 5)) * 20).astype(np.float32)
    shape = list(x.shape)
    shape[axis] = -(-shape[axis] // block)
    scale = draw.uniform(0.1, 1, shape).astype(np.float32)
    zero = draw.integers(-5, 5, shape).astype(np.int8)
    options = {"opset": 21, "axis": axis, "block_size": block}
    whole = agrees("QuantizeLinear", {"x": x, "scale": scale, "zero": zero}, ("scale",), **options)
    agrees("DequantizeLinear", {"x": whole[0], "scale": scale, "zero": zero}, ("zero",), **options)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_four_bits(agrees, kind):
    x = np.linspace(-12, 24, 30, dtype=np.float32).reshape(5, 6)
    feeds = {"x": x, "scale": np.array(1.5, np.float32)}
    wanted = np.clip(np.rint(x / np.float32(1.5)), *((-8, 7) if kind == TensorProto.INT4 else (0, 15)))
    wanted = wanted.astype(int4 if kind == TensorProto.INT4 else uint4)
    agrees("QuantizeLinear", feeds, opset=21, output_dtype=kind, wanted=[wanted])
    back = wanted.astype(np.float32) * np.float32(1.5)
    agrees("DequantizeLinear", {"x": wanted, "scale": np.array(1.5, np.float32)}, opset=21, wanted=[back])


@pytest.mark.parametrize("kind", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2])
def test_eight_bit_floats(agrees, kind):
    x = np.array([0.1, -3.3, 448, 1e9, -1e9, np.inf, 0.0], np.float32)
    dtype = float8_e4m3fn if kind == TensorProto.FLOAT8E4M3FN else float8_e5m2
    top = 448 if dtype is float8_e4m3fn else 57344
    wanted = np.clip(x / np.float32(0.5), -top, top).astype(dtype)
    feeds = {"x": x, "scale": np.array(0.5, np.float32)}
    agrees("QuantizeLinear", feeds, opset=21, output_dtype=kind, wanted=[wanted])


def test_int32_keeps_its_digits(agrees):
    x = np.array([16777217, -16777217, 2147483647, 5], np.int32)
    agrees("DequantizeLinear", {"x": x, "scale": np.array(0.5, np.float32)}, opset=13)
    feeds = {"x": x, "scale": np.array(0.5, np.float32), "zero": np.array(0, np.int32)}
    agrees("DequantizeLinear", feeds, opset=13, wanted=[x.astype(np.float32) * np.float32(0.5)])


@pytest.mark.parametrize("x", [[0.0, 0.0], [-1.0, 2.5, 0.3], [3.0, 4.0], [-4.0, -3.0]])
def test_dynamic_quantization(agrees, x):
    agrees("DynamicQuantizeLinear", {"x": np.array([x], np.float32)}, outputs=3, opset=13)


@settings(max_examples=8, deadline=None)
@given(
    left=st.sampled_from([np.uint8, np.int8]),
    right=st.sampled_from([np.uint8, np.int8]),
    by_column=st.booleans(),
    batch=st.sampled_from([(), (2,), (2, 3)]),
    seed=st.integers(0, 99),
)
def test_products_of_integers(agrees, left, right, by_column, batch, seed):
    draw = np.random.default_rng(seed)

    def some(kind, *shape):
        return draw.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape).astype(kind)

    if left == np.int8:
        right = np.int8  # ONNX Runtime has no product of int8 and uint8
    feeds = {"a": some(left, *batch, 4, 70), "b": some(right, 70, 5)}
    columns = (5,) if by_column else ()
    zeros = {"az": some(left), "bz": some(right, *columns)}
    agrees("MatMulInteger", feeds | zeros, ("b", "bz"), opset=13)
    scales = {
        "as": np.array(0.02, np.float32),
        "bs": draw.uniform(0.01, 0.05, columns).astype(np.float32),
        "ys": np.array(0.9, np.float32),
    }
    zeros["yz"] = some(left)
    order = ["a", "as", "az", "b", "bs", "bz", "ys", "yz"]
    every = feeds | zeros | scales
    agrees("QLinearMatMul", {name: every[name] for name in order}, ("b", "bz", "bs"), opset=13)


def test_products_of_vectors_and_rows(agrees):
    a, b = np.arange(6, dtype=np.uint8), np.arange(6, dtype=np.uint8)[::-1].copy()
    agrees("MatMulInteger", {"a": a, "b": b}, opset=13, wanted=[np.array(int(a.astype(int) @ b), np.int32)])
    matrix = np.arange(12, dtype=np.uint8).reshape(2, 6)
    zero = np.array([1, 7], np.uint8)
    wanted = (matrix.astype(np.int32) - zero[:, None].astype(np.int32)) @ b.astype(np.int32)
    agrees("MatMulInteger", {"a": matrix, "b": b, "az": zero}, opset=13, wanted=[wanted])


def test_a_scale_for_blocks_needs_their_size(agrees):
    feeds = {"x": np.ones((4, 4), np.float32), "scale": np.ones((2, 4), np.float32)}
    with pytest.raises(ConversionFailed, match="no block_size"):
        agrees("QuantizeLinear", feeds, opset=21, wanted=[np.zeros(())])
