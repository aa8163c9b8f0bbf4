"""The processes that ask NVIDIA's libraries, and which TensorRT is found."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import pytest

from mlconvert.hardware import cuda, probe, tensorrt_version
from mlconvert.hardware.fingerprint import as_json, from_json, take
from mlconvert.hardware.machine import NO_REASON
from mlconvert.hardware.readings import Library, Reading, Unreadable, library_as_json, library_from_json

SAID = Library(Reading({"cuda.version": "13.1"}), (Reading({"name": "NVIDIA L4"}, {"uuid": "it hides"}),))


@pytest.fixture
def asking(monkeypatch):
    """A probe whose library is there, and whose child runs this code in place of its own."""
    real = subprocess.run

    def instead(code):
        def run(command, **kwargs):
            assert command[:4] == [sys.executable, "-P", "-m", "mlconvert.hardware.probe"]
            return real([sys.executable, "-S", "-c", code], **kwargs)

        monkeypatch.setattr(subprocess, "run", run)
        monkeypatch.setitem(probe.PROBES, "cuda", (lambda: None, cuda.read))
        return probe.ask("cuda")

    return instead


def test_the_answer_is_the_last_line(asking):
    said = json.dumps(library_as_json(SAID))
    assert asking(f"print('a word of a library'); print({said!r})") == SAID


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", "ended by signal 9"),
        ("raise SystemExit('the driver is broken')", "ended with 1: the driver is broken"),
        ("pass", "ended with 0: no word"),
        ("print('{}')", "ended with 0: no word"),
        ("print('[1]')", "ended with 0: no word"),
    ],
)
def test_a_child_that_dies_is_a_reason(asking, code, said):
    assert said in asking(code).failed


def test_a_driver_that_hangs_is_a_reason(asking, monkeypatch):
    monkeypatch.setattr(probe, "SECONDS", 0.2)
    started = time.monotonic()
    assert asking("import time; time.sleep(60)").failed == "no answer in 0 seconds: the driver hangs"
    assert time.monotonic() - started < 30


def test_no_process_is_a_reason(monkeypatch):
    monkeypatch.setitem(probe.PROBES, "cuda", (lambda: None, cuda.read))
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    assert probe.ask("cuda").failed.startswith("no process could be started to ask")


def test_where_there_is_no_library_no_process_is_started(monkeypatch):
    monkeypatch.setitem(cuda.LIBRARIES, "Linux", "libno-such-cuda.so")
    monkeypatch.setattr(subprocess, "run", None)
    assert probe.ask("cuda").failed == "libno-such-cuda.so is not here (no NVIDIA driver)"


def test_a_library_that_cannot_be_loaded_is_told_apart(monkeypatch, tmp_path):
    broken = tmp_path / "libcuda.so.1"
    broken.write_text("no library")
    monkeypatch.setitem(cuda.LIBRARIES, "Linux", str(broken))
    with pytest.raises(Unreadable, match=r"cannot be loaded: .*(invalid|short)"):
        cuda.find()


def test_other_systems_have_no_cuda(monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    told = {name: library.failed for name, library in probe.ask_all().items()}
    assert told == {"cuda": "CUDA does not run on Darwin", "nvml": "NVML does not run on Darwin",
                    "tensorrt": "TensorRT does not run on Darwin"}  # fmt: skip


def test_the_child_answers_for_a_library_that_went_away(capsys, monkeypatch):
    monkeypatch.setitem(cuda.LIBRARIES, "Linux", "libno-such-cuda.so")
    assert probe.main(["cuda"]) == 0
    answer = library_from_json(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert answer.failed == "libno-such-cuda.so is not here (no NVIDIA driver)"


# --- TensorRT ---


@pytest.fixture
def no_library(monkeypatch):
    monkeypatch.setitem(tensorrt_version.LIBRARIES, "Linux", "libno-such-nvinfer.so.{}")


def module(monkeypatch, text, tmp_path):
    (tmp_path / "tensorrt.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)


def test_the_python_package_tells(monkeypatch, tmp_path, no_library):
    module(monkeypatch, "__version__ = '11.4.0.106'", tmp_path)
    assert tensorrt_version.read().system == Reading({"version": "11.4.0.106"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise OSError('libnvinfer.so.11: no such file')", "cannot be imported: libnvinfer.so.11"),
        ("__version__ = 'dev'", "told as 'dev'"),
        ("", "has no attribute '__version__'"),
    ],
)
def test_a_package_that_does_not_tell(monkeypatch, tmp_path, no_library, text, said):
    module(monkeypatch, text, tmp_path)
    missing = tensorrt_version.read().system.missing["version"]
    assert said in missing
    assert missing.endswith("; no libno-such-nvinfer.so.*")


def test_the_library_tells_where_there_is_no_package(monkeypatch):
    """As in a serving container. The newest major that is there; its four numbers come from four functions."""
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    asked = []

    def load(name):
        asked.append(name)
        if name != "libnvinfer.so.10":
            raise OSError(name)
        numbers = zip(tensorrt_version.PARTS, (10, 16, 0, 72), strict=True)
        return SimpleNamespace(**{f"getInferLib{part}Version": partial(int, number) for part, number in numbers})

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert tensorrt_version.read().system.values == {"version": "10.16.0.72"}
    assert asked == ["libnvinfer.so.11", "libnvinfer.so.10"]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert "does not tell its four numbers" in tensorrt_version.read().system.missing["version"]


def test_a_fingerprint_of_this_machine():
    taken = take()
    assert from_json(as_json(taken), where="x") == taken
    assert NO_REASON not in taken.missing.values()
