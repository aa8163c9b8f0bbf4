"""Which type a lowering computes in, and shape arithmetic that stays known."""

import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from mlconvert.tensorflow import dimensions, kernels
from mlconvert.tensorflow.families import arithmetic, shapes, slices

TYPES = sorted(kernels.NUMBERS | kernels.SMALL | {tf.bool}, key=lambda dtype: dtype.name)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.name)
def test_a_wider_type_holds_all_values(dtype):
    """Except uint64 in int64, where the bits are the same."""
    for have in (
        kernels.DOUBLES,
        kernels.NUMBERS,
        frozenset({tf.int32, tf.int64, tf.float64}),
        frozenset({tf.float64}),
    ):
        wider = kernels.wide(dtype, have)
        assert wider in have
        small = tf.constant(np.array([0, 1]).astype(dtype.as_numpy_dtype))
        back = kernels.cast(kernels.cast(small, wider), dtype)
        assert back.dtype == dtype
        np.testing.assert_array_equal(back.numpy().astype(np.float32), [0, 1])
        if dtype in kernels.INTEGERS - {tf.uint64, tf.int64}:
            assert wider.min <= dtype.min
            assert wider.max >= dtype.max


def test_a_type_without_a_kernel_is_an_error():
    with pytest.raises(KeyError, match="no kernel for string"):
        kernels.wide(tf.string, kernels.DOUBLES)


def test_only_what_was_widened_is_cast_back():
    values, places = kernels.widened(kernels.DOUBLES, lambda x: (x + 1, tf.argmax(x)), tf.constant([1, 5], tf.int8))
    assert (values.dtype, places.dtype) == (tf.int8, tf.int64)
    assert kernels.judged(kernels.DOUBLES, lambda x: x > 1, tf.constant([1, 5], tf.float16)).dtype == tf.bool


MOVES = {
    "transpose": shapes.transpose,
    "concat": lambda x: shapes.concat(x, x, axis=0),
    "split": lambda x: shapes.split_13(x, tf.constant([1, 1], tf.int64), node=None, num_outputs=2)[0],
    "tile": lambda x: shapes.tile(x, tf.constant([2, 1])),
    "expand": lambda x: shapes.expand(x, tf.constant([2, 1, 1], tf.int64)),
    "slice": lambda x: slices.slice_10(x, tf.constant([-1]), tf.constant([-9]), tf.constant([1]), tf.constant([-1])),
    "pad": lambda x: slices.pad(x, tf.constant([1, 0, 0, -1])),
    "edge": lambda x: slices.pad(x, tf.constant([1, 0, 0, 2]), mode="edge"),
    "trilu": shapes.trilu,
}


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: dtype.name)
def test_every_type_is_moved(dtype):
    plain = np.array([[1, 0, 1], [0, 1, 1]])
    for name, move in MOVES.items():
        wanted = move(tf.constant(plain)).numpy()
        found = move(tf.constant(plain.astype(dtype.as_numpy_dtype)))
        assert found.dtype == dtype, name
        np.testing.assert_array_equal(found.numpy().astype(np.int64), wanted, err_msg=name)


def test_a_vector_is_taken_apart_and_put_together():
    seen = []

    def call(x):
        vector = dimensions.vector(dimensions.dims(x))
        parts = dimensions.elements(vector)
        seen.append((dimensions.is_stack(vector), parts[1], isinstance(parts[0], tf.Tensor)))
        hidden = vector * 1
        seen.append((dimensions.is_shape(hidden), len(dimensions.elements(hidden))))
        return tf.reshape(x, dimensions.vector([*parts[::-1]]))

    traced = tf.function(call, input_signature=[tf.TensorSpec([None, 4], tf.float32)], autograph=False)
    assert traced(tf.zeros([3, 4])).shape == (4, 3)
    assert seen == [(True, 4, True), (False, 2)]
    assert traced.get_concrete_function().outputs[0].shape.as_list() == [4, None]


def test_long_vectors_and_others_are_no_shapes():
    assert dimensions.elements(tf.zeros([dimensions.LONGEST + 1], tf.int64)) is None
    assert dimensions.elements(tf.zeros([2])) is None
    assert dimensions.elements(tf.zeros([1, 1], tf.int64)) is None
    assert dimensions.product([2, 3, 0]) == 0
    assert int(dimensions.product([2, tf.constant(5, tf.int64)])) == 10


INDEX = st.integers(-12, 12) | st.sampled_from([2**63 - 1, -(2**63), 2**31 - 1])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 9), INDEX, INDEX, st.integers(-4, 4).filter(bool), st.booleans())
def test_slices_are_those_of_numpy(length, start, stop, step, shape_like):
    """ONNX takes bounds as numpy does, also those far outside."""
    x = np.arange(length, dtype=np.int64 if shape_like else np.float32)
    one = [tf.constant([value], tf.int64) for value in (start, stop, 0, step)]
    np.testing.assert_array_equal(slices.slice_10(tf.constant(x), *one), x[start:stop:step])


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 5),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from(["edge", "wrap", "reflect", "constant"]),
)
def test_pads_are_those_of_numpy(length, before, after, mode):
    x = np.arange(length, dtype=np.float32) + 1
    found = slices.pad(tf.constant(x), tf.constant([before, after], tf.int64), mode=mode)
    np.testing.assert_array_equal(found, np.pad(x, (before, after), mode=mode))


SIDES = st.lists(st.sampled_from([1, 2, 3]), min_size=0, max_size=3)


@settings(max_examples=100, deadline=None)
@given(SIDES, SIDES)
def test_expand_broadcasts_both_ways(one, other):
    x = np.arange(np.prod(one, dtype=int), dtype=np.float32).reshape(one)
    try:
        wanted = x * np.ones(other, np.float32)
    except ValueError:
        return
    np.testing.assert_array_equal(shapes.expand(tf.constant(x), tf.constant(other, tf.int64)), wanted)
    np.testing.assert_array_equal(arithmetic._add(tf.constant(x), tf.ones(other)), x + np.ones(other, np.float32))


@settings(max_examples=100, deadline=None)
@given(
    st.floats(-1e3, 1e3, width=32).filter(lambda x: abs(x) > 1e-3),
    st.floats(-50, 50, width=32).filter(lambda x: abs(x) > 1e-2),
)
def test_the_rest_has_the_sign_of_the_divisor(a, b):
    found = arithmetic.modulo(tf.constant(a), tf.constant(b)).numpy()
    assert found == np.mod(np.float32(a), np.float32(b))
    assert arithmetic.modulo(tf.constant(a), tf.constant(b), fmod=1).numpy() == np.fmod(np.float32(a), np.float32(b))
