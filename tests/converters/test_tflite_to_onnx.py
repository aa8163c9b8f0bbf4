"""TensorFlow Lite's files as ONNX: names, types and axes kept, the interpreter's answers, and what is refused."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.converters import tflite_to_onnx
from mlconvert.errors import ConversionFailed, NotVerified, UsageError
from mlconvert.formats import recognise
from mlconvert.readers.tensorflow_runtime import import_tensorflow
from mlconvert.runners import onnx as onnx_runner
from mlconvert.runners import tflite as runner

tf = import_tensorflow()

RANDOM = np.random.default_rng(20261123)


def lite(path: Path) -> Artifact:
    return Artifact("tflite", str(path), (path,))


def written(path: Path, function: Any, *specs: Any, flex: bool = False) -> Artifact:
    """A function of tensors as a TensorFlow Lite file; its dict gives the outputs their names."""
    module = tf.Module()
    module.serve = tf.function(function, input_signature=specs, autograph=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.serve.get_concrete_function()], module)
        if flex:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
        path.write_bytes(converter.convert())
    return lite(path)


def compare(source: Artifact, made: Artifact, inputs: Mapping[str, np.ndarray], *, atol: float = 1e-6) -> None:
    reference, session = runner.load(source), onnx_runner.load(made)
    assert session.signature == reference.signature == runner.signature(source)
    wanted, told = reference.run(inputs), session.run(inputs)
    assert list(told) == list(wanted)
    for name, answer in wanted.items():
        assert (told[name].dtype, told[name].shape) == (answer.dtype, answer.shape)
        np.testing.assert_allclose(told[name], answer, rtol=1e-5, atol=atol)


@pytest.mark.parametrize("name", ["digits_lite", "digits_lite_int8"])
def test_the_fixtures(name, trained, tmp_path):
    path = trained(f"{name}.tflite")
    with np.load(path.with_suffix(".npz")) as samples:
        image = samples["image"]
    made = tflite_to_onnx.convert(lite(path), tmp_path / "m.onnx")
    assert made.facts.get("precision") == ("int8" if "int8" in name else None)
    for rows in (1, 128):
        compare(lite(path), made, {"image": image[:rows]})


def test_int8_by_the_command_line(trained, tmp_path):
    path = trained("digits_lite_int8.tflite")
    out = tmp_path / "out"
    options = ["--to", "onnx", "-o", str(out), "--samples", str(path.with_suffix(".npz"))]
    assert main(["convert", str(path), *options]) == 0
    record = json.loads((out / "record.json").read_text())
    assert record["signature"]["inputs"] == [{"name": "image", "dtype": "int8", "shape": ["batch", 8, 8, 1]}]
    assert record["signature"]["outputs"] == [{"name": "probabilities", "dtype": "int8", "shape": ["batch", 10]}]


def test_dequantized_it_computes_in_float32(trained, tmp_path):
    import onnx

    path = trained("digits_lite_int8.tflite")
    tflite_to_onnx.convert(lite(path), tmp_path / "m.onnx", dequantize=True)
    kinds = [node.op_type for node in onnx.load(tmp_path / "m.onnx").graph.node]
    assert kinds.count("DequantizeLinear") <= 1
    assert kinds.count("QuantizeLinear") == 1  # the output is int8 all the same


def test_two_inputs_two_outputs_and_dynamic_axes(tmp_path):
    def function(rows: Any, scale: Any) -> dict[str, Any]:
        return {"longest": tf.reduce_max(rows, axis=1) * scale, "apart": tf.cast(tf.shape(rows)[:1], tf.int64)}

    specs = tf.TensorSpec((None, None, 3), tf.float32, "rows"), tf.TensorSpec((), tf.float32, "scale")
    source = written(tmp_path / "m.tflite", function, *specs)
    assert recognise(source.location) == "tflite"
    made = tflite_to_onnx.convert(source, tmp_path / "m.onnx", opset=15)
    assert made.facts["opsets"]["ai.onnx"] == 15
    assert made.signature is not None
    assert {str(spec) for spec in made.signature.inputs} == {"rows: float32[batch, rows_1, 3]", "scale: float32[]"}
    for lengths in ((1, 4, 3), (5, 2, 3)):
        rows = RANDOM.normal(size=lengths).astype(np.float32)
        compare(source, made, {"rows": rows, "scale": np.array(2.5, np.float32)})


# tf2onnx lacks a conversion for each, or had none of the names right.
MENDED = {
    "gelu": tf.nn.gelu,
    "gelu by tanh": lambda x: tf.nn.gelu(x, approximate=True),
    "relu -1 to 1": lambda x: tf.clip_by_value(x, -1.0, 1.0),
    "buckets": lambda x: tf.raw_ops.Bucketize(input=x, boundaries=[-1.0, 0.1, 0.5]),
    "an input that is an output": lambda x: x,
}


@pytest.mark.parametrize("name", MENDED)
def test_what_is_mended(name, tmp_path):
    spec = tf.TensorSpec((None, 4), tf.float32, "x")
    source = written(tmp_path / "m.tflite", lambda x: {"y": MENDED[name](x)}, spec)
    x = np.array([[-1.5, -1, -0.0, 0.1], [0.49999, 0.5, 1, 7]], np.float32)
    compare(source, tflite_to_onnx.convert(source, tmp_path / "m.onnx"), {"x": x})


def test_operators_without_a_conversion_are_named_and_nothing_is_written(tmp_path):
    spec = tf.TensorSpec((None, 4), tf.float32, "x")

    def function(x: Any) -> dict[str, Any]:
        return {"y": tf.math.cumulative_logsumexp(x), "z": tf.linalg.inv(tf.matmul(x, x, transpose_b=True))}

    source = written(tmp_path / "m.tflite", function, spec, flex=True)
    with pytest.raises(ConversionFailed, match=r"no conversion for CumulativeLogsumexp \(1\), MatrixInverse \(1\)"):
        tflite_to_onnx.convert(source, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    with pytest.raises(NotVerified, match="FlexCumulativeLogsumexp, FlexMatrixInverse"):
        runner.load(source)


def test_what_does_not_fit_is_said(trained, tmp_path):
    path = trained("digits_lite.tflite")
    session = runner.load(lite(path))
    with pytest.raises(ConversionFailed, match="lack what the model takes: image"):
        session.run({"x": np.ones((1, 4), np.float32)})
    with pytest.raises(ConversionFailed, match="does not run on the samples"):
        session.run({"image": np.ones((1, 9, 8, 1), np.float32)})
    with pytest.raises(ConversionFailed, match="does not run on the samples"):
        session.run({"image": np.ones((1, 8, 8, 1), np.float64)})
    with pytest.raises(UsageError, match="13 to 18"):
        tflite_to_onnx.convert(lite(path), tmp_path / "m.onnx", opset=19)
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(path.read_bytes()[:-600])
    assert main(["convert", str(cut), "--to", "onnx", "-o", str(tmp_path / "out")]) == 4
