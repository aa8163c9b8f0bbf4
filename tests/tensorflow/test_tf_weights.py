"""Weights are told apart: what a name means depends on the graph that it stands in, and on the call of a function."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

LENGTHS = (8, 300)  # constants of the graph, and variables
FLOATS = TensorProto.FLOAT


def value(name, shape=(None,), kind=FLOATS):
    return helper.make_tensor_value_info(name, kind, shape)


def full(length, number, name="w"):
    return numpy_helper.from_array(np.full(length, number, np.float32), name)


def model_of(nodes, inputs, outputs, initializers=(), functions=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid("local", 1)] if functions else [])]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=8)


def branch(length, number):
    """A subgraph of the same name and the same names within as every other."""
    nodes = [helper.make_node("Add", ["x", "w"], ["r"], name="node")]
    return helper.make_graph(nodes, "g", [], [value("r", [length])], [full(length, number)])


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("condition", [True, False])
def test_subgraphs_of_one_name(graph_agrees, length, condition):
    nodes = [
        helper.make_node("If", ["c"], [out], then_branch=branch(length, number), else_branch=branch(length, -number))
        for number, out in enumerate("yz", start=1)
    ]
    inputs = [value("x", [length]), value("c", [], TensorProto.BOOL)]
    model = model_of(nodes, inputs, [value("y", [length]), value("z", [length])])
    y, z = graph_agrees(model, {"x": np.zeros(length, np.float32), "c": np.array(condition)})
    assert (y[0], z[0]) == ((1, 2) if condition else (-1, -2))


@pytest.mark.parametrize("length", LENGTHS)
def test_calls_of_a_function_by_nodes_of_one_name(graph_agrees, length):
    number = helper.make_node("Constant", [], ["number"])
    number.attribute.add(name="value_float", ref_attr_name="by", type=onnx.AttributeProto.FLOAT)
    body = [
        number,
        helper.make_node("Constant", [], ["length"], value_ints=[length]),
        helper.make_node("ConstantOfShape", ["length"], ["zeros"]),
        helper.make_node("Add", ["zeros", "number"], ["w"]),
        helper.make_node("Add", ["x", "w"], ["r"]),
    ]
    function = helper.make_function("local", "Shift", ["x"], ["r"], body, [helper.make_opsetid("", 18)], ["by"])
    nodes = [
        helper.make_node("Shift", ["x"], [out], domain="local", name="node", by=by)
        for out, by in (("y", 1.0), ("z", 2.0))
    ]
    model = model_of(nodes, [value("x", [length])], [value("y", [length]), value("z", [length])], functions=[function])
    wanted = [np.full(length, number, np.float32) for number in (1, 2)]  # ONNX Runtime refuses nodes of one name
    graph_agrees(model, {"x": np.zeros(length, np.float32)}, wanted=wanted)


@pytest.mark.parametrize("name", ["g/w", "y.then_branch/w", "y/w", "w"])
def test_a_weight_outside_that_is_called_as_one_inside_could_be(graph_agrees, name):
    length = 300
    inside = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["r"])], "g", [], [value("r", [length])], [full(length, 1)]
    )
    if name == "w":
        inside.initializer[0].name = inside.node[0].input[1] = "g/w"
    nodes = [
        helper.make_node("If", ["c"], ["y"], then_branch=inside, else_branch=branch(length, 3)),
        helper.make_node("Add", ["x", name], ["z"]),
    ]
    inputs = [value("x", [length]), value("c", [], TensorProto.BOOL)]
    outputs = [value("y", [length]), value("z", [length])]
    if name == "w":
        nodes[0].attribute[1].g.initializer[0].name = nodes[0].attribute[1].g.node[0].input[1] = "else"
    model = model_of(nodes, inputs, outputs, [full(length, 7, name)])
    y, z = graph_agrees(model, {"x": np.zeros(length, np.float32), "c": np.array(True)})
    assert (y[0], z[0]) == (1, 7)


def test_a_body_that_is_lowered_for_each_tensor_of_a_sequence(graph_agrees):
    """What is known of a tensor's length is not what is known of the next one's."""
    body = helper.make_graph(
        [
            helper.make_node("Shape", ["e"], ["shape"]),
            helper.make_node(
                "ConstantOfShape", ["shape"], ["ones"], value=helper.make_tensor("one", FLOATS, [1], [1.0])
            ),
            helper.make_node("CumSum", ["ones", "axis"], ["ramp"]),
            helper.make_node("Mul", ["ramp", "e"], ["r"]),
        ],
        "body",
        [value("e")],
        [value("r")],
        [numpy_helper.from_array(np.array(0), "axis")],
    )
    nodes = [
        helper.make_node("SequenceConstruct", ["a", "b"], ["s"]),
        helper.make_node("SequenceMap", ["s"], ["t"], body=body),
        helper.make_node("ConcatFromSequence", ["t"], ["y"], axis=0),
    ]
    model = model_of(nodes, [value("a", [500]), value("b", [300])], [value("y")])
    feeds = {"a": np.ones(500, np.float32), "b": np.full(300, 2, np.float32)}
    wanted = [np.concatenate([np.arange(1, 501), 2 * np.arange(1, 301)]).astype(np.float32)]
    graph_agrees(model, feeds, wanted=wanted)
