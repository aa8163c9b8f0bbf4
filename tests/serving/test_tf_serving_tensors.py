"""Tensors as TensorFlow Serving has them: its messages and its JSON, there and back, and what neither can carry."""

from __future__ import annotations

import json
import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mlconvert.errors import NotVerified, RepositoryInvalid
from mlconvert.serving.tf_serving.json_tensors import REST_DTYPES, REST_TYPES, from_json, to_json
from mlconvert.serving.tf_serving.messages import DATA_TYPES, message
from mlconvert.serving.tf_serving.rapid_numbers import read_number, spelled
from mlconvert.serving.tf_serving.tensor_protos import DTYPES, fill_tensor, read_tensor
from mlconvert.signature import TensorSpec
from mlconvert.tensors.dtypes import dtype_name, numpy_dtype

SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5).map(lambda text: text.rstrip("\0"))


def arrays_of(dtypes):
    numbers = st.sampled_from(sorted(set(dtypes) - {"string", "bfloat16"}))
    words = SHAPES.flatmap(
        lambda shape: st.lists(TEXTS, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
            lambda texts: np.array(texts, dtype=np.str_).reshape(shape)
        )
    )
    return st.one_of(numbers.flatmap(lambda name: arrays.arrays(numpy_dtype(name), SHAPES)), words)


def same(found: np.ndarray, values: np.ndarray) -> None:
    assert found.shape == values.shape
    assert dtype_name(found.dtype) == dtype_name(values.dtype)
    np.testing.assert_array_equal(found, values)


# --- messages ---


@given(arrays_of(DTYPES.values()))
def test_arrays_come_back_from_a_message(values):
    tensor = message("TensorProto")()
    fill_tensor(tensor, values)
    same(read_tensor(message("TensorProto").FromString(tensor.SerializeToString()), name="y"), values)


@pytest.mark.parametrize("dtype", sorted(DTYPES.values()))
def test_a_tensor_of_tensorflow_is_read_in_either_of_its_forms(dtype):
    """Its own ways of writing one: bytes, lists of values, and lists that are cut where a value repeats to the end."""
    import tensorflow as tf

    values = [["a", ""], ["ä", "ä"]] if dtype == "string" else [[1, 0], [1, 1]]
    array = np.array(values, numpy_dtype(dtype))
    theirs = tf.make_tensor_proto(array.tolist(), dtype=dtype)
    for proto in (theirs, tf.make_tensor_proto(array) if dtype != "string" else theirs):
        same(read_tensor(message("TensorProto").FromString(proto.SerializeToString()), name="y"), array)
    ours = message("TensorProto")()
    fill_tensor(ours, array)
    read = tf.make_ndarray(type(theirs).FromString(ours.SerializeToString()))
    if dtype == "string":
        assert [[word.decode() for word in row] for row in read.tolist()] == values
    else:
        assert (read == array).all()
        assert read.dtype == array.dtype


@pytest.mark.parametrize(
    ("dtype", "field", "written"),
    [
        ("DT_HALF", "half_val", [0x3C00]), ("DT_BFLOAT16", "half_val", [0x3F80]), ("DT_FLOAT", "float_val", [1.0]),
        ("DT_UINT16", "int_val", [1]), ("DT_INT8", "int_val", [1]), ("DT_BOOL", "bool_val", [True]),
        ("DT_UINT64", "uint64_val", [1]), ("DT_STRING", "string_val", [b"1"]),
    ],
)  # fmt: skip
def test_listed_values_stand_for_those_that_are_left_out(dtype, field, written):
    tensor = message("TensorProto")(dtype=DATA_TYPES[dtype])
    tensor.tensor_shape.dim.add(size=3)
    same(read_tensor(tensor, name="y"), np.zeros(3, numpy_dtype(DTYPES[dtype])))
    getattr(tensor, field).extend(written)
    same(read_tensor(tensor, name="y"), np.ones(3, numpy_dtype(DTYPES[dtype])).astype(numpy_dtype(DTYPES[dtype])))
    getattr(tensor, field).extend(written * 3)
    with pytest.raises(RepositoryInvalid, match="output 'y' has 4 "):
        read_tensor(tensor, name="y")


def test_strings_as_bytes_and_bytes_that_are_no_text():
    tensor = message("TensorProto")(dtype=DATA_TYPES["DT_STRING"], tensor_content=b"\x02\x00\x01ab\xff")
    tensor.tensor_shape.dim.add(size=3)
    assert read_tensor(tensor, name="y").tolist() == ["ab", "", "\\xff"]
    tensor.tensor_content = b"\x02\x00\x01a"
    with pytest.raises(RepositoryInvalid, match="no tensor of 3 strings"):
        read_tensor(tensor, name="y")


def test_messages_that_are_no_tensors():
    resource = message("TensorProto")(dtype=DATA_TYPES["DT_RESOURCE"])
    with pytest.raises(RepositoryInvalid, match="'y' is DT_RESOURCE"):
        read_tensor(resource, name="y")
    unknown = message("TensorProto")(dtype=DATA_TYPES["DT_FLOAT"])
    unknown.tensor_shape.unknown_rank = True
    with pytest.raises(RepositoryInvalid, match="'y' has no shape"):
        read_tensor(unknown, name="y")
    short = message("TensorProto")(dtype=DATA_TYPES["DT_FLOAT"], tensor_content=b"1234")
    short.tensor_shape.dim.add(size=2)
    with pytest.raises(RepositoryInvalid, match=r"has 4 bytes, where DT_FLOAT\[2\] has 8"):
        read_tensor(short, name="y")
    with pytest.raises(NotVerified, match="complex64 cannot be sent"):
        fill_tensor(message("TensorProto")(), np.zeros(1, np.complex64))


