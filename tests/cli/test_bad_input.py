"""Bad input, as a user gives it: the exit code, a message that names the thing and its mend, nothing left behind."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from mlconvert.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    """Run a command that must end with this code and leave no file behind; its stderr."""
    before = listing(Path.cwd())
    assert main([str(argument) for argument in arguments]) == code
    told = capsys.readouterr()
    assert listing(Path.cwd()) == before, "something was left behind"
    assert "Traceback" not in told.err
    assert told.err.startswith(("error: ", "✗", " ")) or "error: " in told.err or told.out
    return told.err + told.out


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def convert(*arguments: str | Path) -> list[str | Path]:
    return ["convert", *arguments, "--to", "onnx", "-o", "out"]


# --- the source ---


def test_missing_file(here, capsys, trained):
    shutil.copy(trained("breast_cancer.txt"), here / "model.txt")
    told = fails(capsys, 2, *convert("modle.txt"))
    assert "modle.txt does not exist" in told
    assert "Did you mean 'model.txt'?" in told


def test_empty_file(here, capsys):
    (here / "model.onnx").touch()
    assert "model.onnx is empty" in fails(capsys, 2, *convert("model.onnx"))


def test_text_called_onnx(here, capsys):
    (here / "model.onnx").write_text("this is not a model\n")
    told = fails(capsys, 2, "convert", "model.onnx", "--to", "onnx", "--via", "optimize", "-o", "out")
    assert "not an ONNX model" in told
    assert "text" in told


@pytest.mark.parametrize("name", ["breast_cancer.txt", "digits.pt2", "iris_xgboost.json", "iris_xgboost.ubj"])
@pytest.mark.parametrize("kept", [0.4, 0.97])
def test_truncated(here, capsys, trained, name, kept):
    whole = trained(name).read_bytes()
    (here / name).write_bytes(whole[: int(len(whole) * kept)])
    told = fails(capsys, 4, *convert(name))
    assert name in told


def test_truncated_onnx(here, capsys, small_onnx):
    whole = small_onnx.read_bytes()
    (here / "model.onnx").write_bytes(whole[: len(whole) // 2])
    told = fails(capsys, 4, "convert", "model.onnx", "--to", "onnx", "--via", "optimize", "-o", "out")
    assert "model.onnx" in told


def test_lightgbm_file_with_a_child_index_that_aborts_its_loader(here, capsys, trained):
    lines = trained("breast_cancer.txt").read_text().splitlines(keepends=True)
    first = next(index for index, line in enumerate(lines) if line.startswith("left_child="))
    lines[first] = "left_child=" + " ".join(["9999"] * len(lines[first].split())) + "\n"
    (here / "model.txt").write_text("".join(lines))
    assert "model.txt" in fails(capsys, 4, *convert("model.txt"))


class RunsCode:
    """A pickle whose loading would create the file `ran`."""

    def __reduce__(self):
        return (os.mkdir, ("ran",))


def test_pickle_that_would_run_code(here, capsys):
    (here / "model.pkl").write_bytes(pickle.dumps(RunsCode()))
    told = fails(capsys, 2, *convert("model.pkl"))
    assert "posix.mkdir" in told or "mkdir" in told
    fails(capsys, 2, *convert("model.pkl", "--from", "sklearn"))
    assert main(["inspect", "model.pkl"]) == 0
    assert "mkdir" in capsys.readouterr().out
    assert not (here / "ran").exists(), "the pickle's code ran"


def test_pickle_without_trust(here, capsys):
    from sklearn.linear_model import LinearRegression

    rows = np.random.default_rng(0).normal(size=(20, 3))
    (here / "model.pkl").write_bytes(pickle.dumps(LinearRegression().fit(rows, rows.sum(axis=1))))
    assert "--trust" in fails(capsys, 2, *convert("model.pkl"))
    assert main(["convert", "model.pkl", "--to", "onnx", "-o", "out", "--trust"]) == 0


def test_pickle_is_refused_although_its_result_is_cached(here, capsys):
    from sklearn.linear_model import LinearRegression

    rows = np.random.default_rng(1).normal(size=(20, 3))
    (here / "model.pkl").write_bytes(pickle.dumps(LinearRegression().fit(rows, rows.sum(axis=1))))
    assert main(["convert", "model.pkl", "--to", "onnx", "-o", "made", "--trust"]) == 0
    capsys.readouterr()
    assert "--trust" in fails(capsys, 2, *convert("model.pkl"))


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/passwd", "link.bin"])
def test_external_data_outside_the_folder(here, capsys, location):
    import onnx
    from onnx import TensorProto, helper

    (here / "models").mkdir()
    (here / "outside.bin").write_bytes(bytes(16))
    (here / "models" / "link.bin").symlink_to(here / "outside.bin")
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value=location)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    (here / "models" / "m.onnx").write_bytes(onnx.ModelProto.SerializeToString(model))
    told = fails(capsys, 4, "convert", "models/m.onnx", "--to", "onnx", "--via", "optimize", "-o", "out")
    assert location in told
    assert "folder" in told


@pytest.mark.parametrize(
    ("name", "hint"), [("tiny_transformer.safetensors", "--weights"), ("digits.npz", "cannot read")]
)
def test_files_that_are_no_model(here, capsys, trained, name, hint):
    path = trained(name)
    assert hint in fails(capsys, 2, *convert(path))


def test_factory_that_is_not_there(here, capsys):
    (here / "nets.py").write_text("def build_model():\n    return None\n")
    assert "build_model" in fails(capsys, 2, *convert("nets.py:build_modle"))
    assert "nosuchmodule" in fails(capsys, 2, *convert("nosuchmodule.nets:build"))


# --- the samples ---


def bad_samples(here: Path, **arrays: np.ndarray) -> Path:
    path = here / "rows.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"other": np.zeros((4, 30))}, ["lack", "input"]),
        ({"input": np.zeros((4, 30)), "extra": np.zeros((4, 1))}, ["extra"]),
        ({"input": np.array([["a"] * 30])}, ["input", "string"]),
        ({"input": np.zeros((0, 30))}, ["row"]),
        ({"input": np.zeros((4, 29))}, ["input", "29", "30"]),
    ],
    ids=["missing", "extra", "wrong type", "no rows", "wrong width"],
)
def test_samples_that_do_not_fit(here, capsys, trained, arrays, words):
    rows = bad_samples(here, **arrays)
    told = fails(capsys, 2, *convert(trained("breast_cancer.txt"), "--samples", rows))
    for word in words:
        assert word in told


def test_samples_file_missing(here, capsys, trained):
    told = fails(capsys, 2, *convert(trained("breast_cancer.txt"), "--samples", "nope.csv"))
    assert "nope.csv" in told


def test_no_samples_can_be_made(here, capsys, trained):
    told = fails(capsys, 6, *convert(trained("churn.skops")))
    assert "--samples" in told


# --- options, routes, packages ---


def test_unknown_option(here, capsys, trained):
    told = fails(capsys, 2, *convert(trained("breast_cancer.txt"), "--set", "onnx.opsett=17"))
    assert "Did you mean 'opset'?" in told


def test_value_of_the_wrong_type(here, capsys, trained):
    told = fails(capsys, 2, *convert(trained("breast_cancer.txt"), "--set", "onnx.opset=new"))
    assert "integer" in told


def test_unreachable_target(here, capsys, trained):
    told = fails(capsys, 2, "convert", trained("breast_cancer.txt"), "--to", "xgboost", "-o", "out")
    assert "no route" in told
    assert "onnx" in told


def test_unknown_target(here, capsys, trained):
    told = fails(capsys, 2, "convert", trained("breast_cancer.txt"), "--to", "onxn", "-o", "out")
    assert "Did you mean 'onnx'?" in told


def test_typo_in_a_command_line_option(here, capsys, trained):
    assert "--samples" in fails(capsys, 2, *convert(trained("breast_cancer.txt"), "--sample", "x"))


def test_package_that_is_not_installed(here, capsys, trained, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "onnxsim" else real(name, *rest)
    )
    told = fails(capsys, 3, *convert(trained("breast_cancer.txt"), "--via", "onnx", "--via", "simplify"))
    assert "pip install 'mlconvert[simplify]'" in told


@pytest.mark.parametrize("report", ["report.htm", "report.pdf"])
def test_report_that_cannot_be_written(here, capsys, trained, report):
    fails(capsys, 2, *convert(trained("breast_cancer.txt"), "--report", report))


def test_json_error(here, capsys):
    assert main(["convert", "nope.txt", "--to", "onnx", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["exit_code"] == 2
    assert "nope.txt" in told["targets"][0]["error"]["message"]


# --- the output ---


def test_output_that_is_not_ours(here, capsys, trained):
    (here / "out").mkdir()
    (here / "out" / "thesis.tex").write_text("years of work")
    told = fails(capsys, 2, *convert(trained("breast_cancer.txt")))
    assert "not made by mlconvert" in told
    assert (here / "out" / "thesis.tex").read_text() == "years of work"


def test_output_file_that_is_not_ours(here, capsys, trained):
    (here / "m.onnx").write_text("mine")
    fails(capsys, 2, "convert", trained("breast_cancer.txt"), "--to", "onnx", "-o", "m.onnx")
    assert (here / "m.onnx").read_text() == "mine"


def test_output_of_ours_that_was_changed(here, capsys, trained):
    source = trained("breast_cancer.txt")
    assert main(["convert", str(source), "--to", "onnx", "-o", "m.onnx"]) == 0
    with (here / "m.onnx").open("ab") as stream:
        stream.write(b"edited")
    capsys.readouterr()
    told = fails(capsys, 2, "convert", source, "--to", "onnx", "-o", "m.onnx")
    assert "changed after mlconvert wrote it" in told


def test_output_below_a_file(here, capsys, trained):
    (here / "file").write_text("")
    fails(capsys, 2, "convert", trained("breast_cancer.txt"), "--to", "onnx", "-o", "file/out")


def test_output_that_is_the_source(here, capsys, small_onnx):
    """Converting in place would lose the source: by its file, and by the folder that it lies in."""
    (here / "model").mkdir()
    shutil.copy(small_onnx, here / "model" / "model.onnx")
    passes = ("--to", "onnx", "--via", "optimize")
    assert "is where the source is" in fails(capsys, 2, "convert", "model", *passes)
    told = fails(capsys, 2, "convert", "model/model.onnx", *passes, "-o", "model/model.onnx")
    assert "is where the source is" in told


def test_recipe_errors_name_their_line(here, capsys, trained):
    shutil.copy(trained("breast_cancer.txt"), here / "model.txt")
    (here / "recipe.yaml").write_text("model: model.txt\ntargets:\n  t:\n    steps:\n      - onnx: {opst: 17}\n")
    told = fails(capsys, 2, "run", "recipe.yaml")
    assert "recipe.yaml:5:" in told
    assert "Did you mean 'opset'?" in told
    (here / "recipe.yaml").write_text("model: nope.txt\ntargets:\n  t: {steps: [onnx]}\n")
    assert "recipe.yaml:1:" in fails(capsys, 2, "run", "recipe.yaml")


def test_a_report_is_written_also_when_nothing_could_begin(here, capsys):
    assert main(["convert", "nope.txt", "--to", "onnx", "--report", "r.xml", "--report", "r.json"]) == 2
    assert json.loads((here / "r.json").read_text())["exit_code"] == 2
    assert 'errors="1"' in (here / "r.xml").read_text()
