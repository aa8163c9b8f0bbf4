"""onnx -> saved-model by the command line: names, dynamic axes and the same bytes twice."""

from __future__ import annotations

import json

import onnx
import pytest

from mlconvert.cli import main
from mlconvert.tensorflow.saving import renamed_inputs


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


def test_names_that_tensorflow_forbids():
    assert renamed_inputs(["x", "y_1"]) == {}
    assert renamed_inputs(["x:0", "x_0", "_a", "1", "self", "ü b", "X"]) == {
        "x:0": "x_0_1", "_a": "a", "1": "arg_1", "self": "self_1", "ü b": "b",
    }  # fmt: skip
    assert renamed_inputs(["x", "X"]) == {"X": "X_1"}
