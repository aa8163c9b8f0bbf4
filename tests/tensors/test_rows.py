"""Rows of a record: bit for bit through JSON."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.tensors.rows import decode_rows, encode_rows

DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
          "float64", "bfloat16")  # fmt: skip


def numpy_dtype(name):
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


@st.composite
def arrays(draw, rows):
    """Any bits at all, so that NaNs of every kind are among them."""
    dtype = numpy_dtype(draw(st.sampled_from(DTYPES)))
    shape = (rows, *draw(st.lists(st.integers(0, 3), max_size=3)))
    count = int(np.prod(shape))
    if dtype.kind == "b":
        return np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=bool).reshape(shape)
    raw = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    return np.frombuffer(raw, dtype=np.uint8).copy().view(dtype).reshape(shape)


@st.composite
def tensors(draw):
    rows = draw(st.integers(1, 5))
    words = st.lists(st.text(st.characters(exclude_characters="\0")), min_size=rows, max_size=rows)
    strings = words.map(lambda items: np.array(items, dtype=np.str_).reshape(rows, 1))
    columns = st.dictionaries(st.text(min_size=1), arrays(rows) | strings, min_size=1, max_size=3)
    return draw(columns), draw(columns)


def same(first, second):
    assert list(first) == list(second)
    for name, values in first.items():
        other = second[name]
        assert other.shape == values.shape
        if values.dtype.kind == "U":
            assert other.dtype.kind == "U"
            assert other.tolist() == values.tolist()
        else:
            assert other.dtype == values.dtype
            assert other.tobytes() == np.ascontiguousarray(values).tobytes()


@given(tensors())
def test_rows_come_back_bit_for_bit(pair):
    samples, outputs = pair
    data = encode_rows(samples, outputs, count=32, limit=1 << 20)
    assert data is not None
    decoded = decode_rows(json.loads(json.dumps(data, allow_nan=False)))
    same(samples, decoded[0])
    same(outputs, decoded[1])


@given(st.integers(1, 50), st.integers(1, 40))
def test_the_first_rows_are_kept(rows, count):
    values = np.arange(rows * 2.0).reshape(rows, 2)
    data = encode_rows({"x": values}, {"y": -values}, count=count, limit=1 << 20)
    assert data is not None
    kept = min(rows, count)
    assert data["count"] == kept
    samples, outputs = decode_rows(data)
    np.testing.assert_array_equal(samples["x"], values[:kept])
    np.testing.assert_array_equal(outputs["y"], -values[:kept])


def test_big_endian_and_strided_values_are_kept_by_value():
    values = np.arange(12, dtype=">f4").reshape(6, 2)[::2]
    data = encode_rows({"x": values}, {"y": values.T.copy().T}, count=32, limit=1 << 20)
    assert data is not None
    samples, outputs = decode_rows(data)
    np.testing.assert_array_equal(samples["x"], values)
    np.testing.assert_array_equal(outputs["y"], values)
    assert samples["x"].dtype == np.dtype("float32")


def test_heavy_rows_are_fewer_and_too_heavy_ones_none():
    values = np.zeros((10, 100))  # 800 bytes a row
    data = encode_rows({"x": values}, {"y": values}, count=10, limit=5000)
    assert data is not None
    assert data["count"] == 3
    assert encode_rows({"x": values}, {"y": values}, count=10, limit=1599) is None


def test_outputs_that_have_no_row_for_each_sample_are_not_kept():
    x = np.zeros((4, 2))
    assert encode_rows({"x": x}, {"y": np.zeros(3)}, count=32, limit=1 << 20) is None
    assert encode_rows({"x": x}, {"y": np.array(1.0)}, count=32, limit=1 << 20) is None


def test_objects_are_refused_rather_than_kept_as_addresses():
    with pytest.raises(TypeError, match="an array of object cannot be kept"):
        encode_rows({"x": np.array(["a", None], dtype=object)}, {"y": np.zeros(2)}, count=32, limit=1 << 20)
