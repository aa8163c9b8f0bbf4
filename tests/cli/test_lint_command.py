"""`mlconvert lint` as a user runs it: exit codes, the text at 80 columns, --json, reports, a running server."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import onnx
import pytest
from onnx import TensorProto, helper

from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.onnx_model.files import onnx_artifact
from mlconvert.repositories.triton import publish


def make_model(path: Path, *, kind: int = TensorProto.FLOAT, rows: str | int = "batch") -> Artifact:
    """`y` is `x`."""
    values = [helper.make_tensor_value_info(name, kind, [rows, 2]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return onnx_artifact(path, (path,))


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository `models` in the current folder, with the models `numbers` and `texts`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    publish(make_model(tmp_path / "numbers.onnx"), tmp_path / "models", "numbers")
    publish(make_model(tmp_path / "texts.onnx", kind=TensorProto.STRING), tmp_path / "models", "texts")
    return Path("models")


@pytest.fixture
def lint(capsys):
    """A function that runs the command: exit code, stdout, stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main(["lint", *map(str, arguments)])
        told = capsys.readouterr()
        assert "Traceback" not in told.err
        return code, told.out, told.err

    return run


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def report_of(lint, *arguments: str | Path) -> dict:
    code, out, _ = lint(*arguments, "--json")
    report = json.loads(out)
    assert report["exit_code"] == code
    assert report["ok"] is (code == 0)
    assert report["schema"] == "mlconvert.findings/1"
    return report


def test_a_clean_repository(models, lint):
    assert lint(models) == (0, "2 models: nothing found\n", "")
    report = report_of(lint, models, "--release", "24.10")
    assert report["findings"] == []
    assert [model["name"] for model in report["models"]] == ["numbers", "texts"]
    assert report["release"] == "24.10"


def test_a_string_output_where_a_number_is_configured(models, lint):
    config = models / "texts/config.pbtxt"
    edit(config, 'name: "y"\n  data_type: TYPE_STRING', 'name: "y"\n  data_type: TYPE_FP32')
    code, out, _ = lint(models)
    assert code == 8
    assert out.splitlines() == [
        "texts",
        "  error  data-type-mismatch  texts/config.pbtxt",
        "    output 'y' data_type: TYPE_FP32, the model has TYPE_STRING",
        "    fix: write data_type: TYPE_STRING",
        "2 models: 1 error",
    ]
    (found,) = report_of(lint, models)["findings"]
    assert found == {
        "level": "error",
        "code": "data-type-mismatch",
        "model": "texts",
        "file": "texts/config.pbtxt",
        "field": "output 'y' data_type",
        "message": "TYPE_FP32, the model has TYPE_STRING",
        "fix": "write data_type: TYPE_STRING",
    }
    assert lint(models, "--model", "numbers")[0] == 0


def test_a_zipmap_output(models, lint):
    element = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    answer = helper.make_value_info("y", helper.make_sequence_type_proto(element))
    node = helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    graph = helper.make_graph(
        [node], "zipmap", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])], [answer]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), models / "numbers/1/model.onnx")
    code, out, _ = lint(models)
    assert code == 8
    assert "output-not-tensor" in out
    assert "without ZipMap" in out


def test_a_graph_that_cannot_batch_asked_to_batch(models, lint):
    made = make_model(models.parent / "fixed.onnx", rows=1)
    shutil.copyfile(made.path, models / "numbers/1/model.onnx")
    code, out, _ = lint(models)
    assert code == 8
    assert "cannot-batch" in out


def test_lines_fit_80_columns_but_for_what_is_to_be_copied(models, lint):
    for name in ("numbers", "texts"):
        edit(models / name / "config.pbtxt", "dims: [2]", "dims: [0]")
        (models / name / "02").mkdir()
    _, out, _ = lint(models)
    assert all(len(line) <= 80 for line in out.splitlines() if "fix:" not in line and "/" not in line)


def test_reports(models, lint, tmp_path):
    edit(models / "texts/config.pbtxt", 'name: "texts"', 'name: "words"')
    (models / "notes.txt").write_text("x")
    code, _, told = lint(models, "--report", tmp_path / "out/lint.json", "--report", tmp_path / "lint.xml")
    assert code == 8
    assert told.count("report: ") == 2
    assert json.loads((tmp_path / "out/lint.json").read_text())["exit_code"] == 8
    root = ET.parse(tmp_path / "lint.xml").getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("3", "1", "0")
    assert [suite.get("name") for suite in root] == ["models", "numbers", "texts"]
    assert root.find(".//failure").get("type") == "name-mismatch"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("nothing",), 2, "there is no nothing"),
        (("models/numbers",), 8, "this is the folder of a model"),
        (("numbers.onnx",), 8, "a repository is a folder, this is a file"),
        (("models", "--release", "19.01"), 2, "known: 24.10 to 26.07"),
        (("models", "--model", "number"), 2, "Did you mean 'numbers'?"),
        (("models", "--server", "x"), 2, "--server is for --serve"),
        (("models", "--report", "lint.md"), 2, "choose .json or .xml"),
        (("models", "--report", "/proc/lint.json"), 2, "the report cannot be written"),
        (("triton://127.0.0.1:1",), 8, "127.0.0.1:1"),
        (("models", "--serve", "--server", "nowhere"), 3, "nowhere"),
    ],
)
def test_what_cannot_be_linted(models, lint, arguments, code, told):
    ended, out, err = lint(*arguments)
    text = " ".join((out + err).split())
    assert (ended, told in text) == (code, True), text


def test_a_folder_that_is_no_repository(lint, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/table.csv").write_text("a,b\n")
    code, _, told = lint(tmp_path / "data")
    assert code == 8
    assert "does not look like a model repository" in told


def test_serve_says_what_the_server_refuses_and_what_could_not_be_compared(models, lint):
    """These have no record, so that their answers have nothing to be compared with: exit code 6, not 0."""
    code, out, _ = lint(models, "--serve", "--model", "numbers")
    assert code == 6
    assert "unchecked  no-record" in out
    edit(models / "texts/config.pbtxt", "dims: [2]", "dims: [3]")
    report = report_of(lint, models, "--serve", "--model", "texts")
    assert report["exit_code"] == 8
    assert [one["code"] for one in report["findings"]] == ["load-failed", "shape-mismatch"]
    assert "the model configuration specifies" in report["findings"][0]["message"]


def test_a_running_server_tells_what_it_could_not_load(lint, triton_server, tmp_path):
    root, http = triton_server.root, triton_server.clients[0]
    publish(make_model(tmp_path / "m.onnx"), root, "loaded")
    publish(make_model(tmp_path / "n.onnx"), root, "refused")
    edit(root / "refused/config.pbtxt", "dims: [2]", "dims: [3]")
    try:
        http.load("loaded")
        with pytest.raises(Exception, match="refused"):
            http.load("refused")
        report = report_of(lint, f"triton://{triton_server.server.http}", "--model", "loaded", "--model", "refused")
        (found,) = report["findings"]
        assert (found["level"], found["code"], found["model"]) == ("error", "not-ready", "refused")
        assert "the model configuration specifies" in found["message"]
        assert [model["name"] for model in report["models"]] == ["loaded", "refused"]
    finally:
        triton_server.drop("loaded", "refused")
