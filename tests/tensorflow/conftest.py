"""Small models, lowered in this process and compared with ONNX Runtime."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper


def node_model(node, feeds, constants=(), *, opset=None):
    """A model of one node, whose inputs are the feeds, those in `constants` as initializers."""
    free = [name for name in feeds if name not in constants]
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(feeds[n].dtype), feeds[n].shape)
            for n in free
        ],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        [numpy_helper.from_array(feeds[name], name) for name in constants],
    )
    opsets = [helper.make_opsetid("", opset or 22), helper.make_opsetid("ai.onnx.ml", 4)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def in_onnxruntime(model, feeds):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    taken = {one.name for one in session.get_inputs()}
    return session.run(None, {name: array for name, array in feeds.items() if name in taken})


def in_tensorflow(model, feeds, *, dynamic=False):
    import tensorflow as tf

    from mlconvert.tensorflow.layouts import Value
    from mlconvert.tensorflow.lowering import Graph, constants_of
    from mlconvert.tensorflow.weights import Weights

    weights = Weights(tf.Module())
    constants = {tensor.name for tensor in model.graph.initializer}
    names = [one.name for one in model.graph.input if one.name not in constants]

    def call(*tensors):
        functions = {(one.domain, one.name, one.overload): one for one in model.functions}
        graph = Graph(weights, {one.domain: one.version for one in model.opset_import}, functions)
        graph.hold(constants_of(model.graph))
        graph.keep(one.name for one in model.graph.output)
        for name, tensor in zip(names, tensors, strict=True):
            graph.bind(name, Value.of(tensor))
        graph.run(model.graph.node)
        return [graph.tensor(one.name) for one in model.graph.output]

    arrays = [np.asarray(feeds[name]) for name in names]
    signature = [tf.TensorSpec([None] * one.ndim if dynamic else one.shape, tf.as_dtype(one.dtype)) for one in arrays]
    traced = tf.function(call, input_signature=signature, autograph=False)
    return [one.numpy() for one in traced(*(tf.constant(one) for one in arrays))]


def same(wanted, found, *, rtol=1e-5, atol=1e-6, what=""):
    assert len(wanted) == len(found)
    for number, (one, other) in enumerate(zip(wanted, found, strict=True)):
        where = f"output {number} {what}"
        assert other.dtype == one.dtype, where
        assert other.shape == one.shape, where
        if one.dtype.kind in "fc" and one.size:
            size = np.max(np.abs(one[np.isfinite(one)]), initial=0)
            np.testing.assert_allclose(other, one, rtol=rtol, atol=atol + rtol * size, err_msg=where)
        else:
            np.testing.assert_array_equal(other, one, err_msg=where)


def check_model(model, feeds, *, wanted=None, rtol=1e-5, atol=1e-6, what=""):
    wanted = in_onnxruntime(model, feeds) if wanted is None else wanted
    for dynamic in (False, True):
        found = in_tensorflow(model, feeds, dynamic=dynamic)
        same(wanted, found, rtol=rtol, atol=atol, what=f"{what} dynamic={dynamic}")
    return wanted


@pytest.fixture(scope="session")
def model_agrees() -> Callable[..., Any]:
    """model_agrees(text of onnx.parser, feeds): the model gives what it gives in ONNX Runtime, with known lengths and
    with unknown ones."""

    def check(text, feeds, **settings):
        return check_model(onnx.parser.parse_model(text), feeds, **settings)

    return check


@pytest.fixture(scope="session")
def agrees() -> Callable[..., Any]:
    """agrees("Conv", feeds, constants=("w",), pads=[1, 1], …): the same for a node, by itself, with some of its feeds
    constant. `wanted` replaces ONNX Runtime's answer; attributes go to the node."""

    def check(
        op, feeds, constants=(), *, inputs=None, opset=None, outputs=1, wanted=None, rtol=1e-5, atol=1e-6, **given
    ):
        inputs = list(feeds) if inputs is None else inputs
        node = helper.make_node(op, inputs, [f"out{i}" for i in range(outputs)], **given)
        model = node_model(node, feeds, constants, opset=opset)
        return check_model(model, feeds, wanted=wanted, rtol=rtol, atol=atol, what=f"{op} {given}")

    return check


@pytest.fixture(scope="session")
def graph_agrees() -> Callable[..., Any]:
    """graph_agrees(graph, feeds): the same for a graph in ONNX's text form without its header, or for a model;
    `lengths` says whether with known lengths (False), with unknown ones (True) or with both."""

    def check(graph, feeds, *, opset=17, wanted=None, rtol=1e-5, atol=1e-6, lengths=(False, True)):
        if isinstance(graph, str):
            graph = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{graph}')
        wanted = in_onnxruntime(graph, feeds) if wanted is None else wanted
        for dynamic in lengths:
            found = in_tensorflow(graph, feeds, dynamic=dynamic)
            same(wanted, found, rtol=rtol, atol=atol, what=f"dynamic={dynamic}")
        return wanted

    return check


@pytest.fixture(scope="session")
def lowered() -> Callable[..., Any]:
    """lowered(model, feeds): the outputs of a model by TensorFlow, with known lengths."""
    return in_tensorflow
