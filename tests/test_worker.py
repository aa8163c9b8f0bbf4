"""The child's side of a job: what it refuses, what it makes of exceptions; that a failed job fails again by hand."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert import worker
from mlconvert.artifact import Artifact
from mlconvert.cli import main
from mlconvert.converter import Converter
from mlconvert.errors import ConversionFailed, MlconvertError, OutOfResources, UsageError
from mlconvert.registry import Registry, registry

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def again(told: str) -> list[str]:
    """The command that an error gives for running its job by hand."""
    (line,) = [line.strip() for line in told.splitlines() if line.strip().startswith("again: ")]
    return shlex.split(line.removeprefix("again: "))


def failing(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> tuple[dict[str, Any], list[str]]:
    """The error of a target's report, and the command that it gives."""
    assert main([*arguments, "--json"]) == code
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    return target["error"], again(target["error"]["where"])


def by_hand(command: list[str], code: int) -> tuple[dict[str, Any], str]:
    """Run it as a person would, from anywhere; the error that it left and what it printed."""
    done = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return json.loads(Path(command[-1]).with_name("result.json").read_text()), done.stderr


# --- failed jobs, by hand ---


def test_a_failed_conversion_fails_again_by_hand(here, capsys, trained):
    text = trained("breast_cancer.txt").read_text().replace("objective=binary", "objective=of_their_own")
    (here / "model.txt").write_text(text)
    error, command = failing(capsys, 4, "convert", "model.txt", "--to", "onnx", "--no-verify", "-o", "out")
    same, log = by_hand(command, 4)
    assert same["message"] == error["message"]
    assert "Traceback" in log
    assert (Path(command[-1]).parent / "log.txt").read_text() == log


def test_samples_that_do_not_fit_fail_again_by_hand(here, capsys, trained):
    np.savez(here / "rows.npz", input=np.zeros((3, 7)))
    error, command = failing(
        capsys, 2, "convert", str(trained("breast_cancer.txt")), "--to", "onnx", "--samples", "rows.npz", "-o", "out"
    )
    assert "7" in error["message"]
    same, _ = by_hand(command, 2)
    assert (same["error"], same["message"]) == (error["error"], error["message"])


def test_a_step_in_the_middle_fails_again_by_hand(here, capsys, monkeypatch):
    """What the step started from is in the cache, though the run and its scratch folder are long gone."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    registry.cache_clear()
    try:
        (here / "model.toy").write_text("TOY 1\n1 2 3\n")
        arguments = ["convert", "model.toy", "--to", "toybin", "--via", "copy", "--via", "raises", "-o", "out"]
        error, command = failing(capsys, 4, *arguments)
    finally:
        registry.cache_clear()
    assert error["where"].startswith("step 'raises'")
    same, log = by_hand(command, 4)
    assert same["message"] == error["message"] == "ValueError: weights are negative"
    assert "and a second line" in log


NETWORK = """
import torch
from helper import broken

