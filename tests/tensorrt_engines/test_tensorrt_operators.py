"""Operators that no TensorRT has, told by the plan: before anything runs, and without TensorRT."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.cli import main
from mlconvert.converters import onnx_to_tensorrt, tensorrt_operators
from mlconvert.converters.tensorrt_models import check_model
from mlconvert.errors import ConversionFailed
from mlconvert.formats.onnx_operators import Node, onnx_nodes
from mlconvert.onnx_model.files import read_outline
from mlconvert.onnx_model.graphs import nodes_of
from mlconvert.onnx_model.graphs import onnx_signature as signature_of

PLAIN = "g (float[batch, 4] x) => (float[batch, 4] y) { y = Relu(x) }"
DYNAMIC = """g (float[batch, 4] x) => (int32[batch, 4] y)
{ q, scale, zero = DynamicQuantizeLinear(x)
  w = Constant <value = int8[4, 4] {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}> ()
  y = MatMulInteger(q, w, zero) }"""
IN_A_BRANCH = """g (float[4] x, bool b) => (float[4] y)
{ y = If (b) <then_branch = t () => (float[4] z) { s = SequenceConstruct(x) zero = Constant <value_int = 0> ()
                                                  z = SequenceAt(s, zero) },
               else_branch = e () => (float[4] u) { u = Identity(x) }> }"""


@pytest.mark.parametrize(
    ("text", "names", "hint"),
    [
        (DYNAMIC, "node q of type DynamicQuantizeLinear, node y of type MatMulInteger", "--via int8-static"),
        (IN_A_BRANCH, "node s of type SequenceConstruct, node z of type SequenceAt", "mlconvert publish "),
    ],
)
def test_nodes_are_named_wherever_they_are(model, text, names, hint) -> None:
    source = model(text)
    with pytest.raises(ConversionFailed) as caught:
        onnx_to_tensorrt.check(source, {})
    assert caught.value.message.endswith(names)
    assert hint in caught.value.hint
    onnx_to_tensorrt.check(source, {"plugins": ("/lib.so",)})  # it may have them
    proto = read_outline(source.path)
    with pytest.raises(ConversionFailed) as later:  # as the step says it of a model that another step made
        check_model(proto, signature_of(proto), source, plugins=False)
    assert sorted(later.value.message.split()) == sorted(caught.value.message.split())


def test_what_the_parser_decides_is_left_to_it(model) -> None:
    onnx_to_tensorrt.check(model(PLAIN), {})
    own = model("g (float[batch, 4] x) => (float[batch, 4] y) { y = own.Sharpen(x) }", opsets='"" : 18, "own" : 1')
    onnx_to_tensorrt.check(own, {})
    onnx_to_tensorrt.check(model("g (float[4, 4] x) => (float y) { y = Det(x) }"), {})  # a later one may have it


def test_a_model_s_own_function_is_no_operator_that_is_lacking(tmp_path) -> None:
    proto = onnx.parser.parse_model("""<ir_version: 8, opset_import: ["" : 18, "own" : 1]>
    g (float[4] x) => (float[4] y) { y = own.MatMulInteger(x) }
    <domain: "own", opset_import: ["" : 18]> MatMulInteger (a) => (b) { b = Relu(a) }""")
    path = tmp_path / "model.onnx"
    onnx.save(proto, path)
    assert onnx_nodes(path) == [Node("", "Relu", "b")]


def test_many_nodes_are_counted() -> None:
    nodes = [Node("ai.onnx.ml", "Scaler", f"n{number}") for number in range(20)]
    with pytest.raises(ConversionFailed, match="n7 of type Scaler and 12 more"):
        tensorrt_operators.check_operators(nodes, "here")


@given(st.recursive(st.just(()), lambda inner: st.lists(inner, min_size=1, max_size=3).map(tuple), max_leaves=12))
@settings(max_examples=40)
def test_it_reads_what_onnx_reads(tmp_path_factory, tree) -> None:
    """Graphs within graphs, of any shape."""

    def graph(children: tuple, name: str) -> onnx.GraphProto:
        nodes = []
        for number, inner in enumerate(children):
            branch = graph(inner, f"{name}_{number}")
            nodes.append(onnx.helper.make_node("If", ["b"], [f"{name}_{number}_y"], name=f"{name}_{number}",
                                               domain="ai.onnx", then_branch=branch, else_branch=branch))  # fmt: skip
        nodes.append(onnx.helper.make_node("Scaler", ["x"], [f"{name}_s"], domain="ai.onnx.ml"))
        return onnx.helper.make_graph(nodes, name, [], [])

    proto = onnx.helper.make_model(graph(tree, "g"))
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    wanted = sorted((node.op_type, node.name or node.output[0]) for node in nodes_of(proto))
    assert sorted((node.operator, node.name) for node in onnx_nodes(path)) == wanted


def test_the_plan_ends_with_it(model, double, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = model(DYNAMIC)
    for words in (["--dry-run"], []):
        assert main(["convert", str(source.path), "--to", "tensorrt", "-o", "out", *words]) == 4
        told = capsys.readouterr()
        assert "node y of type MatMulInteger" in told.err
        assert "✓" not in told.err
    assert not (tmp_path / "out").exists()


def test_it_costs_next_to_nothing(model, tmp_path) -> None:
    import time

    names = [f"n{number}" for number in range(20_000)]
    nodes = [onnx.helper.make_node("Relu", [a], [b]) for a, b in zip(["x", *names], names, strict=False)]
    path = tmp_path / "long.onnx"
    path.write_bytes(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [], [])).SerializeToString())
    started = time.process_time()
    assert len(onnx_nodes(path)) == 20_000
    assert time.process_time() - started < 3.0
