"""Every command but `convert` and `run`, on real models; and the Python API, which has the same words."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator

import mlconvert
from mlconvert.cli import main
from mlconvert.errors import NotVerified, ParityFailed, RepositoryInvalid, UsageError
from mlconvert.formats import FORMATS
from mlconvert.registry import registry
from mlconvert.report import SCHEMA
from mlconvert.repositories.triton import config
from mlconvert.tensors.rows import decode_rows

BOUNDARY = 4096  # rows at thresholds, added for a model of trees


class Shell:
    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def __call__(self, code: int, *arguments: str | Path) -> tuple[str, str]:
        """Run a command that must end with this code; its stdout and stderr."""
        ended = main([str(argument) for argument in arguments])
        told = self.capsys.readouterr()
        assert ended == code, told.err + told.out
        assert "Traceback" not in told.err
        return told.out, told.err

    def json(self, code: int, *arguments: str | Path) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self(code, *arguments, "--json")[0])
        return data

    def report(self, code: int, *arguments: str | Path) -> dict[str, Any]:
        report = self.json(code, *arguments)
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
        assert (report["ok"], report["exit_code"]) == (code == 0, code)
        return report


@pytest.fixture
def shell(capsys):
    return Shell(capsys)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(here, trained):
    """`model.txt`, a LightGBM classifier, with its samples in `rows.csv`."""
    shutil.copyfile(trained("breast_cancer.txt"), here / "model.txt")
    shutil.copyfile(trained("breast_cancer.csv"), here / "rows.csv")
    return here / "model.txt"


@pytest.fixture
def made(model, here, shell):
    """`made/model.onnx`, converted and verified (from the tests' cache, all but the first time)."""
    shell(0, "convert", "model.txt", "--to", "onnx", "-o", "made", "--samples", "rows.csv")
    return here / "made" / "model.onnx"


def listed(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def flip_a_bit(path: Path) -> None:
    """Of a weight in the middle of a model: it is a whole model still, but another one."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# --- verify ---


def test_two_models_are_compared_on_samples(made, shell):
    for candidate in ("made", "made/model.onnx"):
        report = shell.report(0, "verify", "model.txt", candidate, "--samples", "rows.csv")
        (target,) = report["targets"]
        assert (report["source"]["format"], target["format"]) == ("lightgbm", "onnx")
        (step,) = target["steps"]
        assert step["converter"] == "verify"
        assert step["parity"]["samples"] == 128 + BOUNDARY
        assert step["parity"]["boundary_samples"] == BOUNDARY
        assert [output["name"] for output in step["parity"]["outputs"]] == ["label", "probabilities"]
    out, _ = shell(0, "verify", "model.txt", "made", "--report", "r.md")
    assert "verified" in out
    assert f"{256 + BOUNDARY:,} samples" in out  # rows that were drawn, where none were given
    assert Path("r.md").read_text().startswith("#")


def test_tolerances_decide(made, shell):
    loose = shell.report(0, "verify", "model.txt", "made", "--samples", "rows.csv", "--rtol", "0.1", "--atol", "0.2")
    parity = loose["targets"][0]["steps"][0]["parity"]
    assert (parity["rtol"], parity["atol"]) == (0.1, 0.2)
    strict = shell.report(5, "verify", "model.txt", "made", "--samples", "rows.csv", "--rtol", "0", "--atol", "0")
    assert "'probabilities'" in strict["targets"][0]["error"]["message"]
    shell(5, "verify", "made", "--rtol", "0", "--atol", "0")


def test_an_artifact_is_tested_on_the_rows_of_its_record(made, here, shell):
    for place in ("made", "made/model.onnx"):
        (step,) = shell.report(0, "verify", place)["targets"][0]["steps"]
        assert step["parity"]["samples"] == 32
    # The reference is not needed for that, nor the place where it was made.
    (here / "model.txt").unlink()
    shutil.move(here / "made", here / "moved")
    report = shell.report(0, "verify", "moved")
    assert report["source"]["format"] == "lightgbm"


def test_a_changed_file_is_not_tested_on_the_rows_of_another(made, shell):
    flip_a_bit(made)
    for command in (["verify", "made"], ["verify", "model.txt", "made"], ["inspect", "made"]):
        _, err = shell(8, *command)
        assert "was changed after its record was written" in err
        assert "model.onnx" in err


def test_a_record_that_was_changed_is_not_believed(made, shell):
    """Other reference answers in the record: the artifact does not agree with them."""
    path = made.with_name("record.json")
    record = json.loads(path.read_text())
    packed = base64.b64encode(zlib.compress((1 - rows_of(record)["label"]).astype("<i8").tobytes())).decode()
    record["rows"]["outputs"]["label"]["deflate_base64"] = packed
    path.write_text(json.dumps(record))
    assert "'label'" in "".join(shell(5, "verify", "made"))


def rows_of(record: dict[str, Any]) -> dict[str, np.ndarray]:
    return decode_rows(record["rows"])[1]


@pytest.mark.parametrize("damage", [{"deflate_base64": "AAAA"}, {"dtype": "nonsense"}, {"shape": [7, 7]}, None])
def test_damaged_rows_are_told(made, shell, damage):
    path = made.with_name("record.json")
    record = json.loads(path.read_text())
    if damage is None:
        record["rows"] = {"count": 3}
    else:
        record["rows"]["outputs"]["label"] |= damage
    path.write_text(json.dumps(record))
    report = shell.report(8, "verify", "made")
    assert "the rows in the record are damaged" in report["targets"][0]["error"]["message"]


def test_without_a_record_there_is_nothing_to_test_it_on(made, here, shell):
    shutil.copyfile(made, here / "alone.onnx")
    _, err = shell(2, "verify", "alone.onnx")
    assert "alone.onnx has no record" in err
    assert "mlconvert verify REFERENCE alone.onnx --samples FILE" in err
    shell(0, "verify", "model.txt", "alone.onnx")


def test_samples_go_with_two_models_and_have_to_be_there(made, shell):
    assert "--samples goes with two models" in shell(2, "verify", "made", "--samples", "rows.csv")[1]
    _, err = shell(2, "verify", "model.txt", "made", "--samples", "row.csv")
    assert "row.csv does not exist. Did you mean 'rows.csv'?" in err
    assert "…" not in err, "a step was started"


@pytest.mark.parametrize("value", ["nan", "inf", "-0.5"])
def test_tolerances_that_are_none(made, shell, value):
    for command in (["verify", "made"], ["verify", "model.txt", "made"]):
        _, err = shell(2, *command, "--atol", value)
        assert "atol" in err
        assert "…" not in err, "a step was started"


def test_another_model_is_told_apart(made, trained, shell):
    _, err = shell(2, "verify", trained("iris_xgboost.ubj"), "made", "--samples", "rows.csv")
    assert "lacks the column 'sepal_length'" in err


def test_models_that_cannot_be_compared(model, trained, shell):
    _, err = shell(2, "verify", "model.txt", trained("tiny_transformer.safetensors"))
    assert "nothing here runs the format 'safetensors'" in err
    _, err = shell(2, "verify", "model.txt", "nope.onnx")
    assert "nope.onnx does not exist" in err


# --- samples ---


def test_samples_are_drawn_alike_from_the_same_seed(model, here, shell):
    out, _ = shell(0, "samples", "model.txt", "-o", "a.npz", "--count", "7", "--seed", "3")
    assert "a.npz: 7 rows, seed 3" in out
    shell(0, "samples", "model.txt", "-o", "b.npz", "--count", "7", "--seed", "3")
    shell(0, "samples", "model.txt", "-o", "c.npz", "--count", "7", "--seed", "4")
    a, b, c = ((here / name).read_bytes() for name in ("a.npz", "b.npz", "c.npz"))
    assert a == b
    assert a != c
    with np.load(here / "a.npz") as rows:
        assert {name: (rows[name].shape, rows[name].dtype.name) for name in rows.files} == {
            "input": ((7, 30), "float64")
        }


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".csv", ".parquet"])
def test_samples_of_every_kind_of_file_are_read_again(made, here, shell, suffix):
    shell(0, "samples", "model.txt", "-o", f"drawn{suffix}", "--count", "5")
    report = shell.report(0, "verify", "model.txt", "made", "--samples", f"drawn{suffix}")
    assert report["targets"][0]["steps"][0]["parity"]["samples"] == 5 + BOUNDARY
    assert [name for name in listed(here) if name.startswith(".")] == []


def test_samples_that_cannot_be_made(model, trained, here, shell):
    (here / "there.npz").write_text("mine")
    assert "there.npz exists" in shell(2, "samples", "model.txt", "-o", "there.npz")[1]
    assert (here / "there.npz").read_text() == "mine"
    assert ".npz" in shell(2, "samples", "model.txt", "-o", "rows.txt")[1]
    assert "'boundry'" in shell(2, "samples", "model.txt", "-o", "x.npz", "--kind", "boundry")[1]
    assert "--samples" in shell(6, "samples", trained("churn.skops"), "-o", "x.npz")[1]
    assert "nothing here runs" in shell(2, "samples", trained("tiny_transformer.safetensors"), "-o", "x.npz")[1]
    assert listed(here) == ["model.txt", "rows.csv", "there.npz"]


# --- inspect ---

INSPECTED = {
    "bikes.skops": ("sklearn", None, None),
    "breast_cancer.txt": ("lightgbm", ["input"], ["label", "probabilities"]),
    "churn.skops": ("sklearn", None, None),
    "diabetes.cbm": ("catboost", ["input"], ["variable"]),
    "digits.pt2": ("exported-program", ["image"], ["output"]),
    "digits_script.pt": ("torchscript", None, None),
    "iris_xgboost.json": ("xgboost", ["input"], ["label", "probabilities"]),
    "iris_xgboost.ubj": ("xgboost", ["input"], ["label", "probabilities"]),
    "loans.ubj": ("xgboost", ["input"], ["label", "probabilities"]),
    "tickets.skops": ("sklearn", ["input"], ["label", "probabilities"]),
    "tiny_transformer.safetensors": ("safetensors", None, None),
    "wine_forest.skops": ("sklearn", ["input"], ["label", "probabilities"]),
}


@pytest.mark.parametrize("name", INSPECTED)
def test_inspect_tells_what_a_model_is(here, trained, shell, name):
    form, inputs, outputs = INSPECTED[name]
    data = shell.json(0, "inspect", trained(name))
    assert data["format"] == form
    assert len(data["sha256"]) == 64
    assert data["record"] is None
    assert data["pickle"] is None
    if inputs is None:
        assert data["signature"] is None
        assert data["why_no_signature"]
    else:
        assert [spec["name"] for spec in data["signature"]["inputs"]] == inputs
        assert [spec["name"] for spec in data["signature"]["outputs"]] == outputs
    assert listed(here) == []


def test_inspect_tells_how_a_model_was_made(made, shell):
    data = shell.json(0, "inspect", "made")
    assert data["record"]["steps"][0]["converter"] == "lightgbm->onnx"
    assert "rows" not in data["record"]
    out, _ = shell(0, "inspect", "made/model.onnx")
    for part in (
        "onnx",
        "input: float64[batch, 30]",
        "label: int64[batch]",
        f"{128 + BOUNDARY} samples, 2 outputs",
        "lightgbm->onnx",
    ):
        assert part in out


def test_inspect_reads_a_pickle_and_does_not_load_it(here, shell):
    import pickle

    from sklearn.linear_model import LinearRegression

    rows = np.random.default_rng(0).normal(size=(20, 3))
    (here / "model.pkl").write_bytes(pickle.dumps(LinearRegression().fit(rows, rows.sum(axis=1))))
    data = shell.json(0, "inspect", "model.pkl")
    assert data["format"] == "sklearn"
    assert data["pickle"]["outermost"].endswith("LinearRegression")
    assert data["pickle"]["dangerous"] == []
    assert data["signature"] is None
    assert "can run code" in data["why_no_signature"]
    trusted = shell.json(0, "inspect", "model.pkl", "--trust")
    assert [spec["name"] for spec in trusted["signature"]["inputs"]] == ["input"]


# --- routes, doctor ---


def test_routes_shows_every_converter(shell, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out, _ = shell(0, "routes")
    for row in registry().converters:
        assert any({row.source, row.target, row.name} <= set(line.split()) for line in out.splitlines()), row.id
    only, _ = shell(0, "routes", "lightgbm")
    assert "catboost" not in only
    assert "lightgbm" in only


def test_a_route_shows_its_steps_and_their_options(shell):
    out, _ = shell(0, "routes", "lightgbm", "float16")
    assert out.index("1. onnx") < out.index("2. float16")
    assert "--set onnx.opset=integer [18]" in out


def test_routes_that_there_are_not(shell):
    assert "Did you mean 'lightgbm'?" in shell(2, "routes", "lightgmb")[1]
    assert "Did you mean 'onnx'?" in shell(2, "routes", "lightgbm", "onxn")[1]
    assert "no route leads from lightgbm to xgboost" in shell(2, "routes", "lightgbm", "xgboost")[1]


def test_doctor_tells_what_is_installed_and_what_is_missing(shell, monkeypatch):
    import importlib.util
    from importlib import metadata

    monkeypatch.setenv("COLUMNS", "200")
    out, _ = shell(0, "doctor")
    line = next(line for line in out.splitlines() if line.startswith("onnx "))
    assert metadata.version("onnx") in line
    assert f"formats: {len(FORMATS)}" in out
    assert "\njava: " in out
    monkeypatch.setenv("MLCONVERT_JAVA", "no-java")
    assert "java: Java, version 8 or newer, is needed: no-java ($MLCONVERT_JAVA)" in shell(0, "doctor")[0]

    real, found = importlib.util.find_spec, metadata.version

    def without(name: str) -> str:
        if name == "catboost":
            raise metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "catboost" else real(name))
    monkeypatch.setattr(metadata, "version", without)
    out, _ = shell(0, "doctor")
    line = next(line for line in out.splitlines() if line.startswith("catboost "))
    assert "pip install 'mlconvert[catboost]'" in line


# --- publish, versions, rollback ---


def test_versions_are_published_listed_and_rolled_back(made, here, shell, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    publish = ["publish", "made", "models", "--to", "triton", "--name", "cancer"]
    out, err = shell(0, *publish, "--set", "max_batch_size=16")
    assert "cancer/1: published in models" in out
    assert err == ""
    assert config.read(here / "models/cancer/config.pbtxt").max_batch_size == 16
    assert "already published, unchanged" in shell(0, *publish)[0]

    shell(0, "convert", "model.txt", "--to", "onnx", "-o", "made", "--set", "opset=17", "--samples", "rows.csv")
    assert "cancer/2: published" in shell(0, *publish)[0]
    out, _ = shell(0, "versions", "models", "cancer")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[0] for row in rows] == ["1", "2"]
    assert ["live" in row for row in rows] == [False, True]
    for version in ("1", "2"):
        shell.report(0, "verify", f"models/cancer/{version}")
        shell.report(0, "verify", "model.txt", f"models/cancer/{version}", "--samples", "rows.csv")

    out, _ = shell(0, "rollback", "models", "cancer")
    assert "version 1 is the newest again (it was 2)" in out
    assert "no older version" in shell(8, "rollback", "models", "cancer")[1]
    assert len(shell(0, "versions", "models", "cancer")[0].splitlines()) == 2
    assert "cancer/3: published" in shell(0, *publish)[0]
    shell(0, *publish, "--version", "7")
    assert "7" in shell(8, *publish, "--version", "7")[1]


def test_an_unverified_artifact_is_published_with_a_warning(model, here, shell):
    shell(0, "convert", "model.txt", "--to", "onnx", "-o", "made", "--no-verify")
    _, err = shell(0, "publish", "made", "models", "--to", "triton", "--name", "m")
    assert "warning: made has no record of a verification" in err
    shutil.copyfile(here / "made" / "model.onnx", here / "bare.onnx")
    _, err = shell(0, "publish", "bare.onnx", "models", "--to", "triton", "--name", "bare")
    assert "warning: bare.onnx has no record of a verification" in err


def test_what_cannot_be_published(made, here, shell, trained):
    def refused(code: int, *arguments: str) -> str:
        err = shell(code, "publish", *arguments)[1]
        assert not (here / "models").exists()
        return err

    good = ("made", "models", "--to", "triton", "--name", "m")
    assert "Did you mean 'triton'?" in refused(2, "made", "models", "--to", "tritn", "--name", "m")
    assert "--name a_b" in refused(8, "made", "models", "--to", "triton", "--name", "a b")
    assert "Did you mean 'max_batch_size'?" in refused(2, *good, "--set", "max_batchsize=3")
    assert "expected integer" in refused(2, *good, "--set", "instances=many")
    assert "no step 'onnx'" in refused(2, *good, "--set", "onnx.opset=17")
    shutil.copyfile(trained("churn.skops"), here / "churn.skops")
    assert "mlconvert convert churn.skops --to onnx" in refused(2, "churn.skops", *good[1:])
    assert "nope does not exist" in refused(2, "nope", *good[1:])
    flip_a_bit(made)
    assert "was changed after its record was written" in refused(8, *good)


def test_models_and_repositories_that_are_not_there(made, here, shell):
    shell(0, "publish", "made", "models", "--to", "triton", "--name", "cancer")
    published = listed(here / "models")
    for command in ("versions", "rollback"):
        assert "Did you mean 'cancer'?" in shell(2, command, "models", "cancre")[1]
        assert "model is not a folder" in shell(2, command, "model", "cancer")[1]
    assert "5" in shell(2, "rollback", "models", "cancer", "--version", "5")[1]
    assert listed(here / "models") == published


# --- the Python API ---


def test_the_api_converts_verifies_and_runs(model, here, capsys):
    report = mlconvert.convert(
        "model.txt", to="onnx", output=here / "m.onnx", samples="rows.csv", options={"onnx.opset": 17, "opset": 17}
    )
    assert report["ok"]
    assert report["targets"][0]["steps"][0]["options"] == {"opset": 17}
    assert mlconvert.verify("m.onnx")["ok"]
    assert mlconvert.verify(model, "m.onnx", samples=here / "rows.csv", rtol=0.1)["ok"]
    (here / "recipe.yaml").write_text(
        "model: model.txt\nsamples: rows.csv\ntargets:\n  a: {steps: [onnx]}\n  b: {steps: [onnx, optimize]}\n"
    )
    report = mlconvert.run("recipe.yaml", targets=["a"], out=here / "made", jobs=2)
    assert [target["name"] for target in report["targets"]] == ["a"]
    assert (here / "made" / "a" / "model.onnx").is_file()
    assert capsys.readouterr() == ("", "")


def test_the_api_raises_what_the_command_ends_with(model, here):
    with pytest.raises(UsageError, match=r"nope\.txt does not exist") as usage:
        mlconvert.convert("nope.txt", to="onnx")
    assert usage.value.report is None
    with pytest.raises(UsageError, match="no step has an option 'opsett'"):
        mlconvert.convert(model, to="onnx", options={"opsett": 3})
    with pytest.raises(ParityFailed, match="'probabilities'") as parity:
        mlconvert.convert(model, to="onnx", output="m.onnx", samples="rows.csv", rtol=0, atol=0)
    assert parity.value.report is not None
    assert parity.value.report["exit_code"] == 5
    assert parity.value.where == "step 'onnx' (lightgbm->onnx)"
    assert not (here / "m.onnx").exists()
    with pytest.raises(UsageError, match="has no record"):
        mlconvert.verify(model)


def test_the_api_tells_apart_what_could_not_be_verified(here, trained):
    with pytest.raises(NotVerified, match="no samples can be made") as caught:
        mlconvert.convert(trained("churn.skops"), to="onnx", output="out")
    assert caught.value.report is not None
    assert not (here / "out").exists()


def test_the_api_finds_a_changed_file(made):
    flip_a_bit(made)
    with pytest.raises(RepositoryInvalid, match="was changed"):
        mlconvert.verify("made")


FACTORY = """
import torch

def build():
    return torch.nn.Linear(3, 2)
"""


def test_a_factory_is_converted_and_verified_with_its_weights(here, shell):
    from safetensors.numpy import save_file

    (here / "nets.py").write_text(FACTORY)
    random = np.random.default_rng(0)
    for name in ("mine", "other"):
        weights = {"weight": random.normal(size=(2, 3)), "bias": random.normal(size=2)}
        save_file({key: value.astype(np.float32) for key, value in weights.items()}, here / f"{name}.safetensors")
    np.savez(here / "rows.npz", input=random.normal(size=(8, 3)).astype(np.float32))
    given = ["--samples", "rows.npz", "--weights", "mine.safetensors"]
    report = shell.report(0, "convert", "nets.py:build", "--to", "onnx", "-o", "net.onnx", *given)
    assert report["source"]["format"] == "torch"
    shell.report(0, "verify", "net.onnx")
    shell.report(0, "verify", "nets.py:build", "net.onnx", *given)
    given[-1] = "other.safetensors"
    assert (
        "'output'" in shell.report(5, "verify", "nets.py:build", "net.onnx", *given)["targets"][0]["error"]["message"]
    )
