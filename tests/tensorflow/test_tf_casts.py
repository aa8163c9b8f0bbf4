"""Casts between all types, and tensors of types that TensorFlow has hardly a kernel for."""

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

SMALL_FLOATS = ["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn"]
SMALL_INTEGERS = ["int4", "uint4", "int2", "uint2"]
NUMBERS = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name))


@pytest.mark.parametrize("source", list(NUMBERS))
def test_every_pair_of_numbers(agrees, source):
    values = np.array([0, 1, 2, 100] if source != "bool" else [0, 1]).astype(source)
    for to in NUMBERS.values():
        agrees("Cast", {"x": values}, to=to)


@pytest.mark.parametrize("source", ["int32", "int64"])
def test_integers_wrap(agrees, source):
    for to in ("int8", "uint8", "int16", "uint16", "uint32", "uint64"):
        agrees("Cast", {"x": np.array([-1, 300, -70000, 2**31 - 1], source)}, to=NUMBERS[to])


def test_floats_truncate_towards_zero(agrees):
    x = np.array([-2.7, -0.5, 0.5, 2.7], np.float32)
    for to in ("int8", "int32", "int64"):
        agrees("Cast", {"x": x}, to=NUMBERS[to])
    agrees("Cast", {"x": np.array([0.0, -0.0, np.nan, 1e-30], np.float32)}, to=NUMBERS["bool"])


def cast_in_onnxruntime(x, to):
    from onnx import helper

    from .conftest import in_onnxruntime

    source = TensorProto.STRING if x.dtype == object else helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=to)],
        "cast",
        [helper.make_tensor_value_info("x", source, [None])],
        [helper.make_tensor_value_info("y", to, [None])],
    )
    return in_onnxruntime(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), {"x": x}
    )[0]


FLOATS = [1.5, -0.1, 1e-7, 3e20, np.inf, -np.inf, np.nan, 7, 1 / 3]


@pytest.mark.parametrize(
    "x",
    [
        np.array(FLOATS, np.float32),
        np.array(FLOATS, np.float64),
        np.array([-3, 2**40], np.int64),
        np.array([0, 2**64 - 1], np.uint64),
        np.array([True, False]),
        np.array([0, -7], np.int8),
        np.array([0.1, 3], np.float16),
    ],
    ids=lambda x: str(x.dtype),
)
def test_numbers_as_text(x):
    import tensorflow as tf

    from mlconvert.tensorflow.families.casts import cast

    found = [one.decode() for one in cast(tf.constant(x), to=TensorProto.STRING).numpy()]
    assert found == list(cast_in_onnxruntime(x, TensorProto.STRING))


@pytest.mark.parametrize("to", ["float32", "float64", "float16", "int8", "uint8", "int32", "int64", "uint64", "bool"])
def test_text_as_numbers(to):
    import tensorflow as tf

    from mlconvert.tensorflow.families.casts import cast

    text = ["0", "1", " 7 ", "1.7", "12"]
    text += ["-3"] if not to.startswith("u") else []
    text += ["+INF", "-inf", "1e3"] if to.startswith("float") else []
    found = cast(tf.constant(text), to=NUMBERS[to]).numpy()
    wanted = cast_in_onnxruntime(np.array(text, object), NUMBERS[to])
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", SMALL_FLOATS)
@pytest.mark.parametrize("real", [np.float32, np.float16, np.float64])
def test_small_floats_round_as_numpy_does(name, real):
    """All ties, all neighbours of ties, subnormals and zeros. numpy goes through float32, so doubles that are none are
    left out."""
    import tensorflow as tf

    from mlconvert.tensorflow import small_types

    dtype = tf.as_dtype(dtype_of(name))
    table = np.unique(small_types.values_of(dtype).astype(np.float64))
    finite = table[np.isfinite(table)]
    finite = finite[np.abs(finite) <= np.finfo(real).max]
    ties = ((finite[1:] + finite[:-1]) / 2).astype(real)
    values = np.concatenate(
        [finite.astype(real), ties, np.nextafter(ties, real(np.inf)), np.nextafter(ties, real(-np.inf))]
    )
    if real == np.float64:
        values = values.astype(np.float32).astype(np.float64)
    values = values[np.abs(values) <= finite[-1]]
    found = small_types.cast(tf.constant(values), dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(
        np.asarray(found.numpy()).view(np.uint8), values.astype(dtype_of(name)).view(np.uint8)
    )


@pytest.mark.parametrize(
    ("name", "saturated", "not_saturated"),
    [
        ("float8_e4m3fn", 448, np.nan),
        ("float8_e4m3fnuz", 240, np.nan),
        ("float8_e5m2", 57344, np.inf),
        ("float8_e5m2fnuz", 57344, np.nan),
        ("float4_e2m1fn", 6, 6),
    ],
)
def test_what_is_too_large_for_a_small_float(name, saturated, not_saturated):
    import tensorflow as tf

    from mlconvert.tensorflow import small_types

    dtype = tf.as_dtype(dtype_of(name))
    x = tf.constant([1e9, -1e9, np.inf, -np.inf], tf.float32)
    signs = np.array([1, -1, 1, -1], np.float32)
    for saturate, wanted in ((True, saturated), (False, not_saturated)):
        found = small_types.cast(small_types.cast(x, dtype, saturate=saturate), tf.float32).numpy()
        np.testing.assert_array_equal(np.abs(found), np.full(4, wanted, np.float32))
        if np.isfinite(wanted):
            np.testing.assert_array_equal(np.sign(found), signs)


@pytest.mark.parametrize("name", SMALL_INTEGERS)
def test_small_integers_wrap(name):
    import tensorflow as tf

    from mlconvert.tensorflow import small_types

    dtype = tf.as_dtype(dtype_of(name))
    bits, signed = int(name[-1]), not name.startswith("u")
    values = np.arange(-20, 20)
    low = -(2 ** (bits - 1)) if signed else 0
    wanted = (values - low) % 2**bits + low
    for source in (np.int64, np.float32, np.int8):
        found = small_types.cast(tf.constant(values.astype(source)), dtype)
        np.testing.assert_array_equal(small_types.cast(found, tf.int32), wanted)


@pytest.mark.parametrize("name", SMALL_FLOATS + SMALL_INTEGERS)
def test_small_tensors_of_unknown_shape_are_moved(name):
    import tensorflow as tf

    from mlconvert.tensorflow.families import shapes, slices
    from mlconvert.tensorflow.kernels import moved

    dtype = tf.as_dtype(dtype_of(name))
    values = np.array([[0, 1, 1], [1, 0, 0]], np.float32)

    def call(x):
        doubled = shapes.concat(x, x, axis=1)
        turned = shapes.transpose(doubled)
        padded = slices.pad(turned, tf.constant([0, 0, 1, 0], tf.int64))
        return moved(lambda one: tf.where(tf.constant(True), one, one), padded)

    traced = tf.function(call, input_signature=[tf.TensorSpec([None, None], dtype)], autograph=False)
    found = traced(tf.constant(values.astype(dtype_of(name)))).numpy()
    wanted = np.pad(np.concatenate([values, values], 1).T, [(0, 1), (0, 0)])
    np.testing.assert_array_equal(found.astype(np.float32), wanted)
    empty = traced(tf.constant(np.zeros((0, 2), dtype_of(name))))
    assert empty.shape == (5, 0)


def test_a_type_that_tensorflow_lacks_is_named():
    from mlconvert.tensorflow.element_types import of_onnx

    with pytest.raises(TypeError, match="FLOAT8E8M0"):
        of_onnx(TensorProto.FLOAT8E8M0)
