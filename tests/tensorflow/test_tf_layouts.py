"""Channels stay last from one convolution to the next, whatever lies between, and nothing else can be told from it."""

import collections

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import helper, numpy_helper

from mlconvert.tensorflow.layouts import Value
from mlconvert.tensorflow.lowering import Graph, constants_of
from mlconvert.tensorflow.weights import Weights

IMAGE = np.sin(np.arange(2 * 3 * 5 * 7)).reshape(2, 3, 5, 7).astype(np.float32)
FILTERS = (np.cos(np.arange(4 * 3 * 3 * 3)) / 8).reshape(4, 3, 3, 3).astype(np.float32)


def after_a_convolution(*nodes, constants=(), opset=18, rank=None):
    """A model: Conv, then these nodes, the first of which takes `c` and the last of which gives `y`."""
    held = {"w": FILTERS, **dict(constants)}
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]), *nodes],
        "layouts",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None if rank is None else [None] * rank)],
        [numpy_helper.from_array(array, name) for name, array in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def operations(model, *shape):
    """How often each operation of TensorFlow is in the graph of a model of one input."""

    def call(x):
        graph = Graph(weights, {one.domain: one.version for one in model.opset_import}, {})
        graph.hold(constants_of(model.graph))
        graph.bind("x", Value.of(x))
        graph.run(model.graph.node)
        return graph.tensor("y")

    holder = tf.Module()
    weights = Weights(holder)
    traced = tf.function(call, input_signature=[tf.TensorSpec(shape)], autograph=False).get_concrete_function()
    return collections.Counter(node.type for node in traced.graph.get_operations()), holder


@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize(
    ("axes", "keepdims", "most"),
    [
        ([2, 3], 1, 2),  # one for the image, one for the answer
        ([-1, -2], 0, 1),
        ([1], 1, 2),
        ([1], 0, 1),
        ([0, 2, 3], 0, 1),
        ([0, 1, 2, 3], 0, 1),
        ([0, 3], 1, 2),
        ([3], 0, 2),  # channels come before the axis that is left: reduced with channels first
        ([0], 0, 2),
    ],
)
def test_a_reduction_takes_channels_last(graph_agrees, opset, axes, keepdims, most):
    given = {"axes": axes} if opset == 13 else {}
    inputs = ["c"] if opset == 13 else ["c", "axes"]
    node = helper.make_node("ReduceMean", inputs, ["y"], keepdims=keepdims, **given)
    constants = [] if opset == 13 else [("axes", np.array(axes, np.int64))]
    model = after_a_convolution(node, constants=constants, opset=opset)
    graph_agrees(model, {"x": IMAGE})
    counted, _ = operations(model, None, 3, None, None)
    assert counted["Transpose"] <= most


@pytest.mark.parametrize("opset", [13, 18])
def test_a_reduction_of_all_axes_or_of_none(graph_agrees, opset):
    graph_agrees(
        after_a_convolution(helper.make_node("ReduceMax", ["c"], ["y"], keepdims=0), opset=opset), {"x": IMAGE}
    )
    if opset == 18:
        node = helper.make_node("ReduceMax", ["c"], ["y"], noop_with_empty_axes=1)
        graph_agrees(after_a_convolution(node), {"x": IMAGE})


def test_a_block_that_weighs_its_channels_needs_no_further_transposition(graph_agrees):
    """Squeeze and excitation, as in MobileNet: mean over the places, two convolutions, a product."""
    narrow = (np.sin(np.arange(8)) / 3).reshape(2, 4, 1, 1).astype(np.float32)
    model = after_a_convolution(
        helper.make_node("ReduceMean", ["c", "axes"], ["mean"]),
        helper.make_node("Conv", ["mean", "narrow"], ["inner"]),
        helper.make_node("Relu", ["inner"], ["positive"]),
        helper.make_node("Conv", ["positive", "broad"], ["outer"]),
        helper.make_node("HardSigmoid", ["outer"], ["weights"]),
        helper.make_node("Mul", ["c", "weights"], ["y"]),
        constants=[
            ("axes", np.array([2, 3])),
            ("narrow", narrow),
            ("broad", np.ascontiguousarray(narrow.transpose(1, 0, 2, 3))),
        ],
    )
    graph_agrees(model, {"x": IMAGE})
    counted, _ = operations(model, None, 3, None, None)
    assert counted["Transpose"] == 2


@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "LSTM"])
def test_a_weight_that_is_laid_out_anew_is_kept_once(op):
    rank = 3 if op == "LSTM" else 4
    weights = {"w": (32, 8, 3, 3)} if op == "Conv" else {"w": (8, 32, 3, 3)}
    given = {}
    if op == "LSTM":
        weights, given = {"w": (1, 256, 8), "r": (1, 256, 64), "b": (1, 512)}, {"hidden_size": 64}
    node = helper.make_node(op, ["x", *weights], ["y"], **given)
    graph = helper.make_graph(
        [node],
        "once",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None] * rank)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    _, holder = operations(model, None, 8, *[None] * (rank - 2)) if rank == 4 else operations(model, None, None, 8)
    assert sum(one.shape.num_elements() for one in holder.weights) <= sum(np.prod(s) for s in weights.values())
