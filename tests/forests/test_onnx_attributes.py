"""Arrays as protobuf's wire format: what onnx itself reads back."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from mlconvert.forests import onnx_attributes as wire


def varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded, value = encoded + bytes([value & 0x7F | 0x80]), value >> 7
    return encoded + bytes([value])


def attribute(pieces: wire.Pieces) -> onnx.AttributeProto:
    (read,) = onnx.NodeProto.FromString(b"".join(pieces)).attribute
    return read


sizes = st.sampled_from([0, 1, 127, 128, 300, 2**14 - 1, 2**14, 2**21, 2**31, 2**32 - 1, 2**32, 2**40, 2**63 - 1])


@given(st.lists(sizes | st.integers(0, 2**63 - 1), max_size=50))
def test_integers_are_packed_as_varints(values):
    packed = wire.packed(np.array(values, np.int64))
    assert b"".join(packed) == b"".join(map(varint, values))
    read = attribute(wire.integers_attribute("numbers", np.array(values, np.int64)))
    assert (read.name, read.type, list(read.ints)) == ("numbers", onnx.AttributeProto.INTS, values)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64])
def test_integers_of_every_width(dtype):
    values = np.array([1, 0, 1, 1], dtype)
    assert list(attribute(wire.integers_attribute("a", values)).ints) == [1, 0, 1, 1]


def test_many_integers_go_block_by_block(monkeypatch):
    values = np.random.default_rng(1).integers(0, 1 << 20, 1000)
    values[:300] %= 128  # a block of small ones takes a byte each
    whole = b"".join(wire.packed(values))
    monkeypatch.setattr(wire, "_BLOCK", 100)
    pieces = wire.packed(values)
    assert len(pieces) == 10
    assert b"".join(pieces) == whole


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8, bool])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (0, 4)])
def test_tensors_read_back(dtype, shape):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    tensor = onnx.TensorProto.FromString(b"".join(wire.tensor("t", values)))
    assert tensor.name == "t"
    read = numpy_helper.to_array(tensor)
    assert read.dtype == values.dtype
    np.testing.assert_array_equal(read, values)


def test_a_tensor_may_lie_in_any_order_in_memory():
    values = np.arange(12.0).reshape(3, 4).T[::2].astype(">f8")
    tensor = onnx.TensorProto.FromString(b"".join(wire.tensor("", values)))
    np.testing.assert_array_equal(numpy_helper.to_array(tensor), values)


def test_attributes_of_other_kinds_read_back():
    assert attribute(wire.integer_attribute("axis", 300)).i == 300
    np.testing.assert_array_equal(
        attribute(wire.floats_attribute("f", np.array([0.5, -2.0, np.inf]))).floats, [0.5, -2, np.inf]
    )
    tensor = attribute(wire.tensor_attribute("t", np.array([1.5, np.nan])))
    np.testing.assert_array_equal(numpy_helper.to_array(tensor.t), [1.5, np.nan])
    texts = attribute(wire.choices_attribute("modes", ("LEAF", "BRANCH_LEQ"), np.array([1, 0, 0, 1], np.uint8)))
    assert list(texts.strings) == [b"BRANCH_LEQ", b"LEAF", b"LEAF", b"BRANCH_LEQ"]
    assert texts.type == onnx.AttributeProto.STRINGS


def test_texts_and_nodes_read_back():
    tensor = onnx.TensorProto.FromString(b"".join(wire.texts_tensor("names", ["a", "", "zwölf"])))
    assert numpy_helper.to_array(tensor).astype(str).tolist() == ["a", "", "zwölf"]
    pieces = wire.node("Gather", "ai.x", ["a", "b"], ["c"], "n", wire.integer_attribute("axis", 1))
    node = onnx.NodeProto.FromString(b"".join(pieces))
    assert node == onnx.helper.make_node("Gather", ["a", "b"], ["c"], name="n", domain="ai.x", axis=1)
