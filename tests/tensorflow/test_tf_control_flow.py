"""If, Loop and Scan against ONNX Runtime: shapes that change, no iterations, what is seen of the graph around."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed

TWO = np.array([1, 2], np.float32)


@pytest.mark.parametrize("chosen", [True, False])
def test_branches_of_different_shapes(graph_agrees, chosen):
    graph = """pick (float[N] x, bool c) => (float[K] y, int64[M] s) {
      y = If (c) <
        then_branch = yes () => (float[K] a) { a = Concat<axis=0>(x, x) },
        else_branch = no () => (float[L] b) { b = Neg(x) }>
      s = Shape(y)
    }"""
    graph_agrees(graph, {"x": TWO, "c": np.array(chosen)})


def test_a_condition_that_is_known_takes_its_branch_alone(graph_agrees):
    """The other branch would be refused."""
    graph = """pick (float[N] x) => (float[N] y) {
      c = Constant <value = bool[1] {1}> ()
      y = If (c) <
        then_branch = yes () => (float[N] a) { a = Neg(x) },
        else_branch = no () => (float[N] b) { b = Mystery(x) }>
    }"""
    graph = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>\n{graph}')
    graph_agrees(graph, {"x": TWO}, wanted=[-TWO])


def test_nested_branches_see_all_graphs_around_them(graph_agrees):
    graph = """pick (float[N] x, bool c) => (float[N] y) {
      d = Add(x, x)
      y = If (c) <
        then_branch = yes () => (float[N] a) {
          e = Mul(d, x)
          a = If (c) <then_branch = inner () => (float[N] p) { p = Add(e, d) },
                      else_branch = other () => (float[N] q) { q = Neg(e) }>
        },
        else_branch = no () => (float[N] b) { b = Neg(d) }>
    }"""
    for chosen in (True, False):
        graph_agrees(graph, {"x": TWO, "c": np.array(chosen)})


LOOP = """run (float[N] x, int64 m, bool c) => (float[K] y, float[A,B] s) {{
  y, s = Loop ({trips}, {condition}, x) <
    body = step (int64 i, bool go, float[P] a) => (bool on, float[Q] b, float[R] z) {{
    {body}
  }}>
}}"""
GROWS = """on = Identity(go)
    f = Cast<to=1>(i)
    ax = Constant <value = int64[1] {0}> ()
    z = Unsqueeze(f, ax)
    b = Concat<axis=0>(a, z)"""
DOUBLES = """h = Constant <value = float {20.0}> ()
    b = Add(a, a)
    z = Identity(b)
    total = ReduceSum<keepdims=0>(b)
    on = Less(total, h)"""


@pytest.mark.parametrize("trips", [1, 3])
@pytest.mark.parametrize("body", [GROWS, DOUBLES])
@pytest.mark.parametrize("condition", ["", "c"])
def test_loops(graph_agrees, trips, body, condition):
    graph = LOOP.format(trips="m", condition=condition, body=body)
    graph_agrees(graph, {"x": TWO, "m": np.array(trips), "c": np.array(True)})


@pytest.mark.parametrize(("trips", "going"), [(0, True), (3, False), (-1, True)])
@pytest.mark.parametrize("body", [GROWS, DOUBLES])
def test_loops_without_an_iteration(graph_agrees, trips, going, body):
    """What they collect is empty, and has the lengths that are known; for the others it has 0, as in ONNX Runtime."""
    graph = LOOP.format(trips="m", condition="c", body=body)
    feeds = {"x": TWO, "m": np.array(trips), "c": np.array(going)}
    known = np.zeros((0, 1 if body == GROWS else 2), np.float32)
    graph_agrees(graph, feeds, wanted=[TWO, known], lengths=[False])
    unknown = np.zeros((0, 1 if body == GROWS else 0), np.float32)
    graph_agrees(graph, feeds, wanted=[TWO, unknown], lengths=[True])


def test_a_loop_that_only_its_condition_ends(graph_agrees):
    graph = LOOP.format(trips="", condition="c", body=DOUBLES)
    graph_agrees(graph, {"x": TWO, "m": np.array(0), "c": np.array(True)})


@settings(max_examples=8, deadline=None)
@given(outer=st.integers(0, 3), inner=st.integers(0, 3), size=st.integers(0, 3))
def test_loops_in_loops(graph_agrees, outer, inner, size):
    graph = f"""run (float[N] x, int64 m) => (float[N] y) {{
      k = Constant <value = int64 {{{inner}}}> ()
      y = Loop (m, , x) <body = step (int64 i, bool go, float[N] a) => (bool on, float[N] b) {{
        on = Identity(go)
        b, s = Loop (k, go, a) <body = turn (int64 j, bool d, float[N] g) => (bool e, float[N] h, float[N] w) {{
          e = Identity(d)
          h = Add(g, x)
          w = Identity(h)
        }}>
      }}>
    }}"""
    graph_agrees(graph, {"x": np.arange(size, dtype=np.float32), "m": np.array(outer)})


def test_a_rank_that_changes_is_carried(graph_agrees):
    graph = """run (float[N,M] x, int64 m) => (float y) {
      flat = Constant <value = int64[1] {-1}> ()
      z = Loop (m, , x) <body = step (int64 i, bool go, float[N,M] a) => (bool on, float[K] b) {
        on = Identity(go)
        b = Reshape(a, flat)
      }>
      y = ReduceSum<keepdims=0>(z)
    }"""
    feeds = {"x": TWO[np.newaxis], "m": np.array(3)}
    graph_agrees(graph, feeds, wanted=[np.array(3, np.float32)])


def test_a_type_that_changes_is_refused(graph_agrees):
    graph = """run (float[N] x, int64 m) => (float[N] y) {
      y = Loop (m, , x) <body = step (int64 i, bool go, float[N] a) => (bool on, int64[N] b) {
        on = Identity(go)
        b = Cast<to=7>(a)
      }>
    }"""
    with pytest.raises(ConversionFailed, match="now float32, now int64"):
        graph_agrees(graph, {"x": TWO, "m": np.array(3)}, wanted=[TWO])


@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scans(graph_agrees, axis, backwards):
    graph = f"""run (float[A,B] x, float[C] start) => (float[C] last, float[D,E] sums) {{
      last, sums = Scan (start, x) <num_scan_inputs = 1, scan_input_axes = [{axis}], scan_output_axes = [{axis}],
        scan_input_directions = [{backwards}], scan_output_directions = [{1 - backwards}],
        body = step (float[C] s, float[C] v) => (float[C] t, float[C] w) {{
          t = Add(s, v)
          w = Identity(t)
        }}>
    }}"""
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    start = np.ones(x.shape[1 - axis % 2], np.float32)
    graph_agrees(graph, {"x": x, "start": start})
    none = np.take(x, [], axis)  # ONNX Runtime dies of a scan without a step
    graph_agrees(graph, {"x": none, "start": start}, wanted=[start, none], lengths=[False])


def test_scans_of_a_batch_in_opset_8(graph_agrees):
    graph = """run (int64[B] lens, float[B,C] start, float[B,S,C] x) => (float[B,C] last, float[B,S,C] sums) {
      last, sums = Scan (lens, start, x) <num_scan_inputs = 1,
        body = step (float[C] s, float[C] v) => (float[C] t, float[C] w) {
          t = Add(s, v)
          w = Identity(t)
        }>
    }"""
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    feeds = {"lens": np.array([3, 1]), "start": np.ones((2, 2), np.float32), "x": x}
    sums = 1 + np.cumsum(x, axis=1)
    sums[1, 1:] = 0
    wanted = [np.stack([sums[0, 2], sums[1, 0]]), sums]
    graph_agrees(graph, feeds, opset=8, wanted=wanted)
