"""BatchNormalization behind a convolution: part of its filters where nothing else can tell, untouched elsewhere."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mlconvert.tensorflow.folding import fold_normalizations
from mlconvert.tensorflow.lowering import constants_of

KINDS = {"float32": onnx.TensorProto.FLOAT, "float64": onnx.TensorProto.DOUBLE, "float16": onnx.TensorProto.FLOAT16}


def normal(*shape, seed=0, dtype="float32"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def statistics(channels, dtype="float32", **replaced):
    made = {
        "scale": normal(channels, seed=1, dtype=dtype),
        "offset": normal(channels, seed=2, dtype=dtype),
        "mean": normal(channels, seed=3, dtype=dtype),
        "spread": np.abs(normal(channels, seed=4, dtype=dtype)) + np.asarray(0.1, dtype),
    }
    return {**made, **replaced}


def model_of(nodes, held, x, *, opset=17, outputs=("y",), dtype="float32"):
    graph = helper.make_graph(
        nodes,
        "folded",
        [helper.make_tensor_value_info("x", KINDS[dtype], x.shape)],
        [helper.make_tensor_value_info(name, KINDS[dtype], None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pair(op="Conv", *, bias=False, normalization=None, **given):
    filters = ["x", "w", "b"] if bias else ["x", "w"]
    return [
        helper.make_node(op, filters, ["c"], **given),
        helper.make_node(
            "BatchNormalization", ["c", "scale", "offset", "mean", "spread"], ["y"], **normalization or {}
        ),
    ]


def folded(model):
    """What is left of the model, as a model."""
    nodes, constants = fold_normalizations(model.graph, constants_of(model.graph), model.opset_import[0].version)
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "left",
        list(model.graph.input),
        list(model.graph.output),
        [numpy_helper.from_array(read(), name) for name, read in constants.items() if name in used],
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=8)


def answers(model, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"]).run(
        None, {"x": x}
    )


def operators_of(model):
    return [node.op_type for node in model.graph.node]


def same_answers(model, other, x, rtol=1e-5):
    for mine, theirs in zip(answers(other, x), answers(model, x), strict=True):
        assert (mine.dtype, mine.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * np.abs(theirs).max())


@settings(deadline=None, max_examples=40)
@given(
    rank=st.integers(1, 3),
    groups=st.sampled_from([1, 2, 4]),
    features=st.sampled_from([4, 8]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
    size=st.sampled_from([1e-3, 1.0, 1e3]),
)
def test_a_convolution_answers_as_the_two_did(rank, groups, features, bias, seed, size):
    x = normal(2, 4, *[5] * rank, seed=seed)
    held = {"w": size * normal(features, 4 // groups, *[3] * rank, seed=seed + 1), **statistics(features)}
    held["w"] = held["w"].astype(np.float32)
    if bias:
        held["b"] = normal(features, seed=seed + 2)
    model = model_of(pair(bias=bias, group=groups, pads=[1] * 2 * rank), held, x)
    made = folded(model)
    assert operators_of(made) == ["Conv"]
    same_answers(model, made, x)


def test_a_transposed_convolution_does_so_without_groups():
    x = normal(2, 4, 5, 5)
    held = {"w": normal(4, 3, 2, 2), **statistics(3)}
    model = model_of(pair("ConvTranspose", strides=[2, 2]), held, x)
    assert operators_of(folded(model)) == ["ConvTranspose"]
    same_answers(model, folded(model), x)
    held = {"w": normal(4, 3, 2, 2), **statistics(6)}
    assert len(operators_of(folded(model_of(pair("ConvTranspose", group=2), held, x)))) == 2


def test_doubles_stay_as_exact_as_doubles_are():
    x = normal(2, 3, 4, 4, dtype="float64")
    held = {"w": normal(5, 3, 3, 3, dtype="float64"), **statistics(5, "float64")}
    model = model_of(pair(), held, x, dtype="float64")
    made = folded(model)
    assert operators_of(made) == ["Conv"]
    (mine,), (theirs,) = (ReferenceEvaluator(one).run(None, {"x": x}) for one in (made, model))
    np.testing.assert_allclose(mine, theirs, rtol=1e-13, atol=1e-13)


X = normal(2, 3, 4, 4)
HELD = {"w": normal(5, 3, 3, 3), **statistics(5)}


@pytest.mark.parametrize(
    ("what", "model"),
    {
        "the convolution's own result is an output": model_of(pair(), HELD, X, outputs=("y", "c")),
        "it is used elsewhere": model_of(
            [*pair(), helper.make_node("Relu", ["c"], ["z"])], HELD, X, outputs=("y", "z")
        ),
        "statistics of the batch": model_of(
            [
                *pair()[:1],
                helper.make_node(
                    "BatchNormalization", ["c", "scale", "offset", "mean", "spread"], ["y", "m", "v"], training_mode=1
                ),
            ],
            HELD,
            X,
        ),
        "filters in float16": model_of(
            pair(), {name: array.astype(np.float16) for name, array in HELD.items()}, X, dtype="float16"
        ),
        "statistics of another type": model_of(pair(), {**HELD, **statistics(5, "float64")}, X),
        "a variance that is none": model_of(pair(), {**HELD, "spread": np.full(5, -1, np.float32)}, X),
        "statistics that are computed": model_of(
            [helper.make_node("Abs", ["spread0"], ["spread"]), *pair()],
            {("spread0" if name == "spread" else name): array for name, array in HELD.items()},
            X,
        ),
        "statistics for each place": model_of(pair(normalization={"spatial": 0}), HELD, X, opset=7),
        "an opset that tells inference otherwise": model_of(pair(normalization={"is_test": 1}), HELD, X, opset=6),
    }.items(),
)
def test_what_is_left_alone(what, model):
    assert operators_of(folded(model)) == operators_of(model), what


def test_filters_that_are_shared_are_left_alone():
    more = [
        helper.make_node("Conv", ["x", "w"], ["d"]),
        helper.make_node("Add", ["y", "d"], ["sum"]),
    ]
    model = model_of([*pair(), *more], HELD, X, outputs=("sum",))
    assert len(operators_of(folded(model))) == 4


def test_new_names_are_new():
    nodes = [*pair(), helper.make_node("Identity", ["y/bias"], ["kept"])]
    model = model_of(nodes, {**HELD, "y/bias": normal(5, seed=9)}, X, outputs=("y", "kept"))
    made = folded(model)
    assert operators_of(made) == ["Conv", "Identity"]
    same_answers(model, made, X)
