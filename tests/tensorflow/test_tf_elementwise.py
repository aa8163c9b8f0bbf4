"""Activations, arithmetic and logic: what the backend suite does not have."""

import numpy as np
import pytest

NAN, INF = np.nan, np.inf
ODD = np.array([[-INF, -3.5, -2.5, -1.0, -0.0], [0.0, 0.5, 1e-4, NAN, INF]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        ("Relu", {}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("Softplus", {}),
        ("Elu", {"alpha": 0.7}),
        ("Round", {}),
        ("Sign", {}),
        ("Floor", {}),
        ("Exp", {}),
        ("Log", {}),
        ("Reciprocal", {}),
        ("IsNaN", {}),
        ("IsInf", {"detect_negative": 0}),
        ("LeakyRelu", {"alpha": 0.2}),
    ],
)
def test_infinities_and_nan(agrees, op, attributes, dtype):
    if dtype == np.float64 and op in ("Softplus", "Elu", "LeakyRelu"):
        dtype = np.float32  # what ONNX Runtime has
    agrees(op, {"x": ODD.astype(dtype)}, **attributes)


@pytest.mark.parametrize(
    "op", ["Selu", "Celu", "HardSigmoid", "HardSwish", "Gelu", "ThresholdedRelu", "Softsign", "Mish"]
)
def test_activations_at_their_defaults(agrees, op):
    agrees(op, {"x": np.linspace(-4, 4, 12, dtype=np.float32).reshape(3, 4)})


def test_small_values_keep_their_digits(agrees):
    x = np.array([-1e-6, -1e-4, 1e-6], np.float32)
    agrees("Elu", {"x": x}, wanted=[np.where(x > 0, x, np.expm1(x))], rtol=1e-6, atol=0)


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_a_nan_wins(agrees, op):
    a = np.array([NAN, 1, NAN, 2, 3], np.float32)
    b = np.array([1, NAN, NAN, 3, 2], np.float32)
    agrees(op, {"a": a, "b": b, "c": np.array([0.5], np.float32)})


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
def test_integers_wrap_and_their_division_truncates(agrees, op, dtype):
    info = np.iinfo(dtype)
    a = np.array([[info.max, info.min, 7], [100, 9, 3]], dtype)
    b = np.array([2, 3, 2], dtype)
    if op == "Div":
        towards_zero = np.vectorize(lambda x, y: abs(x) // y * (1 if x >= 0 else -1), otypes=[object])
        quotient = towards_zero(a.astype(object), b.astype(object))
        agrees(op, {"a": a, "b": b}, wanted=[quotient.astype(dtype)])
        return
    with np.errstate(over="ignore"):
        wanted = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[op](a, b)
    agrees(op, {"a": a, "b": b}, wanted=[wanted])


def test_modulo_of_floats(agrees):
    a = np.array([7, -7, 7, -7, 0.0, 5, -5, 5.5], np.float32)
    b = np.array([3, 3, -3, -3, -2, INF, INF, NAN], np.float32)
    agrees("Mod", {"a": a, "b": b}, fmod=1)
    agrees("Mod", {"a": a, "b": b}, wanted=[np.mod(a, b)], opset=13)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64])
def test_modulo_of_integers(agrees, dtype):
    a, b = np.array([7, 9, 120], dtype), np.array([3, 4, 7], dtype)
    if dtype != np.uint16:
        a = -a
    agrees("Mod", {"a": a, "b": b})
    agrees("Mod", {"a": a, "b": b}, fmod=1)


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.array([2, 3, -2], np.int64), np.array([-1, 2, 3], np.int64)),
        (np.array([2, 3, 9], np.int32), np.array([0.5, 2.5, 0.5], np.float32)),
        (np.array([2, 3, -2], np.float32), np.array([2, -1, 3], np.int64)),
        (np.array([1.5, 4], np.float32), np.array([2], np.float32)),
        (np.array([1.5, 4], np.float64), np.array([3], np.int32)),
    ],
)
def test_powers_of_mixed_types(agrees, x, y):
    agrees("Pow", {"x": x, "y": y})
    agrees("Pow", {"x": x, "y": y}, constants=("y",))


