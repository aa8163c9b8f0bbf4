"""Bad input on the way to a SavedModel, as a user gives it: the exit code, all that is wrong, nothing written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from mlconvert.cli import main

CUSTOM = """<ir_version: 8,
  opset_import: ["" : 17, "own" : 1, "acme" : 2, "com.other" : 5, "ai.onnx.preview.training" : 1]>
g (bool c, float[2] x) => (float[2] y, float[2] z) {
  a = own.Twice(x)
  b = If (c) <
    then_branch = yes () => (float[2] t) { s = acme.Blend(a) t = acme.Blend(s) },
    else_branch = no () => (float[2] e) { e = Relu(a) }
  >
  y = acme.Blend(b)
  z = ai.onnx.preview.training.Gradient <xs = ["x"], y = "a"> (x)
}
<domain: "own", opset_import: ["" : 17, "com.other" : 6]>
Twice (x) => (y) { t = com.other.Fold(x) y = Add(t, t) }"""
PLAIN = '<ir_version: 8, opset_import: ["" : 17]> g (float[n] x) => (float[n] y) { y = Relu(x) }'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def fails(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Convert a model to a SavedModel, which must end with this code and leave no file in the folder or the cache."""

    def check(code: int, model: str | onnx.ModelProto, *arguments: str) -> str:
        write(model, here / "model.onnx")
        before = listing(here)
        ended = main(["convert", "model.onnx", "--to", "saved-model", "-o", "out", *arguments])
        told = capsys.readouterr()
        text = " ".join((told.out + told.err).split())
        assert ended == code, text
        assert listing(here) == before, "something was left behind"
        assert [name for name in listing(here.parent / "cache") if name.endswith(".pb")] == []
        assert "Traceback" not in text
        return text

    return check


def write(model: str | onnx.ModelProto, path: Path) -> None:
    if isinstance(model, str):
        parsed = onnx.ModelProto()
        header, _, functions = model.partition("\n<domain:")
        parsed.CopyFrom(onnx.parser.parse_model(header))
        if functions:
            parsed.functions.append(onnx.parser.parse_function(f"<domain:{functions}"))
        model = parsed
    path.write_bytes(model.SerializeToString())


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def graph_model(nodes: list[onnx.NodeProto], inputs: list, outputs: list, constants: list = []) -> onnx.ModelProto:  # noqa: B006
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def floats(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


# --- operators ---


def test_operators_outside_the_table_are_all_named_with_their_domains_and_counts(here, capsys):
    """Those of branches and of the model's own functions, too; in the JSON report as on the terminal."""
    write(CUSTOM, here / "model.onnx")
    assert main(["convert", "model.onnx", "--to", "saved-model", "-o", "out", "--json"]) == 4
    error = json.loads(capsys.readouterr().out)["targets"][0]["error"]
    assert error["error"] == "ConversionFailed"
    assert error["message"].partition(": ")[2].split(", ") == [
        "acme.Blend (opset 2): 3 nodes",
        "ai.onnx.preview.training.Gradient (opset 1): 1 node",
        "com.other.Fold (opset 6): 1 node",
    ]
    assert "--to triton" in error["hint"]
    assert listing(here) == ["model.onnx"]


def test_an_attribute_that_no_version_of_the_operator_has(fails):
    node = helper.make_node("Relu", ["x"], ["y"], slope=0.5)
    told = fails(4, graph_model([node], [floats("x", 2)], [floats("y", 2)]), "--no-verify")
    assert "slope" in told


# --- external data ---


def external(location: str, length: int = 16) -> onnx.ModelProto:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        weight.external_data.add(key=key, value=value)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    return graph_model(nodes, [floats("x", "n", 4)], [floats("y", "n", 4)], [weight])


def test_external_data_that_is_missing(fails):
    assert "weights.bin" in fails(4, external("weights.bin"))


def test_external_data_that_is_too_short(fails, here):
    (here / "weights.bin").write_bytes(bytes(8))
    assert "weights.bin" in fails(4, external("weights.bin"))


def test_external_data_outside_the_folder(fails, here):
    (here.parent / "weights.bin").write_bytes(bytes(16))
    assert "../weights.bin" in fails(4, external("../weights.bin"))


# --- what no signature can have ---


def test_outputs_and_inputs_that_are_sequences(fails):
    made = '<ir_version: 8, opset_import: ["" : 17]> g (float[2] x) => (seq(float[2]) y) { y = SequenceConstruct(x) }'
    assert "output 'y' is a sequence, not a tensor" in fails(4, made)
    taken = '<ir_version: 8, opset_import: ["" : 17]> g (seq(float[2]) x) => (int64 y) { y = SequenceLength(x) }'
    assert "input 'x' is a sequence, not a tensor" in fails(4, taken)


def test_an_output_that_is_a_map_says_how_to_export_without(fails):
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    output = helper.make_value_info("y", helper.make_sequence_type_proto(kind))
    told = fails(4, graph_model([node], [floats("x", 3, 2)], [output]))
    assert "output 'y'" in told
    assert "zipmap=False" in told


def test_a_map_inside_the_graph_says_how_to_export_without(fails):
    nodes = [
        helper.make_node("ZipMap", ["x"], ["zipped"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
        helper.make_node("Relu", ["x"], ["y"]),
    ]
    told = fails(4, graph_model(nodes, [floats("x", 3, 2)], [floats("y", 3, 2)]))
    assert "ai.onnx.ml.ZipMap (opset 3): 1 node" in told
    assert "zipmap=False" in told


def test_an_optional_as_input(fails):
    text = '<ir_version: 8, opset_import: ["" : 17]> g (optional(float[2]) x) => (bool y) { y = OptionalHasElement(x) }'
    assert "input 'x' is an optional, not a tensor" in fails(4, text)


# --- names ---


def test_names_that_tensorflow_refuses_are_changed_recorded_and_verified(here, capsys):
    names = ["x:0", "x_0", "_hidden", "2nd", "with space", "self", "ünï", "X_0"]
    nodes = [helper.make_node("Sum", names, ["out:0"]), helper.make_node("Relu", ["out:0"], ["a b/c"])]
    outputs = [floats("out:0", "n", 3), floats("a b/c", "n", 3)]
    write(graph_model(nodes, [floats(name, "n", 3) for name in names], outputs), here / "model.onnx")
    assert main(["convert", "model.onnx", "--to", "saved-model", "-o", "out"]) == 0
    record = json.loads((here / "out" / "record.json").read_text())
    found = [spec["name"] for spec in record["signature"]["inputs"]]
    assert [record["renamed"].get(name, name) for name in names] == found
    assert len({name.lower() for name in found}) == len(names)
    assert found[1] == "x_0"  # a name that is allowed stays as it is
    assert [spec["name"] for spec in record["signature"]["outputs"]] == ["out:0", "a b/c"]


# --- packages ---


def test_without_tensorflow_the_command_ends_with_3_and_says_what_to_install(here):
    write(PLAIN, here / "model.onnx")
    code = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "keras"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocker())
from importlib import metadata
real = metadata.version
def version(name):
    if name.startswith(("tensorflow", "keras")):
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.version = version
from mlconvert.cli import main
sys.exit(main(["convert", "model.onnx", "--to", "saved-model", "-o", "out"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here)
    text = " ".join(done.stderr.split())
    assert done.returncode == 3, text
    assert "tensorflow" in text
    assert "pip install" in text
    assert "Traceback" not in text
    assert listing(here) == ["model.onnx"]
