"""The ONNX runner: signatures, dtypes that numpy lacks, and files that ONNX Runtime refuses."""

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
import pytest

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, NotVerified
from mlconvert.onnx_model import files as onnx_files
from mlconvert.onnx_model.files import onnx_artifact, write_onnx
from mlconvert.runners import onnx as runner


def artifact(tmp_path, text):
    path = tmp_path / "model.onnx"
    return onnx_artifact(path, write_onnx(onnx.parser.parse_model(text), path))


def one(operator, kind="float", result=None, opset=18):
    return f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g ({kind}[batch, 2] x) => ({result or kind}[batch, 2] y) {{ y = {operator} }}"""


def test_runs_and_knows_its_signature(tmp_path):
    source = artifact(tmp_path, one("Neg(x)"))
    session = runner.load(source)
    assert session.signature == runner.signature(source) == source.signature
    assert session.run({"x": np.array([[1, -2]], np.float32)})["y"].tolist() == [[-1, 2]]


def test_a_relative_path_will_do(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 10)
    model = onnx.parser.parse_model(one("Mul(x, w)"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full((512, 2), 3, np.float32), "w"))
    files = write_onnx(model, tmp_path / "model.onnx")
    assert len(files) == 2
    monkeypatch.chdir(tmp_path)
    session = runner.load(Artifact("onnx", "model.onnx", files))
    assert session.run({"x": np.ones((512, 2), np.float32)})["y"][0].tolist() == [3, 3]


def test_weights_in_the_model_are_left_to_onnx_runtime(tmp_path, monkeypatch):
    model = onnx.parser.parse_model(one("Mul(x, w)"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full((512, 2), 3, np.float32), "w"))
    source = onnx_artifact(tmp_path / "model.onnx", write_onnx(model, tmp_path / "model.onnx"))
    monkeypatch.setattr(onnx_files, "LARGE", 1000)
    monkeypatch.setattr(onnx_files, "HELD", 1000)
    monkeypatch.setattr("mlconvert.onnx_model.files.load_tensor", lambda *_: pytest.fail("the weights were loaded"))
    assert runner.signature(source) == source.signature
    assert runner.load(source).run({"x": np.ones((512, 2), np.float32)})["y"][0].tolist() == [3, 3]


def test_large_external_weights_are_mapped(tmp_path, monkeypatch):
    import onnxruntime

    from mlconvert.onnx_model import sessions as onnx_sessions

    entries = []
    add = onnxruntime.SessionOptions.add_session_config_entry
    monkeypatch.setattr(
        onnxruntime.SessionOptions,
        "add_session_config_entry",
        lambda self, key, value: (entries.append((key, value)), add(self, key, value))[1],
    )
    monkeypatch.setattr(onnx_files, "EXTERNAL_ABOVE", 10)
    model = onnx.parser.parse_model(one("Mul(x, w)"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.full((512, 2), 3, np.float32), "w"))
    source = onnx_artifact(tmp_path / "model.onnx", write_onnx(model, tmp_path / "model.onnx"))
    runner.load(source)
    assert entries == []
    monkeypatch.setattr(onnx_sessions, "MAPPED_ABOVE", 10)
    runner.load(source)
    assert entries == [("session.disable_prepacking", "1")]


def test_strings_are_unicode_arrays(tmp_path):
    session = runner.load(artifact(tmp_path, one("StringConcat(x, x)", "string", opset=20)))
    result = session.run({"x": np.array([["a", "\u00e9"], ["", "long word"]])})["y"]
    assert result.dtype.kind == "U"
    assert result.tolist() == [["aa", "\u00e9\u00e9"], ["", "long wordlong word"]]
    assert session.run({"x": np.zeros((0, 2), "<U1")})["y"].shape == (0, 2)


@pytest.mark.parametrize("rows", [0, 3])
def test_bfloat16_goes_in_and_out(tmp_path, rows):
    session = runner.load(artifact(tmp_path, one("Identity(x)", "bfloat16")))
    values = np.arange(rows * 2).reshape(rows, 2).astype(ml_dtypes.bfloat16) / 3
    result = session.run({"x": values})["y"]
    assert result.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(result, values)
    cast = runner.load(artifact(tmp_path, one("Cast<to = 16>(x)", "float", "bfloat16")))
    assert cast.run({"x": np.full((rows, 2), 1.5, np.float32)})["y"].dtype == ml_dtypes.bfloat16


def test_an_operator_without_a_kernel_is_not_verified(tmp_path):
    with pytest.raises(NotVerified, match=r"CPU provider cannot run the model: .*MatMul"):
        runner.load(artifact(tmp_path, one("MatMul(x, x)", "bfloat16")))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("sequence", "output 'y' is a sequence"),
        ("type", "cannot load the model: .*ype"),
        ("operator", "cannot load the model: .*Nonsense"),
        ("opset", "cannot load the model"),
    ],
)
def test_invalid_models_are_refused(tmp_path, damage, message):
    model = onnx.parser.parse_model(one("Neg(x)"))
    if damage == "sequence":
        kind = onnx.helper.make_sequence_type_proto(onnx.helper.make_tensor_type_proto(1, [2]))
        model.graph.output[0].type.CopyFrom(kind)
    elif damage == "type":
        model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    elif damage == "operator":
        model.graph.node[0].op_type = "Nonsense"
    else:
        model.opset_import[0].version = 99
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ConversionFailed, match=message) as caught:
        runner.load(Artifact("onnx", str(path), (path,)))
    if damage == "opset":
        assert "lower" in caught.value.hint


@pytest.mark.parametrize(
    "samples",
    [
        {},
        {"z": np.zeros((1, 2), np.float32)},
        {"x": np.zeros((1, 3), np.float32)},
        {"x": np.zeros((1, 2), np.float64)},
        {"x": np.zeros(2, np.float32)},
    ],
)
def test_samples_that_do_not_fit_are_an_error_with_the_inputs(tmp_path, samples):
    session = runner.load(artifact(tmp_path, one("Neg(x)")))
    with pytest.raises(ConversionFailed, match="does not run on the samples") as caught:
        session.run(samples)
    assert "x: float32[batch, 2]" in caught.value.hint


def test_external_data_is_checked_before_onnx_runtime_sees_it(tmp_path):
    model = onnx.parser.parse_model(one("Mul(x, w)"))
    tensor = onnx.numpy_helper.from_array(np.ones(2, np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, "../secret", 0, 8)
    tensor.ClearField("raw_data")
    model.graph.initializer.append(tensor)
    (tmp_path / "secret").write_bytes(b"12345678")
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner/model.onnx"
    path.write_bytes(model.SerializeToString())
    for call in (runner.load, runner.signature):
        with pytest.raises(ConversionFailed, match="leads out of the model's folder"):
            call(Artifact("onnx", str(path), (path,)))


def test_stdout_stays_clean(tmp_path, capfd):
    runner.load(artifact(tmp_path, one("Neg(x)"))).run({"x": np.zeros((1, 2), np.float32)})
    assert capfd.readouterr().out == ""
