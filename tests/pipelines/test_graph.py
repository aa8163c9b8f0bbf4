"""The graph under construction: constants and nodes are shared, tensors know their types and widths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.onnx_model.releases import TreeOperators
from mlconvert.pipelines.graph import Graph, Tensor


def graph(floats="float64", opset=18) -> Graph:
    return Graph(floats, opset, TreeOperators())


def test_equal_constants_and_equal_nodes_are_made_once():
    made = graph()
    x = Tensor(made, "x", "float64", 3)
    first = (x - np.ones(3)) / np.ones(3)
    assert (x - np.ones(3)) / np.ones(3) is first
    assert len(made.nodes) == 2
    assert len(made.initializers) == 1
    assert (x - np.zeros(3)) is not first


def test_floats_are_of_the_type_of_the_tensor():
    made = graph("float32")
    x = Tensor(made, "x", "float32", 3)
    assert (x * np.ones(3)).dtype == "float32"
    assert made.initializers[0].data_type == 1  # TensorProto.FLOAT
    assert (x > 0.5).dtype == "bool"


def test_widths_follow_broadcasting():
    made = graph()
    column = Tensor(made, "x", "float64", 1)
    assert column.equals(np.arange(4.0)).width == 4
    assert column.flat().width is None
    assert column.flat().column().width == 1
    wide = column.equals(np.arange(4.0)).cast("float64")
    assert wide.columns([2, 0]).width == 2
    assert wide.columns([0, 1, 2, 3]) is wide
    assert wide.reduced("ReduceSum").width == 1
    assert (wide @ np.ones((4, 7))).width == 7


@pytest.mark.parametrize(("opset", "inputs"), [(13, 1), (17, 1), (18, 2)])
def test_axes_are_an_attribute_or_an_input_as_the_opset_has_them(opset, inputs):
    made = graph(opset=opset)
    Tensor(made, "x", "float64", 3).reduced("ReduceMax")
    assert len(made.nodes[-1].input) == inputs


@given(st.floats(allow_nan=False), st.floats(allow_nan=False, width=32))
def test_floor_compares_as_the_double_does(threshold, row):
    assert (row > threshold) == (row > graph("float32").floor(threshold))
    assert graph().floor(threshold) == threshold
