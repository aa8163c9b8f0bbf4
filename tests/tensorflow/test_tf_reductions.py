"""Reductions and products of matrices: axes given in every way, empty sets, doubles, integers, half types."""

import numpy as np
import pytest

X = np.sin(np.arange(24)).reshape(2, 3, 4)
OPS = ["Sum", "Mean", "Prod", "Max", "Min", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]


def ints(*values):
    return np.array(values, np.int64)


@pytest.mark.parametrize("op", OPS)
def test_axes_as_attribute_as_constant_and_computed(agrees, op):
    x = np.abs(X).astype(np.float32) + 0.1
    older = 11
    agrees(f"Reduce{op}", {"x": x}, opset=older, axes=[0, -1])
    agrees(f"Reduce{op}", {"x": x}, opset=older, keepdims=0)
    feeds = {"x": x, "a": ints(-1, 0)}
    agrees(f"Reduce{op}", feeds, opset=18, constants=("a",), keepdims=0)
    agrees(f"Reduce{op}", feeds, opset=18)
    agrees(f"Reduce{op}", feeds, opset=18, keepdims=0)
    agrees(f"Reduce{op}", {"x": x}, opset=18)


@pytest.mark.parametrize("op", ["Sum", "Mean", "Max", "LogSumExp", "L2"])
def test_doubles_stay_doubles(agrees, op):
    agrees(f"Reduce{op}", {"x": X, "a": ints(1)}, opset=18, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("op", ["Sum", "Max", "Min", "Prod", "L1", "SumSquare"])
def test_integers(agrees, op):
    agrees(f"Reduce{op}", {"x": (10 * X).astype(np.int32), "a": ints(1)}, opset=18)


@pytest.mark.parametrize(
    ("op", "empty"), [("Sum", 0), ("Prod", 1), ("Max", -np.inf), ("Min", np.inf), ("L2", 0), ("LogSum", -np.inf)]
)
def test_of_nothing(agrees, op, empty):
    x = np.zeros((2, 0, 3), np.float32)
    agrees(f"Reduce{op}", {"x": x, "a": ints(1)}, opset=18, wanted=[np.full((2, 1, 3), empty, np.float32)])


def test_no_axes_are_none_or_all(agrees):
    x = X.astype(np.float32)
    agrees("ReduceSum", {"x": x}, opset=13, noop_with_empty_axes=1, wanted=[x])
    agrees("ReduceSum", {"x": x, "a": ints()}, opset=13, keepdims=0)
    agrees("ReduceSum", {"x": x, "a": ints()}, opset=13, noop_with_empty_axes=1, wanted=[x])


def test_truth_values(agrees):
    x = X > 0.5
    agrees("ReduceMax", {"x": x, "a": ints(2)}, opset=20, wanted=[x.any(2, keepdims=True)])
    agrees("ReduceMin", {"x": x, "a": ints(2)}, opset=20, wanted=[x.all(2, keepdims=True)])


def test_half_types_are_summed_in_float(agrees):
    x = np.full((1, 4096), 0.1, np.float16)
    agrees(
        "ReduceSum", {"x": x, "a": ints(1)}, opset=13, wanted=[x.astype(np.float32).sum(1, keepdims=True).astype("f2")]
    )
    agrees(
        "MatMul",
        {"x": x, "y": np.ones((4096, 1), "f2")},
        wanted=[x.astype(np.float32).sum(1, keepdims=True).astype("f2")],
    )


def test_softmax_of_large_and_infinite_scores(agrees):
    x = np.array([[1000, 1001, -np.inf], [-1000, 0, 1000]], np.float32)
    agrees("Softmax", {"x": x})
    agrees("Softmax", {"x": x}, axis=0)
    agrees("LogSoftmax", {"x": np.array([[1000, 1001, 7.5], [-1000, 0, 1000]])}, rtol=1e-14)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3,), (3,)),
        ((3,), (3, 2)),
        ((3,), (5, 3, 2)),
        ((2, 3), (3,)),
        ((4, 2, 3), (3,)),
        ((4, 2, 3), (3, 5)),
        ((0, 2, 3), (3, 5)),
        ((2, 0), (0, 3)),
        ((1, 4, 2, 3), (5, 1, 3, 2)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_matmul_of_all_ranks(agrees, left, right, dtype):
    rng = np.random.default_rng(0)
    feeds = {"a": (9 * rng.standard_normal(left)).astype(dtype), "b": (9 * rng.standard_normal(right)).astype(dtype)}
    agrees("MatMul", feeds, rtol=1e-6 if dtype == np.float32 else 1e-14)
    if 0 not in right:
        agrees("MatMul", feeds, constants=("b",))


@pytest.mark.parametrize("bias", [None, (), (1,), (5,), (2, 1), (1, 5), (2, 5)])
@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(agrees, bias, transposed):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3)).astype("f4"), rng.standard_normal((3, 5)).astype("f4")
    feeds = {"a": a.T.copy(), "b": b.T.copy()} if transposed else {"a": a, "b": b}
    if bias is not None:
        feeds["c"] = rng.standard_normal(bias).astype("f4")
    agrees("Gemm", feeds, alpha=0.5, beta=2.0, transA=transposed, transB=transposed)
    agrees("Gemm", feeds, constants=("b", "c") if bias is not None else ("b",), transA=transposed, transB=transposed)


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ij,jk", [(2, 3), (3, 4)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)]),
        ("b i d, b j d -> b i j", [(2, 3, 4), (2, 5, 4)]),
        ("ii->i", [(3, 3)]),
        ("...ii->...", [(2, 3, 3)]),
        ("ij->", [(2, 3)]),
        ("i,j,k->kji", [(2,), (3,), (4,)]),
    ],
)
def test_einsum(agrees, equation, shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    feeds = {f"x{i}": array for i, array in enumerate(arrays)}
    agrees("Einsum", feeds, equation=equation, wanted=[np.asarray(np.einsum(equation, *arrays))], rtol=1e-13)


def test_determinants(agrees):
    x = np.random.default_rng(0).standard_normal((4, 3, 3))
    agrees("Det", {"x": x}, wanted=[np.linalg.det(x)], rtol=1e-12)
    agrees("Det", {"x": x.astype(np.float32)})
