"""onnx -> openvino and its runner: names and axes kept, float32 whatever the CPU would like, the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from mlconvert.artifact import Artifact
from mlconvert.converters import onnx_to_openvino
from mlconvert.errors import ConversionFailed, NotVerified, UsageError
from mlconvert.formats import source_artifact
from mlconvert.onnx_model.files import onnx_artifact, write_onnx
from mlconvert.readers.openvino_files import openvino_signature
from mlconvert.runners import onnx as onnx_runner
from mlconvert.runners import openvino as runner
from mlconvert.signature import Signature, TensorSpec


def artifact(folder: Path, text: str) -> Artifact:
    path = folder / "source.onnx"
    return onnx_artifact(path, write_onnx(onnx.parser.parse_model(text), path))


def one(operator: str, kind: str = "float", result: str | None = None, axes: str = "batch, 2") -> str:
    return f"""<ir_version: 8, opset_import: ["" : 18]>
        g ({kind}[{axes}] x) => ({result or kind}[{axes}] y) {{ y = {operator} }}"""


def converted(folder: Path, source: Artifact, **options) -> Artifact:
    folder.mkdir(exist_ok=True)
    return onnx_to_openvino.convert(source, folder / "model.xml", **options)


def test_answers_names_and_axes_are_those_of_the_model(small_onnx, tmp_path) -> None:
    source = source_artifact(str(small_onnx))
    made = converted(tmp_path, source)
    assert [path.name for path in made.files] == ["model.xml", "model.bin"]
    assert made.signature == onnx_runner.signature(source) == runner.signature(made)
    session = runner.load(made)
    for rows in (1, 7):
        batch = {"x": np.random.default_rng(rows).normal(size=(rows, 4)).astype(np.float32)}
        wanted = onnx_runner.load(source).run(batch)
        for name, values in session.run(batch).items():
            # bfloat16, which OpenVINO takes by itself on newer CPUs, would be off by 1e-3.
            np.testing.assert_allclose(values, wanted[name], rtol=1e-5, atol=1e-6)


def test_the_source_artifact_of_a_model_has_both_files(small_onnx, tmp_path) -> None:
    made = converted(tmp_path, source_artifact(str(small_onnx)))
    found = source_artifact(str(made.path))
    assert (found.format, found.files) == ("openvino", made.files)
    made.files[1].rename(tmp_path / "elsewhere")
    with pytest.raises(ConversionFailed, match=r"needs its weights, model\.bin, which is not there"):
        source_artifact(str(made.path))


def test_the_same_model_gives_the_same_bytes_in_any_process(small_onnx, tmp_path) -> None:
    first = converted(tmp_path / "first", source_artifact(str(small_onnx)))
    converted(tmp_path / "again", source_artifact(str(small_onnx)))  # OpenVINO's own numbers have gone on since
    code = (
        "import sys; from pathlib import Path; from mlconvert.converters import onnx_to_openvino as c; "
        "from mlconvert.formats import source_artifact as s; c.convert(s(sys.argv[1]), Path(sys.argv[2]))"
    )
    (tmp_path / "home").mkdir()
    (tmp_path / "third").mkdir()
    subprocess.run(
        [sys.executable, "-c", code, str(small_onnx), str(tmp_path / "third" / "model.xml")],
        check=True,
        env={**os.environ, "HOME": str(tmp_path / "home")},
    )
    for folder in ("again", "third"):
        for name in ("model.xml", "model.bin"):
            assert (tmp_path / folder / name).read_bytes() == (first.folder / name).read_bytes()
    assert list((tmp_path / "home").iterdir()) == []  # neither telemetry's consent nor a cache
    text = first.path.read_text()
    assert str(tmp_path) not in text
    assert str(small_onnx.parent) not in text


def test_float64_becomes_float32_unless_it_is_to_be_kept(tmp_path) -> None:
    source = artifact(tmp_path, one("Mul(x, x)", "double"))
    made = converted(tmp_path / "narrow", source)
    assert [spec.dtype for spec in (*made.signature.inputs, *made.signature.outputs)] == ["float32", "float32"]
    assert made.facts["precision"] == "float32"
    kept = converted(tmp_path / "kept", source, float64="keep")
    assert kept.signature == onnx_runner.signature(source)
    assert kept.facts["precision"] == "float32"  # what it computes in, whatever it takes
    rows = np.array([[1 / 3, 2.0]])
    np.testing.assert_allclose(runner.load(kept).run({"x": rows})["y"], rows * rows, rtol=1e-6)


def test_weights_may_be_kept_in_float16(small_onnx, tmp_path) -> None:
    plain = converted(tmp_path / "plain", source_artifact(str(small_onnx)))
    half = converted(tmp_path / "half", source_artifact(str(small_onnx)), compress_to_fp16=True)
    assert half.facts["precision"] == "float16"
    assert half.files[1].stat().st_size < plain.files[1].stat().st_size
    assert half.signature == plain.signature


def test_shapes_can_be_fixed(small_onnx, tmp_path) -> None:
    source = source_artifact(str(small_onnx))
    made = converted(tmp_path, source, shapes={"x": ("3", "_")})
    assert made.signature == Signature(
        (TensorSpec("x", "float32", (3, 4)),),
        (TensorSpec("y", "float32", (3, 3)), TensorSpec("sum", "float32", (3,))),
    )
    for shapes, message in (
        ({"z": ("1",)}, "no input 'z'"),
        ({"x": ("1",)}, "1 axes, and the model has 2"),
        ({"x": ("_", "5")}, "fixed at 4, and cannot be 5"),
        ({"x": ("many", "_")}, "neither a length nor _"),
    ):
        with pytest.raises(UsageError, match=message):
            converted(tmp_path, source, shapes=shapes)


TREE = """TreeEnsemble <tree_roots = [0], nodes_splits = float[1] {0.5}, nodes_featureids = [0],
    nodes_modes = uint8[1] {0}, nodes_truenodeids = [0], nodes_falsenodeids = [1], nodes_trueleafs = [1],
    nodes_falseleafs = [1], leaf_targetids = [0, 0], leaf_weights = float[2] {1.0, 2.0}> (x)"""


def test_what_openvino_lacks_is_named_before_it_runs(tmp_path) -> None:
    text = one("ai.onnx.ml." + TREE).replace('["" : 18]', '["" : 18, "ai.onnx.ml" : 5]').replace("2] y", "1] y")
    with pytest.raises(
        ConversionFailed, match="none of the operators of ONNX-ML, and the model uses TreeEnsemble"
    ) as it:
        converted(tmp_path, artifact(tmp_path, text))
    assert "--to onnx" in it.value.hint
    assert "FIL" in it.value.hint
    text = one("own.Foo(x)").replace('["" : 18]', '["" : 18, "own" : 1]')
    with pytest.raises(ConversionFailed, match=r"No conversion rule found for operations: own\.Foo"):
        converted(tmp_path, artifact(tmp_path, text))
    with pytest.raises(ConversionFailed, match="'x' is string"):
        converted(tmp_path, artifact(tmp_path, one("Identity(x)", "string")))
    assert not list(tmp_path.glob("model.*"))


def test_integers_that_would_be_cut_off_are_refused(tmp_path) -> None:
    made = converted(tmp_path, artifact(tmp_path, one("Add(x, x)", "int64")))
    session = runner.load(made)
    assert session.run({"x": np.array([[1, -2]])})["y"].tolist() == [[2, -4]]
    with pytest.raises(ConversionFailed, match="holds 8589934592, and OpenVINO's CPU plugin has 32 bits"):
        session.run({"x": np.array([[1 << 33, 0]])})


def test_a_damaged_model_is_told(small_onnx, tmp_path) -> None:
    made = converted(tmp_path, source_artifact(str(small_onnx)))
    xml, weights = (path.read_bytes() for path in made.files)
    made.path.write_bytes(xml[:-200])
    with pytest.raises(ConversionFailed, match="truncated: its last tag is missing"):
        source_artifact(str(made.path))
    with pytest.raises(ConversionFailed, match="a damaged one"):
        runner.signature(made)
    made.path.write_bytes(xml.replace(b'version="11"', b'version="7"', 1))
    with pytest.raises(ConversionFailed, match="of IR version 7"):
        source_artifact(str(made.path))
    made.path.write_bytes(xml)
    made.files[1].write_bytes(weights[:10])
    with pytest.raises(ConversionFailed, match=r"model\.bin holds 10 bytes, and the model needs"):
        runner.load(made)


def test_a_model_of_another_tool_is_read_without_names_of_axes(small_onnx, tmp_path) -> None:
    made = converted(tmp_path, source_artifact(str(small_onnx)))
    text = made.path.read_text()
    begin, end = text.index("<mlconvert>"), text.index("</mlconvert>")
    made.path.write_text(text[:begin] + text[end + len("</mlconvert>") :])
    assert openvino_signature(made.path).inputs == (TensorSpec("x", "float32", (None, 4)),)
    made.path.write_text(text.replace('shape="?,4"', 'shape="..."'))
    with pytest.raises(ConversionFailed, match="no known number of axes"):
        openvino_signature(made.path)


def test_strings_are_not_run(tmp_path, small_onnx) -> None:
    made = converted(tmp_path, source_artifact(str(small_onnx)))
    text = made.path.read_text().replace('element_type="f32"', 'element_type="string"', 1)
    made.path.write_text(text)
    with pytest.raises(NotVerified, match="tensor of string"):
        runner.load(made)


def test_a_run_holds_parity_and_leaves_nothing_at_home(small_onnx, tmp_path) -> None:
    """Through child processes, as the command line does it."""
    (tmp_path / "home").mkdir()
    command = [sys.executable, "-m", "mlconvert", "convert", str(small_onnx), "--to", "openvino"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "made.xml")],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path / "home"), "MLCONVERT_CACHE": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("made.*")) == ["made.bin", "made.xml", "made.xml.json"]
    record = json.loads((tmp_path / "made.xml.json").read_text())
    assert record["parity"]["ok"]
    assert [row["path"] for row in record["files"]] == ["made.xml", "made.bin"]
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("case", ["linear", "transformer"])
def test_models_of_other_libraries_go_on_to_openvino(case: str, tmp_path) -> None:
    """A linear model in double with labels, and attention over tokens with two dynamic axes."""
    random = np.random.default_rng(0)
    if case == "linear":
        text = """<ir_version: 8, opset_import: ["" : 18]>
            g (double[batch, 5] input) => (int64[batch] label, double[batch, 3] probabilities) {
                sums = MatMul (input, w)
                probabilities = Softmax <axis = 1> (sums)
                label = ArgMax <axis = 1, keepdims = 0> (probabilities) }"""
        weights = {"w": random.normal(size=(5, 3))}
        rows = {"input": random.normal(size=(6, 5))}
    else:
        text = """<ir_version: 8, opset_import: ["" : 18]>
            g (int64[batch, sequence] ids, bool[batch, sequence] mask) => (float[batch, sequence, 8] y) {
                x = Gather (table, ids)
                t = Transpose <perm = [0, 2, 1]> (x)
                s = MatMul (x, t)
                axes = Constant <value_ints = [1]> ()
                m = Unsqueeze (mask, axes)
                kept = Where (m, s, low)
                p = Softmax <axis = 2> (kept)
                y = MatMul (p, x) }"""
        weights = {"table": random.normal(size=(50, 8)).astype(np.float32), "low": np.array(-1e9, np.float32)}
        rows = {"ids": random.integers(0, 50, (3, 7)), "mask": np.tril(np.ones((7, 7), bool))[4:]}
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in weights.items())
    path = tmp_path / "source.onnx"
    source = onnx_artifact(path, write_onnx(model, path))
    made = converted(tmp_path, source)
    assert [spec.shape for spec in made.signature.outputs] == [spec.shape for spec in source.signature.outputs]
    taken = {spec.name: rows[spec.name].astype(spec.dtype) for spec in made.signature.inputs}
    wanted = onnx_runner.load(source).run(rows)
    for name, values in runner.load(made).run(taken).items():
        np.testing.assert_allclose(values, wanted[name], rtol=1e-4, atol=1e-5)
