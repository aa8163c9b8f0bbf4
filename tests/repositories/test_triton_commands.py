"""By command: models that cannot be served as they are asked to be, and what the message says to do."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from mlconvert.cli import main
from mlconvert.signature import Signature, TensorSpec


@pytest.fixture
def publish(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """A function that publishes a model by command, which must end with that code, and gives stderr."""
    monkeypatch.chdir(tmp_path)

    def run(code: int, model: Path, name: str, *settings: str) -> str:
        arguments = [part for setting in settings for part in ("--set", setting)]
        ended = main(["publish", str(model), "models", "--to", "triton", "--name", name, *arguments])
        told = capsys.readouterr().err
        assert ended == code, told
        assert "Traceback" not in told
        return told

    return run


def zipmap(path: Path) -> Path:
    """What skl2onnx writes for a classifier unless it is told not to: probabilities in a sequence of maps."""
    probabilities = helper.make_node(
        "ZipMap", ["x"], ["output_probability"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]
    )
    label = helper.make_node("Identity", ["x"], ["label"])
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    )
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.FLOAT, ["n", 2]),
        helper.make_value_info("output_probability", kind),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])]
    graph = helper.make_graph([label, probabilities], "zipmap", inputs, outputs)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def rows(dtype: str, first: str | int = "n") -> Signature:
    return Signature((TensorSpec("x", "float32", (first, 4)),), (TensorSpec("label", dtype, (first,)),))


def test_a_zipmap_output(publish, tmp_path: Path) -> None:
    told = publish(4, zipmap(tmp_path / "zipmap.onnx"), "m")
    assert "output 'output_probability' is a sequence, not a tensor" in told
    assert "zipmap=False" in told
    assert not (tmp_path / "models").exists()


def test_a_graph_that_cannot_batch_asked_to_batch(publish, model_of, tmp_path: Path) -> None:
    model = model_of(rows("int64", first=1)).path
    told = publish(8, model, "m", "max_batch_size=8")
    assert "the model cannot batch: the first axis of input 'x' is fixed at 1" in told
    assert "--set max_batch_size=0" in told
    assert not (tmp_path / "models").exists()
    told = publish(8, model, "m", "dynamic_batching=yes")
    assert "dynamic batching needs a model that batches" in told
    assert "--set max_batch_size=N" in told
    publish(0, model, "m", "max_batch_size=0")


def test_a_string_output_where_a_number_is_configured(publish, model_of, tmp_path: Path) -> None:
    publish(0, model_of(rows("int64"), "number").path, "m")
    before = (tmp_path / "models/m/config.pbtxt").read_bytes()
    for settings in ((), ("instances=2",)):
        told = publish(8, model_of(rows("string"), "text").path, "m", *settings)
        assert "output 'label' data_type: the configuration has TYPE_INT64, the model TYPE_STRING" in told
        assert "models/m/config.pbtxt" in told
        assert "under another name" in told
    assert (tmp_path / "models/m/config.pbtxt").read_bytes() == before
    assert not (tmp_path / "models/m/2").exists()


def test_a_version_policy_that_serves_nothing(publish, model_of, tmp_path: Path) -> None:
    told = publish(8, model_of(rows("int64")).path, "m", "version_policy=2,3")
    assert "would serve none of its versions: 1" in told
    assert "--set version_policy=1" in told
    assert not (tmp_path / "models").exists()


def test_other_names_in_the_file_of_labels_are_seen(publish, model_of, tmp_path: Path) -> None:
    scores = Signature((TensorSpec("x", "float32", ("n", 4)),), (TensorSpec("y", "float32", ("n", 2)),))
    model, names = model_of(scores).path, tmp_path / "names.txt"
    for text in ("yes\nno\n", "ja\nnein\n"):
        names.write_text(text)
        publish(0, model, "m", f"class_labels=y={names}")
        (found,) = (tmp_path / "models/m").glob("*-labels.txt")
        assert found.read_text() == text
    assert not (tmp_path / "models/m/2").exists()
