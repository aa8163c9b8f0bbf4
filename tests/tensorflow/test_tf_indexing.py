"""Gathers, scatters and what goes by order: negative indices, duplicates, ties, older opsets, empty tensors."""

import numpy as np
import pytest

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def ints(values):
    return np.array(values, np.int64)


@pytest.mark.parametrize("fixed", [True, False])
@pytest.mark.parametrize("axis", [0, -1])
def test_gather_counts_from_the_end(agrees, axis, fixed):
    feeds = {"x": X, "i": np.array([[-1, 0], [1, -2]], np.int32)}
    agrees("Gather", feeds, constants=("i",) if fixed else (), axis=axis)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements_of_fewer_places(agrees, axis):
    agrees("GatherElements", {"x": X, "i": ints([[[-1, 0], [1, -2]]])}, axis=axis)


def test_gather_nd(agrees):
    agrees("GatherND", {"x": X, "i": ints([[0, -1], [-2, 1]])})
    agrees("GatherND", {"x": X, "i": ints([[[-1], [0]], [[2], [-3]]])}, batch_dims=1)
    agrees("GatherND", {"x": X, "i": ints([[[0, -1, 3]]])})


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatters_reduce_duplicates(agrees, reduction, dtype):
    x = X.astype(dtype) + 1
    places = ints([[[0, -1, 1, 1]], [[2, -2, 2, 0]]])
    updates = np.array([[[3, 30, 2, 2]], [[5, 7, 9, 1]]], dtype)
    feeds = {"x": x, "i": places, "u": updates}
    agrees("ScatterElements", feeds, axis=1, reduction=reduction, opset=18)
    if reduction != "none":  # of duplicates any may stay
        rows = np.array([[2, 2, 2, 2], [30, 1, 3, 4], [1, 5, 1, 9]], dtype)
        feeds = {"x": x, "i": ints([[0, 1], [-1, -1], [0, 1]]), "u": rows}
        agrees("ScatterND", feeds, reduction=reduction, opset=18)


def test_scatter_of_types_without_arithmetic(agrees):
    x = np.array([[True, False], [False, False]])
    agrees("ScatterND", {"x": x, "i": ints([[1, -1]]), "u": np.array([True])})
    agrees("Scatter", {"x": X, "i": ints([[[1]]]), "u": np.array([[[-1]]], np.float32)}, opset=9, axis=2)


def test_scatter_of_nothing(agrees):
    feeds = {"x": X, "i": np.zeros((0, 2), np.int64), "u": np.zeros((0, 4), np.float32)}
    agrees("ScatterND", feeds)
    agrees("ScatterND", feeds, reduction="mul", opset=18)


@pytest.mark.parametrize("axis", [-1, 0, 1, -2])
def test_one_hot(agrees, axis):
    feeds = {"i": ints([[0, -1], [3, 7]]), "d": ints(4), "v": np.array([2, 5], np.float32)}
    agrees("OneHot", feeds, axis=axis)
    agrees("OneHot", feeds, constants=("d", "v"), axis=axis)


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8])
def test_top_k_takes_the_first_of_equals(agrees, dtype, largest):
    x = np.array([[3, 1, 3, 0], [0, 0, 200, 200]], dtype)
    agrees("TopK", {"x": x, "k": ints([3])}, outputs=2, largest=largest)
    agrees("TopK", {"x": x, "k": ints([2])}, constants=("k",), outputs=2, largest=largest, axis=0)


def test_the_smallest_integer_has_no_negative(agrees):
    x = np.array([5, np.iinfo(np.int32).min, -7], np.int32)
    agrees("TopK", {"x": x, "k": ints([2])}, outputs=2, largest=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_nan_is_the_largest(agrees, dtype):
    x = np.array([[1, np.nan, 3, 2], [-np.inf, 0, np.inf, -1]], dtype)
    largest = [np.array([[np.nan, 3, 2], [np.inf, 0, -1]], dtype), ints([[1, 2, 3], [2, 1, 3]])]
    smallest = [np.array([[1, 2, 3], [-np.inf, -1, 0]], dtype), ints([[0, 3, 2], [0, 3, 1]])]
    agrees("TopK", {"x": x, "k": ints([3])}, outputs=2, wanted=largest)
    agrees("TopK", {"x": x, "k": ints([3])}, outputs=2, largest=0, wanted=smallest)


def test_top_k_of_opset_1(agrees):
    agrees("TopK", {"x": X}, opset=9, k=2, outputs=2, axis=1)


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_the_first_or_last_extreme(agrees, op, last):
    x = np.array([[2, 1, 2, 1], [0, 0, 0, 0]], np.float32)
    agrees(op, {"x": x}, axis=-1, select_last_index=last, keepdims=0)
    agrees(op, {"x": x.astype(np.float64)}, axis=0, select_last_index=last)


@pytest.mark.parametrize("x", [X % 2, X.astype(np.int64), X > 4, np.zeros((0, 2), np.float32)])
def test_nonzero(agrees, x):
    agrees("NonZero", {"x": x})


def test_compress_with_a_short_condition(agrees):
    agrees("Compress", {"x": X, "c": np.array([False, True])}, axis=-1)
    agrees("Compress", {"x": X, "c": np.array([False, True, True, False, True])})


@pytest.mark.parametrize("sorted_", [0, 1])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.int8])
def test_unique(agrees, dtype, axis, sorted_):
    x = np.array([[[2, 1], [1, 3], [2, 1]], [[0, 1], [1, 1], [0, 1]], [[2, 1], [1, 3], [2, 1]]], dtype)
    given = {} if axis is None else {"axis": axis}
    if sorted_ == 0 and axis is not None:
        values, first = np.unique(x, axis=axis, return_index=True)[:2]
        order = np.argsort(first)
        assert order.size == values.shape[axis]
        agrees("Unique", {"x": x}, sorted=0, wanted=[np.take(values, order, axis)], **given)
        return
    agrees("Unique", {"x": x}, outputs=4, sorted=sorted_, **given)


def test_cumulative_sums(agrees):
    for exclusive, reverse in ((0, 0), (1, 0), (0, 1), (1, 1)):
        agrees("CumSum", {"x": X, "a": np.array(-2, np.int32)}, exclusive=exclusive, reverse=reverse)
    agrees("CumSum", {"x": X.astype(np.float64), "a": np.array(1, np.int64)}, constants=("a",))


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("op", ["Hardmax", "Softmax", "LogSoftmax"])
def test_the_axis_before_opset_13_is_where_rows_begin(agrees, op, opset):
    agrees(op, {"x": np.sin(X)}, opset=opset)
    agrees(op, {"x": np.sin(X)}, opset=opset, axis=0)


def test_the_number_of_axes_may_be_known_at_run_time_only(graph_agrees):
    """A Squeeze without axes of unknown lengths says nothing of how many axes are left."""
    graph = """g (float[2, 1, 3] x, int64[2, 2] places) => (float[2, 1, 2] y, float[1, 1, 2] z) {
      few = Squeeze(x)
      along = GatherElements <axis = -1> (few, places)
      across = GatherElements <axis = 0> (few, places)
      sum = Add(along, across)
      axis = Constant <value_ints = [1]> ()
      wide = Unsqueeze(sum, axis)
      same = Squeeze(wide, axis)
      y = Unsqueeze(same, axis)
      front = Constant <value_ints = [0]> ()
      z = Slice(wide, front, axis, front)
    }"""
    x = np.arange(6, dtype=np.float32).reshape(2, 1, 3)
    graph_agrees(graph, {"x": x, "places": np.array([[0, -1], [1, 0]])})