@pytest.mark.parametrize("axis", [0, 1, None])
def test_broadcasting_before_opset_7(agrees, axis):
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    b = {0: np.arange(2), 1: np.arange(3), None: np.arange(4)}[axis].astype(np.float32)
    wide = b.reshape({0: (2, 1, 1), 1: (3, 1), None: (4,)}[axis])
    given = {} if axis is None else {"axis": axis}
    agrees("Add", {"a": a, "b": b}, opset=6, broadcast=1, wanted=[a + wide], **given)
    agrees("Greater", {"a": a, "b": b}, opset=6, broadcast=1, wanted=[a > wide], **given)


def test_a_row_added_to_a_product_of_a_transposed_matrix():
    """TensorFlow's optimiser made a fused product of it that refuses the row."""
    import onnx.parser

    from .conftest import in_onnxruntime, in_tensorflow, same

    model = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 21]>
        g (float[5,3] a, float[5,4] b, float[1,4] c, float[1,1,4] d) => (float[3,4] y, float[1,3,4] z) {
            t = Transpose<perm = [1, 0]>(a)
            p = MatMul(t, b)
            y = Add(p, c)
            q = MatMul(t, b)
            z = Add(d, q)
        }"""
    )
    rng = np.random.default_rng(0)
    feeds = {n: rng.random(s, np.float32) for n, s in {"a": (5, 3), "b": (5, 4), "c": (1, 4), "d": (1, 1, 4)}.items()}
    same(in_onnxruntime(model, feeds), in_tensorflow(model, feeds))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint32, np.int64])
def test_clip_in_all_types(agrees, dtype):
    feeds = {"x": np.array([1, 50, 100], dtype), "low": np.array(10, dtype), "high": np.array(60, dtype)}
    agrees("Clip", feeds)
    agrees("Clip", {"x": feeds["x"], "high": feeds["high"]}, inputs=["x", "", "high"])


def test_clip_of_old_opsets(agrees):
    agrees("Clip", {"x": np.array([-3, 0.5, 3], np.float32)}, opset=6, min=-1.0, max=1.0)
    agrees("Clip", {"x": np.array([-3, 0.5, 3], np.float32)}, opset=10, max=1.0)


@pytest.mark.parametrize("opset", [1, 6])
def test_prelu_with_a_slope_per_channel(agrees, opset):
    x = np.linspace(-3, 3, 12, dtype=np.float32).reshape(1, 3, 4)
    slope = np.array([0.1, 0.2, 0.3], np.float32)
    agrees("PRelu", {"x": x, "slope": slope}, opset=opset, wanted=[np.where(x < 0, x * slope[:, None], x)])


def test_dropout_is_the_identity(agrees):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    agrees("Dropout", {"x": x}, outputs=2, opset=13)
    agrees("Dropout", {"x": x}, outputs=2, opset=7, wanted=[x, np.ones_like(x)])
    agrees("Dropout", {"x": x}, outputs=1, opset=6, is_test=1, wanted=[x])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint64])
@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_shifts_by_all_bits(agrees, dtype, direction):
    bits = 8 * np.dtype(dtype).itemsize
    x = np.array([1, 3, np.iinfo(dtype).max, 5], dtype)
    y = np.array([1, bits - 1, 2, bits], dtype)
    exact = [int(a) << int(b) if direction == "LEFT" else int(a) >> int(b) for a, b in zip(x, y, strict=True)]
    wanted = np.array([one & int(np.iinfo(dtype).max) for one in exact], dtype)
    agrees("BitShift", {"x": x, "y": y}, direction=direction, wanted=[wanted])


def test_comparisons_and_where(agrees):
    agrees("Equal", {"a": np.array([True, False]), "b": np.array([True, True])})
    agrees("Less", {"a": np.array([2**63 + 1], np.uint64), "b": np.array([2**63], np.uint64)})
    agrees("Where", {"c": np.array([[True], [False]]), "x": np.array([1, 2], np.uint8), "y": np.array(3, np.uint8)})
    agrees("Xor", {"a": np.array([[True], [False]]), "b": np.array([True, False])})


@pytest.mark.parametrize("op", ["Add", "Relu", "Sqrt", "Max", "Where"])
def test_empty_tensors(agrees, op):
    x = np.zeros((0, 3), np.float32)
    feeds = {"x": x} if op in ("Relu", "Sqrt") else {"x": x, "y": np.ones(3, np.float32)}
    if op == "Where":
        feeds = {"c": np.zeros((0, 1), bool), **feeds}
    agrees(op, feeds)