# --- JSON ---


@given(arrays_of(REST_DTYPES))
def test_arrays_come_back_from_json(values):
    """What the server would read and write back: floats exactly, NaN and infinities as the words that it has."""
    spec = TensorSpec("y", dtype_name(values.dtype), tuple(values.shape))
    try:
        text = to_json("x", values)
    except NotVerified as error:
        assert 0 in values.shape[:-1]
        assert "an empty list has no inner shape" in error.message  # noqa: PT017 - only of those
        return
    same(from_json(spec, json.loads(text)), values)


def test_what_the_json_looks_like():
    assert to_json("x", np.array([1, np.nan, np.inf, -np.inf], np.float32)) == "[1.0, NaN, Infinity, -Infinity]"
    assert to_json("x", np.array([[1, np.nan], [np.inf, -0.0]])) == "[[1.0, NaN], [Infinity, -0.0]]"
    assert to_json("x", np.array(2.5)) == "2.5"
    assert to_json("x", np.array([[True]])) == "[[true]]"
    assert json.loads(to_json("x", np.array(["ä"]))) == ["ä"]
    assert json.loads(to_json("x_bytes", np.array(["ä"]))) == [{"b64": "w6Q="}]
    assert json.loads(to_json("x_bytes", np.array("ä"))) == {"b64": "w6Q="}


@given(arrays.arrays(np.float32, 5, elements=st.floats(width=32, allow_nan=False)))
def test_the_server_reads_every_float32_as_it_is(values):
    """By its own arithmetic; and it refuses what is larger than the largest, however little."""
    values[0] = np.finfo(np.float32).max
    read = json.loads(to_json("x", values), parse_float=read_number)
    assert np.array(read, np.float32).tobytes() == values.tobytes()
    assert max(number for number in read if np.isfinite(number)) <= np.finfo(np.float32).max


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_of_another_spelling_is_the_same_number(value):
    """Read exactly it is the value, or (of very small and very large ones) next to it; the server is at most as far."""
    text = spelled(value)
    assert json.loads(text) == float(text)
    assert abs(float(text) - value) <= 4 * math.ulp(value)
    if abs(value) > 1e-290 or value == 0:
        assert abs(read_number(text) - value) <= 4 * math.ulp(value)


def test_most_doubles_have_a_spelling_that_the_server_reads_exactly():
    """Drawn from a fixed seed: as Python writes them one in eight is not."""
    values = np.random.default_rng(0).normal(size=5000).tolist()
    naive = sum(read_number(repr(value)) != value for value in values)
    assert 400 < naive < 800
    assert sum(read_number(spelled(value)) != value for value in values) <= 2
    assert all(float(spelled(value)) == value for value in values)


@pytest.mark.parametrize(
    "text",
    ["0", "-0.0", "1", "12345678901234567890123", "0.1", "1e22", "1.5E-3", "9007199254740993", "4e-320", "1e308"],
)
def test_numbers_of_few_digits_are_read_as_they_are(text):
    assert read_number(text) == float(text)
    for wrong in ("", "1.", ".5", "NaN", "+1", "1e"):
        with pytest.raises(ValueError, match="not a JSON number"):
            read_number(wrong)


def test_what_json_cannot_carry_is_refused_by_name():
    assert {"DT_HALF", "DT_BFLOAT16", "DT_UINT16"}.isdisjoint(REST_TYPES)
    for dtype in (np.float16, ml_dtypes.bfloat16, np.uint16):
        with pytest.raises(NotVerified, match=f"input 'x' is {np.dtype(dtype).name}, which TensorFlow") as caught:
            to_json("x", np.ones(2, dtype))
        assert "tfserving+grpc://" in (caught.value.hint or "")
    with pytest.raises(NotVerified, match="output 'y' is float16"):
        from_json(TensorSpec("y", "float16", (None,)), [1.0])
    with pytest.raises(NotVerified, match="does not tell the shape of the empty output"):
        from_json(TensorSpec("y", "float32", (None, None)), [])


def test_an_empty_answer_has_the_shape_of_the_signature():
    assert from_json(TensorSpec("y", "float32", (None, 3)), []).shape == (0, 3)
    assert from_json(TensorSpec("y", "int64", (None, 0)), [[], []]).shape == (2, 0)


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("float32", [[1.0], [1.0, 2.0]]), ("float32", ["a"]), ("float32", [None]), ("float32", [{"b64": "w6Q="}]),
        ("float32", [True]), ("int32", [1.5]), ("int32", [1 << 40]), ("uint8", [-1]), ("uint64", [-1]),
        ("uint64", [1.0]), ("bool", [1]), ("string", [1]), ("string", [{"b64": "?"}]), ("string", [{"b": "w6Q="}]),
        ("int64", [1 << 70]), ("float32", 1.0), ("float32", [[1.0]]),
    ],
)  # fmt: skip
def test_json_that_is_no_such_tensor(dtype, value):
    with pytest.raises(RepositoryInvalid, match="output 'y'"):
        from_json(TensorSpec("y", dtype, (None,)), value)


def test_bytes_in_json_that_are_no_text_are_told_apart():
    value = json.loads(b'["\xff"]'.decode("utf-8", errors="surrogateescape"))
    assert from_json(TensorSpec("y", "string", (None,)), value).tolist() == ["\\xff"]
    assert from_json(TensorSpec("y_bytes", "string", (None,)), [{"b64": "/w=="}]).tolist() == ["\\xff"]