class Broken(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return broken(x)

def build():
    return Broken()
"""


def test_the_user_s_own_factory_fails_again_by_hand(here, capsys):
    """It is found from anywhere: the request says where the user stood."""
    (here / "network.py").write_text(NETWORK)
    (here / "helper.py").write_text("def broken(x):\n    raise RuntimeError('the weights are lost')\n")
    np.savez(here / "rows.npz", x=np.zeros((4, 3), np.float32))
    arguments = ["convert", "network:build", "--to", "onnx", "--samples", "rows.npz", "-o", "out", "--no-verify"]
    error, command = failing(capsys, 4, *arguments)
    assert "the weights are lost" in error["message"]
    same, _ = by_hand(command, 4)
    assert same["message"] == error["message"]


# --- what a worker makes of things ---


def run_worker(folder: Path, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    path = folder / "request.json"
    path.write_text(json.dumps(request))
    command = [sys.executable, "-m", "mlconvert.worker", str(path)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, json.loads((folder / "result.json").read_text())


def test_a_job_by_hand_leaves_its_result_and_its_files(here, small_onnx):
    request = {
        "job": "convert",
        "converter": "onnx:optimize",
        "options": {},
        "source": Artifact("onnx", str(small_onnx), (small_onnx,)).as_json(),
        "samples": None,
        "filename": "model.onnx",
    }
    status, told = run_worker(here, request)
    assert status == 0
    artifact = told["result"]["artifact"]
    assert (artifact["format"], artifact["location"], artifact["files"]) == ("onnx", "model.onnx", ["model.onnx"])
    assert [spec["name"] for spec in artifact["signature"]["inputs"]] == ["x"]
    assert (here / "out" / "model.onnx").is_file()
    assert told["peak_rss_bytes"] > 10 << 20


def test_an_unknown_job_or_converter_is_told(here, small_onnx):
    source = Artifact("onnx", str(small_onnx), (small_onnx,)).as_json()
    request = {"job": "convert", "converter": "onnx:optimise", "options": {}, "source": source}
    status, told = run_worker(here, request)
    assert (status, told["error"]) == (2, "UsageError")
    assert "Did you mean 'onnx:optimize'?" in told["message"]
    status, told = run_worker(here, {"job": "fly"})
    assert (status, told["error"]) == (1, "MlconvertError")


CONVERTERS = """
from pathlib import Path
from mlconvert.artifact import Artifact

def liar(source, target):
    target.write_bytes(source.path.read_bytes())
    return Artifact("lightgbm", str(target), (target,))

def forgetful(source, target):
    target.write_bytes(source.path.read_bytes())
    return Artifact("onnx", str(target), (target, target.with_name("model.onnx.data")))

def empty(source, target):
    return Artifact("onnx", str(target), ())

def renames(source, target):
    target.write_bytes(source.path.read_bytes())
    return Artifact("onnx", str(target), (target,), renamed={"y": "answer", "h": "hidden"})
"""


@pytest.fixture
def convert(tmp_path, monkeypatch, small_onnx):
    """Run one of the converters above as the worker does."""
    (tmp_path / "odd_converters.py").write_text(CONVERTERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "out").mkdir()

    def run(name: str, renamed: dict[str, str] | None = None) -> dict[str, Any]:
        row = Converter("onnx", "onnx", name, "odd_converters", (), title=name, function=name)
        tables = registry()
        odd = Registry(tables.formats, (*tables.converters, row), tables.runners)
        monkeypatch.setattr(worker, "registry", lambda: odd)
        source = Artifact("onnx", str(small_onnx), (small_onnx,), renamed=renamed or {})
        request = {"source": source.as_json(), "converter": f"onnx:{name}", "options": {}, "filename": "model.onnx"}
        return worker.JOBS["convert"](request, tmp_path / "out")

    return run


def test_a_converter_that_does_not_do_what_it_says_is_refused(convert):
    with pytest.raises(ConversionFailed, match="made lightgbm, which is not what it says it makes"):
        convert("liar")
    with pytest.raises(ConversionFailed, match=r"left no file model\.onnx\.data"):
        convert("forgetful")
    with pytest.raises(ConversionFailed, match="left no file at all"):
        convert("empty")


def test_names_of_several_renaming_steps_lead_from_the_source_to_the_last(convert):
    assert convert("renames")["artifact"]["renamed"] == {"y": "answer", "h": "hidden"}
    renamed = convert("renames", {"logits": "y", "x": "input"})["artifact"]["renamed"]
    assert renamed == {"logits": "answer", "x": "input", "h": "hidden"}


@pytest.mark.parametrize(
    ("error", "job", "kind", "message"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x/m.onnx"), "verify", OutOfResources, "left for /x/m.onnx"),
        (MemoryError(), "convert", OutOfResources, "out of memory"),
        (ValueError("bad\nworse"), "convert", ConversionFailed, "ValueError: bad"),
        (ValueError("bad"), "verify", MlconvertError, "ValueError: bad"),
        (RuntimeError(), "inspect", ConversionFailed, "RuntimeError: "),
        (UsageError("no such thing"), "convert", UsageError, "no such thing"),
    ],
    ids=["full disk", "memory", "library", "ours", "without words", "known"],
)
def test_any_exception_becomes_an_error_of_ours(error, job, kind, message):
    told = worker._error(error, job)
    assert type(told) is kind
    assert message in told.message
    assert "\n" not in told.message
