"""Converted models that answer otherwise: each ends with exit 5, names the output, and publishes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlconvert.cli import main


def model(nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def floats(name: str, *shape: int | str):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))


def integers(name: str, *shape: int | str):
    return helper.make_tensor_value_info(name, TensorProto.INT64, list(shape))


def classifier() -> onnx.ModelProto:
    """`x` [batch, 3, 3] -> `scores` [batch, 3, 3] (x doubled) and `label` [batch, 3] (the place of the largest)."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["scores"]),
        helper.make_node("ArgMax", ["x"], ["label"], axis=2, keepdims=0),
    ]
    return model(nodes, [floats("x", "batch", 3, 3)], [floats("scores", "batch", 3, 3), integers("label", "batch", 3)])


def renamed_output(good: onnx.ModelProto) -> str:
    good.graph.node[0].output[0] = good.graph.output[0].name = "probabilities"
    return "scores"


def swapped_axis(good: onnx.ModelProto) -> str:
    good.graph.node[0].output[0] = "straight"
    good.graph.node.append(helper.make_node("Transpose", ["straight"], ["scores"], perm=[0, 2, 1]))
    return "scores"


def dropped_output(good: onnx.ModelProto) -> str:
    del good.graph.output[1], good.graph.node[1]
    return "label"


def nan_on_one_side(good: onnx.ModelProto) -> str:
    good.graph.node[0].op_type = "Div"  # x / x: NaN where x is 0, and 1 elsewhere
    return "scores"


def frozen_batch_axis(good: onnx.ModelProto) -> str:
    for value in (*good.graph.input, *good.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    return "scores"


def frozen_batch_axis_of_an_output(good: onnx.ModelProto) -> str:
    good.graph.node[0].output[0] = "whole"
    good.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "start"))
    good.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "end"))
    good.graph.node.append(helper.make_node("Slice", ["whole", "start", "end"], ["scores"]))
    return "scores"


def label_off_by_one(good: onnx.ModelProto) -> str:
    good.graph.node[1].output[0] = "from_zero"
    good.graph.initializer.append(numpy_helper.from_array(np.array(1, np.int64), "one"))
    good.graph.node.append(helper.make_node("Add", ["from_zero", "one"], ["label"]))
    return "label"


def extra_output(good: onnx.ModelProto) -> str:
    good.graph.node.append(helper.make_node("Identity", ["x"], ["copy"]))
    good.graph.output.append(floats("copy", "batch", 3, 3))
    return "copy"


def another_kind_of_dtype(good: onnx.ModelProto) -> str:
    good.graph.node[1].output[0] = "whole_numbers"
    good.graph.node.append(helper.make_node("Cast", ["whole_numbers"], ["label"], to=TensorProto.FLOAT))
    good.graph.output[1].CopyFrom(floats("label", "batch", 3))
    return "label"


FAULTS: tuple[Callable[[onnx.ModelProto], str], ...] = (
    renamed_output,
    swapped_axis,
    dropped_output,
    nan_on_one_side,
    frozen_batch_axis,
    frozen_batch_axis_of_an_output,
    label_off_by_one,
    extra_output,
    another_kind_of_dtype,
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    onnx.save(classifier(), "good.onnx")
    rows = np.random.default_rng(0).integers(-5, 5, size=(16, 3, 3)).astype(np.float32)
    rows[0, 0, 0] = 0
    np.savez("rows.npz", x=rows)
    return tmp_path


def test_the_good_one_passes(here, capsys):
    onnx.save(classifier(), "same.onnx")
    assert main(["verify", "good.onnx", "same.onnx", "--samples", "rows.npz"]) == 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_fault(here, capsys, fault):
    bad = classifier()
    output = fault(bad)
    onnx.save(bad, "bad.onnx")
    code = main(["verify", "good.onnx", "bad.onnx", "--samples", "rows.npz", "--report", "r.json", "--report", "r.xml"])
    assert code == 5
    report = json.loads((here / "r.json").read_text())
    assert report["ok"] is False
    assert report["exit_code"] == 5
    assert f"'{output}'" in report["targets"][0]["error"]["message"]
    assert output in (here / "r.xml").read_text()
    told = capsys.readouterr()
    assert output in told.out + told.err
