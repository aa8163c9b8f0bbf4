"""Every element type that ONNX allows an operator: TensorFlow has kernels for fewer, and the answer has to be the same.

ONNX's reference computes what is wanted. Each operator is asked for all of its types but those without a numpy type of
their own (complex numbers, floats of 8 bits and fewer, integers of 4 and fewer), with the others of its inputs as they
are in the table.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

OPSET = 25
TYPES = {
    "float": np.float32, "double": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16,
    "int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64, "bool": np.bool_,
    "uint8": np.uint8, "uint16": np.uint16, "uint32": np.uint32, "uint64": np.uint64,
}  # fmt: skip
ROUGH = {"float16": 5e-3, "bfloat16": 4e-2}


class T:
    """An input of the type that is asked for."""

    def __init__(self, *shape: int, positive: bool = False) -> None:
        self.shape, self.positive = shape, positive

    def drawn(self, kind: str, rng: np.random.Generator) -> np.ndarray:
        if kind == "bool":
            return rng.integers(0, 2, self.shape).astype(bool)
        if kind.startswith(("float", "double", "bfloat")):
            drawn = rng.random(self.shape) + 0.5 if self.positive else rng.random(self.shape) * 4 - 2
            return np.asarray(drawn).astype(TYPES[kind])
        least = 1 if self.positive or kind.startswith("u") else -5
        return np.asarray(rng.integers(least, 6, self.shape)).astype(TYPES[kind])


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


ONE = [
    "Abs", "Neg", "Sign", "Identity", "Shape", "Size", "NonZero", "Transpose", "Flatten", "Floor", "Ceil",
    "Round", "Exp", "Sigmoid", "Tanh", "Erf", "Relu", "LeakyRelu", "Elu", "Softplus", "Softmax", "LogSoftmax",
    "Gelu", "IsNaN", "Not", "Cos", "Sin", "Atan", "Mish", "HardSigmoid", "HardSwish", "Swish",
    "ThresholdedRelu", "BitwiseNot", "ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum", "ReduceProd",
    "ReduceL1", "ReduceL2", "ReduceSumSquare", "LpNormalization",
]  # fmt: skip
TWO = [
    "Add", "Sub", "Mul", "Max", "Min", "Sum", "Mean", "Equal", "Less", "LessOrEqual", "Greater",
    "GreaterOrEqual", "And", "Or", "Xor", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "PRelu",
]  # fmt: skip
X, NEXT, POSITIVE, IMAGE = T(2, 3, 4), T(2, 3, 4), T(2, 3, 4, positive=True), T(1, 2, 4, 4)
CASES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    **dict.fromkeys(ONE, ([X], {})),
    **dict.fromkeys(("Sqrt", "Log", "Reciprocal"), ([POSITIVE], {})),
    **dict.fromkeys(TWO, ([X, NEXT], {})),
    "Div": ([X, POSITIVE], {}),
    "Mod": ([X, POSITIVE], {"fmod": 1}),
    "Pow": ([POSITIVE, POSITIVE], {}),
    "BitShift": ([POSITIVE, POSITIVE], {"direction": "LEFT"}),
    "Clip": ([X, T(), T(positive=True)], {}),
    "Where": ([np.array([[[True], [False], [True]]]), X, NEXT], {}),
    "ArgMax": ([X], {"axis": 1, "keepdims": 0}),
    "ArgMin": ([X], {"axis": -1, "select_last_index": 1}),
    "TopK": ([T(2, 9), ints(3)], {"axis": 1}),
    "Unique": ([T(12)], {}),
    "CumSum": ([X, np.array(1, np.int64)], {"reverse": 1}),
    "Trilu": ([X], {"upper": 0}),
    "Concat": ([X, NEXT], {"axis": 1}),
    "Split": ([X, ints(1, 2)], {"axis": 1}),
    "Slice": ([X, ints(-1), ints(-9), ints(1), ints(-1)], {}),
    "Squeeze": ([T(2, 1, 3), ints(1)], {}),
    "Unsqueeze": ([X, ints(0, -1)], {}),
    "Reshape": ([X, ints(4, -1)], {}),
    "Expand": ([T(3, 1), ints(2, 1, 4)], {}),
    "Tile": ([T(2, 3), ints(2, 1)], {}),
    "Pad": ([X, ints(0, 1, 0, 1, 0, 2), T()], {}),
    "Gather": ([X, ints(-1, 0)], {"axis": 1}),
    "GatherElements": ([T(2, 3), np.array([[0, -1, 1]])], {"axis": 0}),
    "GatherND": ([X, np.array([[0, -1], [1, 2]])], {}),
    "ScatterElements": ([T(3, 3), np.array([[1, 0, 2]]), T(1, 3)], {}),
    "ScatterND": ([X, np.array([[1], [0]]), NEXT], {}),
    "Compress": ([X, np.array([True, False, True])], {"axis": 1}),
    "OneHot": ([ints(0, 2, 1), np.array(3), T(2)], {}),
    "EyeLike": ([T(3, 4)], {"k": 1}),
    "Range": ([T(positive=True), np.array(9), np.array(2)], {}),
    "ReverseSequence": ([T(4, 2, 3), ints(2, 4)], {}),
    "DepthToSpace": ([T(1, 8, 2, 2)], {"blocksize": 2, "mode": "CRD"}),
    "SpaceToDepth": ([T(1, 2, 4, 4)], {"blocksize": 2}),
    "MaxPool": ([IMAGE], {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [1, 0, 0, 1]}),
    "AveragePool": ([IMAGE], {"kernel_shape": [2, 2]}),
    "GlobalAveragePool": ([IMAGE], {}),
    "Resize": ([IMAGE, None, np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    "MatMul": ([T(2, 3, 4), T(4, 5)], {}),
    "Gemm": ([T(3, 4), T(4, 5), T(5)], {}),
    "Einsum": ([T(3, 4), T(4, 5)], {"equation": "ij,jk->ki"}),
    "CenterCropPad": ([X, ints(2, 5, 1)], {}),
    "Conv": ([IMAGE, T(3, 2, 2, 2)], {}),
    "ConvTranspose": ([IMAGE, T(2, 3, 2, 2)], {}),
    "LayerNormalization": ([X, T(4), T(4)], {}),
    "RMSNormalization": ([X, T(4)], {}),
}  # fmt: skip
REFERENCE_FAILS = {
    ("ReduceSumSquare", "int32"): "answers in a wider type",
    ("ReduceSumSquare", "uint32"): "answers in a wider type",
    ("Resize", "bool"): "raises an error",
    ("MaxPool", "int8"): "raises an error",
    ("OneHot", "bool"): "raises an error",
}
CONSTANT = ("Reshape", "Squeeze", "Unsqueeze", "Resize", "TopK")  # inputs after the first that are initializers


def types_of(op: str, inputs: list[Any]) -> list[str]:
    """The types that ONNX allows for the first input that is not fixed."""
    schema = onnx.defs.get_schema(op, OPSET)
    place = next(index for index, given in enumerate(inputs) if isinstance(given, T))
    variable = schema.inputs[min(place, len(schema.inputs) - 1)].type_str
    for constraint in schema.type_constraints:
        if constraint.type_param_str == variable:
            return [kind for kind in TYPES if f"tensor({kind})" in constraint.allowed_type_strs]
    return [variable.removeprefix("tensor(").removesuffix(")")]


def model_of(op: str, feeds: Mapping[str, np.ndarray], names: list[str], attributes: Mapping[str, Any]) -> Any:
    held = list(feeds)[1:] if op in CONSTANT else []
    outputs = {"TopK": 2, "Split": 2, "Unique": 1}.get(op, 1)
    graph = helper.make_graph(
        [helper.make_node(op, names, [f"y{index}" for index in range(outputs)], **attributes)],
        "one",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(given.dtype), given.shape)
            for name, given in feeds.items()
            if name not in held
        ],
        [helper.make_empty_tensor_value_info(f"y{index}") for index in range(outputs)],
        [numpy_helper.from_array(feeds[name], name) for name in held],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=11)
    return onnx.shape_inference.infer_shapes(model)


def problem_of(op: str, kind: str, in_tensorflow: Any) -> str | None:
    inputs, attributes = CASES[op]
    rng = np.random.default_rng(7)
    feeds, names = {}, []
    for index, given in enumerate(inputs):
        names.append("" if given is None else f"x{index}")
        if op == "Range":
            feeds[f"x{index}"] = np.asarray(1 if isinstance(given, T) else given).astype(TYPES[kind])
        elif given is not None:
            feeds[f"x{index}"] = given.drawn(kind, rng) if isinstance(given, T) else given
    if op == "Mod" and kind.startswith(("int", "uint")):
        attributes = {}
    model = model_of(op, feeds, names, attributes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = [np.asarray(one) for one in ReferenceEvaluator(model).run(None, feeds)]
    try:
        found = in_tensorflow(model, feeds)
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    for one, other in zip(wanted, found, strict=True):
        if (one.dtype, one.shape) != (other.dtype, other.shape):
            return f"{other.dtype}{list(other.shape)}, not {one.dtype}{list(one.shape)}"
        rough = ROUGH.get(kind, 1e-5)
        if not np.allclose(one.astype(np.float64), other.astype(np.float64), rtol=rough, atol=rough, equal_nan=True):
            return f"{other.reshape(-1)[:4]}, not {one.reshape(-1)[:4]}"
    return None


@pytest.mark.parametrize("part", range(4))
def test_every_type_is_computed(part, lowered):
    problems = {}
    for op in sorted(CASES)[part::4]:
        for kind in types_of(op, CASES[op][0]):
            if (op, kind) not in REFERENCE_FAILS and (problem := problem_of(op, kind, lowered)):
                problems[f"{op} {kind}"] = problem
    assert problems == {}
