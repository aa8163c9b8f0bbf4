"""Numbers too small for a normal float keep their value where it decides something."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from mlconvert.tensorflow import subnormals

EDGES = [0.0, 5e-324, 2**-150, 2**-150 * 1.0001, 2**-149 * 1.5, 1e-40, 2**-126 * (1 - 2**-53), 2**-126, 2**-126 * 1.5]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(width=64, min_value=-1e-37, max_value=1e-37) | st.floats(width=64), min_size=1, max_size=30))
def test_doubles_are_rounded_to_the_nearest_float(values):
    import tensorflow as tf

    x = np.array(values)
    with np.errstate(over="ignore"):
        wanted = x.astype(np.float32)
    assert_same(subnormals.narrowed(tf.constant(x)).numpy(), wanted)
    assert_same(subnormals.widened(tf.constant(wanted)).numpy(), wanted.astype(np.float64))


def assert_same(found, wanted):
    np.testing.assert_array_equal(found, wanted)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(wanted)[known])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floor_and_ceil_beside_zero(agrees, kind):
    tiny = float(np.finfo(kind).smallest_subnormal)
    x = np.array(
        [one * tiny for one in (0, 1, -1, -0.0, 3, -3)] + [1.5, -1.5, 2.0, np.nan, np.inf, -np.inf, -1e-30], kind
    )
    agrees("Floor", {"x": x}, wanted=[np.floor(x)])
    agrees("Ceil", {"x": x}, wanted=[np.ceil(x)])


def test_casts(agrees):
    edges = np.array([sign * one for one in EDGES for sign in (1, -1)] + [np.nan, np.inf, -np.inf, 7.0])
    agrees("Cast", {"x": edges}, to=TensorProto.FLOAT, rtol=0, atol=0)
    agrees("Cast", {"x": edges.astype(np.float32)}, to=TensorProto.DOUBLE, rtol=0, atol=0)
