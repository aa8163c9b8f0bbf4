"""onnx -> saved-model by the command line: names, dynamic axes, the same bytes twice, and what is refused."""

from __future__ import annotations

import json

import onnx
import pytest

from mlconvert.cli import main
from mlconvert.tensorflow.saving import renamed_inputs


def saved(text, path):
    onnx.save(onnx.parser.parse_model(text), str(path))
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("Relu", ["x.1"], ["y"]),
            helper.make_node("ReduceSum", ["y", "axes"], ["sum/1"], keepdims=0),
        ],
        "g",
        [helper.make_tensor_value_info("x.1", TensorProto.FLOAT, ["batch", 4, "seq"])],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, "seq"]),
            helper.make_tensor_value_info("sum/1", TensorProto.FLOAT, ["batch"]),
        ],
        [numpy_helper.from_array(np.array([1, 2]), "axes")],
    )
    path = tmp_path_factory.mktemp("named") / "named.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_names_and_axes_are_kept_or_recorded(model, tmp_path):
    digests = []
    for name in ("a", "b"):
        out = tmp_path / name
        assert main(["convert", str(model), "--to", "saved-model", "-o", str(out), "--set", "signatures=only_y=y"]) == 0
        record = json.loads((out / "record.json").read_text())
        digests.append(record["files"])
        assert (record["path"], record["renamed"]) == ("saved_model.pb", {"x.1": "x_1"})
        assert record["signature"]["inputs"] == [{"name": "x_1", "dtype": "float32", "shape": ["batch", 4, "seq"]}]
        assert [spec["name"] for spec in record["signature"]["outputs"]] == ["y", "sum/1"]
    assert digests[0] == digests[1]


def test_operators_without_a_lowering_are_all_named_and_nothing_is_written(tmp_path, capsys):
    text = """<ir_version: 8, opset_import: ["" : 17, "acme" : 2]>
    g (float[2] x) => (float[2] y) { a = acme.Blend(x) b = acme.Blend(a) y = acme.Fold(b) }"""
    source = saved(text, tmp_path / "custom.onnx")
    out = tmp_path / "out"
    assert main(["convert", source, "--to", "saved-model", "-o", str(out), "--no-verify"]) == 4
    told = " ".join(capsys.readouterr().err.split())
    assert "acme.Blend (opset 2): 2 nodes" in told
    assert "acme.Fold (opset 2): 1 node" in told
    assert not out.exists()


def test_a_sequence_as_output_is_refused(tmp_path, capsys):
    text = """<ir_version: 8, opset_import: ["" : 17]>
    g (float[2] x) => (seq(float[2]) y) { y = SequenceConstruct(x) }"""
    source = saved(text, tmp_path / "sequence.onnx")
    assert main(["convert", source, "--to", "saved-model", "-o", str(tmp_path / "out"), "--no-verify"]) == 4
    assert "output 'y' is a sequence, not a tensor" in " ".join(capsys.readouterr().err.split())


def test_names_that_tensorflow_forbids():
    assert renamed_inputs(["x", "y_1"]) == {}
    assert renamed_inputs(["x:0", "x_0", "_a", "1", "self", "ü b", "X"]) == {
        "x:0": "x_0_1", "_a": "a", "1": "arg_1", "self": "self_1", "ü b": "b",
    }  # fmt: skip
    assert renamed_inputs(["x", "X"]) == {"X": "X_1"}
