"""Bisection and interpolation in ONNX are those of numpy, at the edges too; and the normal quantile is scipy's."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from scipy.special import ndtri

from mlconvert.forests.model import check_forest
from mlconvert.onnx_model.releases import TreeOperators
from mlconvert.pipelines.functions import clipped, expm1, log1p
from mlconvert.pipelines.graph import ELEMENTS, Graph, Tensor
from mlconvert.pipelines.normal import normal_quantile
from mlconvert.pipelines.search import interpolated, look_up, places, search_trees

NUMBERS = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 5e-324, 1e-35, 1e300, -1e300])
FEW = settings(max_examples=25, deadline=None)


def answer(rows: np.ndarray, write) -> np.ndarray:
    graph = Graph("float64", 18, TreeOperators())
    made = write(Tensor(graph, "x", "float64", rows.shape[1]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [None, rows.shape[1]])],
            [helper.make_tensor_value_info(made.name, ELEMENTS[made.dtype], None)],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)],
        ir_version=8,
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": rows})[0]


@FEW
@given(st.lists(st.lists(NUMBERS, max_size=9, unique=True), min_size=1, max_size=3))
def test_places_are_those_of_searchsorted(lists):
    edges = [np.sort(np.array(values, np.float64)) for values in lists]
    check_forest(search_trees(edges))
    probes = np.concatenate(
        [*edges, *(np.nextafter(values, -np.inf) for values in edges), [np.nan, np.inf, -np.inf, 0]]
    )
    rows = np.tile(probes[:, None], (1, len(edges)))
    found = answer(rows, lambda x: places(x, edges))
    for column, values in enumerate(edges):
        assert found[:, column].tolist() == np.searchsorted(values, probes, side="right").tolist()


def test_tables_may_differ_in_length():
    rows = np.array([[0.0, 9.0], [1.5, -1.0]])
    tables = [np.array([10.0, 11.0, 12.0]), np.array([20.0, 21.0])]
    found = answer(rows, lambda x: look_up(tables, places(x, [np.array([1.0, 2.0]), np.array([0.0])])))
    assert found.tolist() == [[10.0, 21.0], [11.0, 20.0]]


@FEW
@given(
    st.lists(st.integers(-20, 20), min_size=1, max_size=8),  # equal knots among them
    st.lists(st.floats(-1e3, 1e3), min_size=8, max_size=8),
)
def test_interpolation_is_that_of_numpy(steps, heights):
    knots, values = np.sort(np.array(steps) / 4), np.array(heights[: len(steps)])
    probes = np.concatenate([[np.nan], knots, knots + 0.1, np.nextafter(knots, np.inf), [-99.0, 99.0, np.inf, -np.inf]])
    found = answer(probes[:, None], lambda x: interpolated(x, [knots], [values]))[:, 0]
    np.testing.assert_allclose(found[1:], np.interp(probes[1:], knots, values), rtol=1e-13, atol=1e-12)
    assert np.isnan(found[0])


def test_the_normal_quantile_is_that_of_scipy():
    probes = np.concatenate([np.linspace(0, 1, 20001), 10.0 ** np.arange(-12, 0), 1 - 10.0 ** np.arange(-12, 0)])
    found = answer(probes[:, None], lambda x: normal_quantile(x, 1e-7))[:, 0]
    np.testing.assert_allclose(found, ndtri(np.clip(probes, 1e-7, 1 - 1e-7)), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("written", "real"), [(log1p, np.log1p), (expm1, np.expm1)])
def test_small_numbers_keep_their_digits(written, real):
    probes = np.concatenate([10.0 ** np.arange(-300, 2, 7.0), -(10.0 ** np.arange(-300, -1, 7.0)), [0.0, 0.5, -0.5]])
    found = answer(probes[:, None], written)[:, 0]
    np.testing.assert_allclose(found, real(probes), rtol=1e-14)


def test_clipping_keeps_what_is_missing():
    found = answer(np.array([[np.nan], [5.0], [-5.0]]), lambda x: clipped(x, -1.0, 1.0))
    assert np.isnan(found[0, 0])
    assert found[1:].tolist() == [[1.0], [-1.0]]
