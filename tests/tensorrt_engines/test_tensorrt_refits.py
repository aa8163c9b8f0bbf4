"""Weights put into engines that were built without them, or with others; a double stands in for TensorRT."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.converters import onnx_float16, onnx_to_tensorrt
from mlconvert.errors import ConversionFailed, HardwareMismatch, RepositoryInvalid, UsageError
from mlconvert.formats import source_artifact
from mlconvert.hardware import fingerprint
from mlconvert.hardware.fingerprint import Cuda, Driver, Fingerprint, Gpu, Host, Mig, TensorRT
from mlconvert.hardware.plans import refitting
from mlconvert.onnx_model.files import onnx_artifact, write_onnx
from mlconvert.operations import check
from mlconvert.readers import hardware_builds
from mlconvert.runners import tensorrt as runner

TEXT = "g (float[batch, 4] x) => (float[batch, 4] y) { y = MatMul(x, w) }"
ROWS = {"x": np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)}


MACHINE = Fingerprint(
    gpus=(Gpu(name="NVIDIA H100 80GB HBM3", compute_capability="9.0", multiprocessors=132, mig=Mig(enabled=False)),),
    driver=Driver("580.82.07"),
    cuda=Cuda("13.0"),
    tensorrt=TensorRT("11.4.0.106"),
    host=Host("linux", "x86_64"),
    packages={},
)


@pytest.fixture(autouse=True)
def _this_machine(monkeypatch):
    """A machine whose GPU the double has: the record of an engine is compared with it."""
    monkeypatch.setattr(fingerprint, "take", lambda: MACHINE)
    monkeypatch.setattr(hardware_builds, "take", lambda: MACHINE)


@pytest.fixture
def source(model) -> Artifact:
    return replace(model(TEXT, w=np.eye(4, dtype=np.float32) * 2), trusted=True)


def engine(source: Artifact, folder: Path, **options) -> Path:
    """An engine with its record beside it, as a run leaves them."""
    folder.mkdir(exist_ok=True)
    made = onnx_to_tensorrt.convert(source, folder / "model.plan", samples=ROWS, **options)
    facts = dict(made.facts)
    files = records.described_files(made, {path.name: file_sha256(path) for path in made.files})
    record = {
        "schema": records.SCHEMA, "format": "tensorrt", "path": "model.plan", "sha256": records.total_sha256(files),
        "files": files, "signature": made.signature.as_json(), "fingerprint": facts.pop("fingerprint"), "facts": facts,
    }  # fmt: skip
    records.write_json(folder / "record.json", record)
    return made.path


def refitted(source: Artifact, plan: Path, folder: Path, **options) -> Artifact:
    folder.mkdir(exist_ok=True)
    return onnx_to_tensorrt.convert(source, folder / "model.plan", samples=ROWS, weights_into=str(plan), **options)


def with_weights(source: Artifact, folder: Path, **weights: np.ndarray) -> Artifact:
    """The same model with other weights."""
    proto = onnx.load(source.path)
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
    path = folder / "other.onnx"
    return replace(onnx_artifact(path, write_onnx(proto, path)), trusted=True)


def test_a_stripped_engine_gets_its_weights(double, source, tmp_path) -> None:
    plan = engine(source, tmp_path / "stripped", stripped=True)
    assert np.eye(4, dtype=np.float32).tobytes() not in plan.read_bytes()
    made = refitted(source, plan, tmp_path / "whole")
    np.testing.assert_array_equal(runner.load(made).run(ROWS)["y"], ROWS["x"] * 2)
    assert made.facts["hardware"]["flags"] == []  # neither stripped nor to be refitted again
    assert made.facts["refitted_from"] == file_sha256(plan)
    assert made.facts["profiles"] == [{"x": {"min": [1, 4], "opt": [6, 4], "max": [6, 4]}}]
    assert made.facts["fingerprint"]["schema"] == "mlconvert.fingerprint/1"


def test_another_model_s_weights_go_into_an_engine_built_for_that(double, source, tmp_path) -> None:
    plan = engine(source, tmp_path / "built", refit="all")
    other = with_weights(source, tmp_path, w=np.eye(4, dtype=np.float32) * 3)
    made = refitted(other, plan, tmp_path / "whole")
    np.testing.assert_array_equal(runner.load(made).run(ROWS)["y"], ROWS["x"] * 3)
    assert made.facts["hardware"]["flags"] == ["REFIT"]
    assert made.facts["onnx_sha256"] == file_sha256(other.path)
    for stripped in (engine(source, tmp_path / "bare", refit="all", stripped=True),):
        assert runner.load(refitted(other, stripped, tmp_path / "again")).run(ROWS)["y"].tolist() == (
            (ROWS["x"] * 3).tolist()
        )


def test_only_the_same_weights_go_into_one_built_for_those(double, source, tmp_path) -> None:
    plan = engine(source, tmp_path / "stripped", stripped=True)
    other = with_weights(source, tmp_path, w=np.eye(4, dtype=np.float32) * 3)
    with pytest.raises(UsageError, match="just the weights that it was built with") as caught:
        refitted(other, plan, tmp_path / "whole")
    assert "refit=all" in caught.value.hint
    assert not (tmp_path / "whole" / "model.plan").exists()


@pytest.mark.parametrize(
    ("text", "weights", "message"),
    [
        (TEXT.replace("w)", "v)"), {"v": np.eye(4)}, "lacks the weights w, which the model does not have"),
        (TEXT, {"w": np.ones((4, 1))}, "do not fit the engine: Assertion failed: the weights w"),
    ],
)
def test_weights_that_do_not_fit_are_named(double, model, source, tmp_path, text, weights, message) -> None:
    plan = engine(source, tmp_path / "built", refit="all")
    other = replace(model(text, **{name: value.astype(np.float32) for name, value in weights.items()}), trusted=True)
    with pytest.raises(ConversionFailed, match=message):
        refitted(other, plan, tmp_path / "whole")


def test_what_takes_no_weights_is_refused_before_it_is_loaded(double, source, tmp_path, monkeypatch) -> None:
    plan = engine(source, tmp_path / "built")
    with pytest.raises(UsageError, match="was not built to take weights"):
        refitted(source, plan, tmp_path / "whole")
    stripped = engine(source, tmp_path / "stripped", stripped=True)
    with pytest.raises(UsageError, match="native code") as caught:
        refitted(replace(source, trusted=False), stripped, tmp_path / "whole")
    assert caught.value.hint == "add --trust if you made the file yourself"
    with pytest.raises(UsageError, match="optimization_level, stripped cannot be asked for any more"):
        refitted(source, stripped, tmp_path / "whole", stripped=True, optimization_level=5)
    alone = tmp_path / "alone" / "model.plan"
    alone.parent.mkdir()
    shutil.copyfile(stripped, alone)
    with pytest.raises(UsageError, match="no record of an engine"):
        refitted(source, alone, tmp_path / "whole")
    stripped.write_bytes(stripped.read_bytes() + b"x")
    with pytest.raises(RepositoryInvalid, match="was changed after its record"):
        refitted(source, stripped, tmp_path / "whole")


def test_another_machine_s_engine_is_refused_before_it_is_loaded(double, source, tmp_path) -> None:
    plan = engine(source, tmp_path / "stripped", stripped=True)
    path = plan.with_name("record.json")
    record = json.loads(path.read_text())
    record["fingerprint"]["gpus"][0]["compute_capability"] = "8.0"
    path.write_text(json.dumps(record))
    with pytest.raises(HardwareMismatch, match=r"built for 8\.0, here 9\.0"):
        refitted(source, plan, tmp_path / "whole")


def test_another_precision_is_another_engine(double, source, tmp_path) -> None:
    plan = engine(source, tmp_path / "built", refit="all")
    half = replace(onnx_float16.convert(source, tmp_path / "half.onnx"), trusted=True)
    with pytest.raises(UsageError, match="the engine computes in float32, and the model in float16"):
        refitted(half, plan, tmp_path / "whole")


def test_plug_in_libraries_come_along(double, model, tmp_path) -> None:
    library = tmp_path / "libSharpen.so"
    library.write_bytes(b"\x7fELF and so on")
    text = "g (float[batch, 4] x) => (float[batch, 4] y) { a = own.Sharpen(x)\n y = MatMul(a, w) }"
    source = replace(model(text, opsets='"" : 18, "own" : 1', w=np.eye(4, dtype=np.float32)), trusted=True)
    plan = engine(source, tmp_path / "stripped", stripped=True, plugins=(str(library),))
    made = refitted(source, plan, tmp_path / "whole")
    assert [path.name for path in made.files] == ["model.plan", "model.plan.libSharpen.so"]
    assert made.facts["hardware"]["plugins"] == {"libSharpen.so": file_sha256(library)}


def test_check_names_the_command(double, source, tmp_path, monkeypatch) -> None:
    plan = engine(source, tmp_path / "stripped", stripped=True)
    monkeypatch.setattr(check, "take", lambda: MACHINE)
    report = check.check_location(str(plan))
    (row,) = report["artifacts"]
    found = [each for each in row["judgements"][0]["findings"] if each["rule"] == "weights"]
    assert [(each["level"], each["fix"]) for each in found] == [("refuse", refitting())]


# --- through the command line ---


def test_a_run_puts_weights_in_and_verifies_them(double, small_onnx, tmp_path) -> None:
    """Without a GPU the record of the stripped engine fits no machine: so far, and no further, it goes here."""

    def mlconvert(*words: str) -> subprocess.CompletedProcess[str]:
        around = {**os.environ, "MLCONVERT_CACHE": str(tmp_path / "cache")}
        command = [sys.executable, "-m", "mlconvert", *words]
        return subprocess.run(command, cwd=tmp_path, env=around, capture_output=True, text=True, check=False)

    words = ("convert", str(small_onnx), "--via", "float16", "--to", "tensorrt")
    done = mlconvert(*words, "--set", "tensorrt.stripped=yes", "-o", "stripped")
    assert (done.returncode, "weights_into=PLAN" in done.stdout) == (6, True), done.stderr
    done = mlconvert(*words, "--set", "tensorrt.stripped=yes", "-o", "stripped", "--no-verify")
    assert done.returncode == 0, done.stderr
    assert source_artifact(str(tmp_path / "stripped" / "model.plan")).format == "tensorrt"
    # What the step before it makes of a trusted model is trusted: it is the hardware that does not fit.
    plan = f"tensorrt.weights_into={tmp_path}/stripped/model.plan"
    done = mlconvert(*words, "--set", plan, "-o", "whole", "--trust")
    assert done.returncode == 7, done.stderr
    assert not (tmp_path / "whole").exists()
