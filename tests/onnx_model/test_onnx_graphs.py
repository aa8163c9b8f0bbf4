"""Names, signatures and order inside ONNX models."""

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.onnx_model.graphs import check_opset, onnx_signature, rename_tensors, sort_nodes

NESTED = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[batch, 2] x, bool c, float[2] skip) => (float[batch, 2] y, float[batch, 2] z, float[2] skip)
<float[2] w = {1.0, 2.0}>
{
   h = Mul(x, w)
   y = If (c) <
       then_branch = t () => (float[batch, 2] t1) { t0 = Add(h, x)  t1 = Relu(t0) },
       else_branch = e () => (float[batch, 2] e1) { e0 = Sub(x, w)  e1 = Neg(e0) }
   >
   z = Add(y, w)
}
"""
PUBLIC = ("x", "c", "skip", "y", "z")
TAKEN = {"h", "w", "t0", "t1", "e0", "e1", *PUBLIC}


def answers(model, names):
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x, skip = np.array([[1.0, -3.0]], np.float32), np.array([5.0, 6.0], np.float32)
    results = []
    for condition in (True, False):
        feeds = {names["x"]: x, names["c"]: np.array(condition), names["skip"]: skip}
        results.append(session.run([names[n] for n in ("y", "z", "skip")], feeds))
    return results


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_renaming_keeps_the_answers(data):
    chosen = data.draw(st.lists(st.sampled_from(PUBLIC), unique=True))
    fresh = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=6).filter(
        lambda name: name not in TAKEN
    )
    swapped = data.draw(st.booleans()) and len(chosen) > 1
    new = chosen[1:] + chosen[:1] if swapped else data.draw(
        st.lists(fresh, min_size=len(chosen), max_size=len(chosen), unique=True)
    )  # fmt: skip
    mapping = dict(zip(chosen, new, strict=True))
    model = onnx.parser.parse_model(NESTED)
    expected = answers(model, {name: name for name in PUBLIC})
    before = onnx_signature(model)
    rename_tensors(model, mapping)
    after = onnx_signature(model)
    assert [s.name for s in after.inputs] == [mapping.get(s.name, s.name) for s in before.inputs]
    assert [s.shape for s in after.outputs] == [s.shape for s in before.outputs]
    for one, other in zip(expected, answers(model, {n: mapping.get(n, n) for n in PUBLIC}), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"xx": "q"}, "no input or output 'xx'. Did you mean 'x'"),
        ({"h": "q"}, "no input or output 'h'"),
        ({"x": "y"}, "another tensor"),
        ({"x": "h"}, "another tensor"),
        ({"x": "t0"}, "another tensor"),
        ({"x": "w"}, "another tensor"),
        ({"x": "q", "y": "q"}, "another tensor"),
        ({"x": ""}, "empty"),
    ],
)
def test_names_that_cannot_be(mapping, message):
    model = onnx.parser.parse_model(NESTED)
    with pytest.raises(UsageError, match=message):
        rename_tensors(model, mapping)
    assert model == onnx.parser.parse_model(NESTED)


def test_an_inner_name_that_hides_the_outer_one_is_left_alone():
    model = onnx.parser.parse_model(NESTED)
    branch = model.graph.node[1].attribute[0].g
    branch.node[0].output[0] = branch.node[1].input[0] = "y"  # not good style, and it occurs
    rename_tensors(model, {"y": "answer"})
    assert (branch.node[0].output[0], branch.node[1].input[0]) == ("y", "y")


def test_opset_is_checked():
    model = onnx.parser.parse_model(NESTED)
    check_opset(model, 17)
    with pytest.raises(ConversionFailed, match="opset 13 was asked for, and the exporter wrote opset 17"):
        check_opset(model, 13)


def value(name, **kind):
    if kind:
        return onnx.helper.make_value_info(name, kind["type"])
    return onnx.helper.make_tensor_value_info(name, 1, ["batch", None, 3, "seq"])


def model_of(node, inputs, outputs, domain=""):
    imports = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    return onnx.helper.make_model(onnx.helper.make_graph([node], "g", inputs, outputs), opset_imports=imports)


def test_axes_of_every_kind():
    model = model_of(onnx.helper.make_node("Relu", ["x"], ["y"]), [value("x")], [value("y")])
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = -1
    assert onnx_signature(model).inputs[0].shape == ("batch", None, None, "seq")
    assert onnx_signature(model).outputs[0].shape == ("batch", None, 3, "seq")


def test_an_initializer_is_no_input():
    model = onnx.parser.parse_model(NESTED)
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", 1, [2]))
    assert [spec.name for spec in onnx_signature(model).inputs] == ["x", "c", "skip"]


def test_sequences_maps_and_strange_types_are_refused_by_name():
    sequence = onnx.helper.make_sequence_type_proto(onnx.helper.make_tensor_type_proto(1, [2]))
    mapping = onnx.helper.make_map_type_proto(7, onnx.helper.make_tensor_type_proto(1, []))
    float8 = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT8E4M3FN, [2])
    node = onnx.helper.make_node("Identity", ["x"], ["probabilities"])
    for kind, message in ((sequence, "is a sequence"), (mapping, "is a map"), (float8, "FLOAT8E4M3FN")):
        with pytest.raises(ConversionFailed, match=f"output 'probabilities'.*{message}"):
            onnx_signature(model_of(node, [value("x")], [value("probabilities", type=kind)]))


def test_a_shape_that_is_not_written_is_inferred_or_refused():
    blank = onnx.helper.make_tensor_value_info("y", 1, None)
    known = model_of(onnx.helper.make_node("Relu", ["x"], ["y"]), [value("x")], [blank])
    assert len(onnx_signature(known).outputs[0].shape) == 4
    unknown = model_of(onnx.helper.make_node("Own", ["x"], ["y"], domain="ai.onnx.ml"), [value("x")], [blank])
    with pytest.raises(ConversionFailed, match="'y' has no shape"):
        onnx_signature(unknown)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(4)))
def test_nodes_are_sorted_and_branches_wait_for_what_they_capture(order):
    model = onnx.parser.parse_model(NESTED)
    model.graph.node.append(onnx.helper.make_node("Neg", ["z"], ["last"]))
    nodes = list(model.graph.node)
    shuffled = onnx.GraphProto()
    shuffled.CopyFrom(model.graph)
    del shuffled.node[:]
    shuffled.node.extend(nodes[place] for place in order)
    sort_nodes(shuffled)
    assert [n.output[0] for n in shuffled.node] == ["h", "y", "z", "last"]


def test_a_cycle_is_an_error():
    model = onnx.parser.parse_model(NESTED)
    model.graph.node[0].input[0] = "z"
    with pytest.raises(ConversionFailed, match="cycle"):
        sort_nodes(model.graph)
