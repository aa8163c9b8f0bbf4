"""The pass that has ONNX Runtime optimise a model for the processor at hand, and what keeps it from others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.converters import onnx_onnxruntime as converter
from mlconvert.errors import ConversionFailed, HardwareMismatch
from mlconvert.hardware.fingerprint import as_json, take
from mlconvert.readers.hardware_builds import ONNX_NOTE, build_of, onnx_note, require_fits
from mlconvert.runners import onnx as runner


@pytest.fixture(scope="module")
def convolution(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """x [batch, 32, 8, 8] -> a convolution, a bias and Relu: what ONNX Runtime writes in blocks of channels."""
    rng = np.random.default_rng(6)
    weights = rng.normal(size=(32, 32, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c"], ["y"]),
        ],
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 32, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 32, 8, 8])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path_factory.mktemp("convolution") / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return Artifact("onnx", str(path), (path,))


def test_the_model_answers_alike_and_says_for_which_machine_it_is(convolution, tmp_path: Path) -> None:
    made = converter.convert(convolution, tmp_path / "model.onnx")
    assert made.facts["hardware"]["kind"] == "onnxruntime"
    assert onnx_note(made.path) == {"hardware": made.facts["hardware"], "fingerprint": made.facts["fingerprint"]}
    assert onnx_note(convolution.path) == {}
    assert {node.domain for node in onnx.load(made.path).graph.node} - {"", "ai.onnx"}  # what is bound
    x = np.random.default_rng(7).normal(size=(3, 32, 8, 8)).astype(np.float32)
    answers = [runner.load(one).run({"x": x})["y"] for one in (convolution, made)]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-5, atol=1e-5)
    again = converter.convert(made, tmp_path / "again.onnx")  # of an optimised model it stays one, with one note
    assert [entry.key for entry in onnx.load(again.path).metadata_props].count(ONNX_NOTE) == 1


def test_another_kind_of_processor_is_refused_even_where_the_record_was_lost(convolution, tmp_path: Path) -> None:
    made = converter.convert(convolution, tmp_path / "model.onnx")
    alone = Artifact("onnx", str(made.path), (made.path,))
    here = take()
    sets = set(here.host.instruction_sets)
    other = replace(here, host=replace(here.host, instruction_sets=tuple(sets ^ {"avx512f"})))
    require_fits(alone, on=here)
    require_fits(convolution, on=other)  # this one runs anywhere
    with pytest.raises(HardwareMismatch, match="block-size: built for blocks of"):
        require_fits(alone, on=other)
    with pytest.raises(HardwareMismatch, match="runtime-version"):
        require_fits(alone, on=replace(here, packages={"onnxruntime": "1.2.0"}))
    assert build_of("onnx", convolution.path, None) is None


def test_the_command_line_makes_checks_and_refuses_one(convolution, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    line = ["convert", str(convolution.path), "--to", "onnxruntime", "-o", str(out), "--json"]
    assert main(line) == 0
    report = json.loads(capsys.readouterr().out)
    record = json.loads((out / "record.json").read_text())
    assert record["facts"]["hardware"]["kind"] == "onnxruntime"
    assert record["fingerprint"]["schema"] == "mlconvert.fingerprint/1"
    assert report["fingerprint"] == record["fingerprint"]
    assert main(["check", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 ok"
    here = take()
    (tmp_path / "arm.json").write_text(json.dumps(as_json(replace(here, host=replace(here.host, architecture="arm")))))
    assert main(["check", str(out), "--on", str(tmp_path / "arm.json")]) == 7
    assert "refuse  architecture" in capsys.readouterr().out
    folder = tmp_path / "models" / "m" / "1"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes((out / "model.onnx").read_bytes())
    assert main(["check", str(tmp_path / "models"), "--on", str(tmp_path / "arm.json")]) == 7  # without a record, too


def test_what_onnx_runtime_refuses_fails(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Nonsense", ["x"], ["y"], domain="nowhere")],
        "wrong",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nowhere", 1)]
    path = tmp_path / "wrong.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())
    with pytest.raises(ConversionFailed, match="ONNX Runtime failed"):
        converter.convert(Artifact("onnx", str(path), (path,)), tmp_path / "model.onnx")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["wrong.onnx"]
