"""Sequences and optionals, of known length and of unknown, against ONNX Runtime."""

import numpy as np
import pytest

from mlconvert.errors import ConversionFailed

ROWS = np.arange(6, dtype=np.float32).reshape(3, 2)
TWO = np.array([1, 2], np.float32)


@pytest.mark.parametrize("place", [0, 1, 2, -1, -2, -3])
def test_elements_come_and_go(graph_agrees, place):
    """With a known length of x the sequence is a list, with an unknown one a TensorList; the place is never known."""
    graph = """run (float[N,M] x, int64 p) => (float[A,M] y, float[C,D] z, int64 n, float[F,G,H] w) {
      s = SplitToSequence<axis=0>(x)
      e = SequenceAt(s, p)
      more = SequenceInsert(s, e, p)
      same = SequenceErase(more, p)
      less = SequenceErase(same)
      y = ConcatFromSequence<axis=0>(more)
      z = ConcatFromSequence<axis=1>(less)
      n = SequenceLength(more)
      w = ConcatFromSequence<axis=1, new_axis=1>(more)
    }"""
    graph_agrees(graph, {"x": ROWS, "p": np.array(place)})


def test_places_that_are_known(graph_agrees):
    graph = """run (float[N] x) => (float[A] y, float[B] z) {
      first = Constant <value = int64 {0}> ()
      last = Constant <value = int64 {-1}> ()
      n = Neg(x)
      s = SequenceConstruct(x, n)
      more = SequenceInsert(s, n, first)
      less = SequenceErase(more, last)
      y = ConcatFromSequence<axis=-1>(less)
      z = SequenceAt(less, last)
    }"""
    graph_agrees(graph, {"x": TWO})


@pytest.mark.parametrize(("axis", "keepdims"), [(0, 1), (1, 1), (-1, 0), (0, 0)])
def test_splits_into_single_ones(graph_agrees, axis, keepdims):
    graph = f"""run (float[N,M] x) => (float[A,B] y, int64 n) {{
      s = SplitToSequence<axis={axis}, keepdims={keepdims}>(x)
      y = ConcatFromSequence<axis=0, new_axis={1 - keepdims}>(s)
      n = SequenceLength(s)
    }}"""
    graph_agrees(graph, {"x": ROWS})


@pytest.mark.parametrize("parts", [2, [1, 3], [4]])
@pytest.mark.parametrize("axis", [0, 1])
def test_splits_of_given_lengths(graph_agrees, parts, axis):
    x = np.arange(16, dtype=np.int64).reshape(4, 4)
    shape = "" if isinstance(parts, int) else "[K]"
    graph = f"""run (int64[N,M] x, int64{shape} p) => (int64[A,B] y, int64[C,D] z) {{
      last = Constant <value = int64 {{-1}}> ()
      s = SplitToSequence<axis={axis}>(x, p)
      y = ConcatFromSequence<axis={axis}>(s)
      z = SequenceAt(s, last)
    }}"""
    graph_agrees(graph, {"x": x, "p": np.array(parts)})


def test_a_loop_fills_a_sequence(graph_agrees):
    graph = """run (float[N] x, int64 m) => (float[K] y, int64 n, float[L] z) {
      s0 = SequenceEmpty()
      s = Loop (m, , s0) <body = step (int64 i, bool go, seq(float[K]) a) => (bool on, seq(float[K]) b) {
        on = Identity(go)
        f = Cast<to=1>(i)
        v = Add(x, f)
        b = SequenceInsert(a, v)
      }>
      last = Constant <value = int64 {-1}> ()
      y = ConcatFromSequence<axis=0>(s)
      n = SequenceLength(s)
      z = SequenceAt(s, last)
    }"""
    graph_agrees(graph, {"x": TWO, "m": np.array(3)})


@pytest.mark.parametrize("chosen", [True, False])
def test_branches_give_sequences_of_different_length(graph_agrees, chosen):
    graph = """run (float[N] x, bool c) => (float[K] y, int64 n) {
      s = If (c) <
        then_branch = yes () => (seq(float[K]) a) { a = SequenceConstruct(x, x) },
        else_branch = no () => (seq(float[K]) b) { b = SequenceConstruct(x) }>
      y = ConcatFromSequence<axis=0>(s)
      n = SequenceLength(s)
    }"""
    graph_agrees(graph, {"x": TWO, "c": np.array(chosen)})


def test_a_map_over_sequences_and_a_tensor(graph_agrees):
    graph = """run (float[N,M] x, float[M] t) => (float[A,M] y, float[B,M] z) {
      s = SplitToSequence<axis=0>(x)
      r, q = SequenceMap (s, t) <body = each (float[P,M] v, float[M] u) => (float[P,M] w, float[P,M] o) {
        w = Add(v, u)
        o = Mul(v, u)
      }>
      y = ConcatFromSequence<axis=0>(r)
      z = ConcatFromSequence<axis=0>(q)
    }"""
    wanted = [ROWS + TWO, ROWS * TWO]
    graph_agrees(graph, {"x": ROWS, "t": TWO}, wanted=wanted)


def test_strings_and_booleans(graph_agrees):
    graph = """run (bool[N] x, string[N] t) => (bool[A] y, string[B] z) {
      s = SequenceConstruct(x, x)
      q = SequenceConstruct(t, t)
      y = ConcatFromSequence<axis=0>(s)
      z = ConcatFromSequence<axis=0>(q)
    }"""
    x, text = np.array([True, False]), np.array(["a", "b"], object)
    wanted = [np.concatenate([x, x]), np.array([b"a", b"b"] * 2, object)]
    graph_agrees(graph, {"x": x, "t": text}, wanted=wanted)


def test_optionals(graph_agrees):
    graph = """run (float[N] x) => (float[N] y, bool full, bool empty, bool plain) {
      o = Optional(x)
      y = OptionalGetElement(o)
      full = OptionalHasElement(o)
      empty = OptionalHasElement()
      plain = OptionalHasElement(x)
    }"""
    wanted = [TWO, np.array(True), np.array(False), np.array(True)]
    graph_agrees(graph, {"x": TWO}, opset=18, wanted=wanted)


def test_the_element_of_an_empty_optional_is_refused(graph_agrees):
    import onnx
    from onnx import TensorProto, helper

    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, [None])
    nodes = [
        helper.make_node("Optional", [], ["o"], type=kind),
        helper.make_node("OptionalGetElement", ["o"], ["y"]),
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])]
    graph = helper.make_graph(nodes, "g", given, [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(ConversionFailed, match="optional that is empty"):
        graph_agrees(model, {"x": TWO}, wanted=[TWO])
