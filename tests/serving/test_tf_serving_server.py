"""Finding and starting a TensorFlow Serving: what is named and is none, what does not start, what does not answer."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlconvert import packages
from mlconvert.errors import MissingPackage, RepositoryInvalid, UsageError
from mlconvert.serving.tf_serving.home import ENVIRONMENT, ModelServer, find_model_server
from mlconvert.serving.tf_serving.server import started

DOUBLE = ModelServer((sys.executable, "-m", "mlconvert.serving.tf_serving.double"), None)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_where_it_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "on-path"))
    assert find_model_server().title == "double"
    on_path = program(tmp_path / "on-path/tensorflow_model_server", "true")
    assert find_model_server().program == on_path
    named = program(tmp_path / "named/usr/bin/tensorflow_model_server", "true")
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "named"))
    assert find_model_server().command == (str(named),)
    given = program(tmp_path / "given", "true")
    assert find_model_server(given).title == "tensorflow_model_server"
    given.chmod(0o644)
    with pytest.raises(MissingPackage, match=r"given, named by --server, is no tensorflow_model_server"):
        find_model_server(given)


def test_the_double_needs_tensorflow(monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(packages, "installed", lambda package: package is not packages.TENSORFLOW)
    with pytest.raises(MissingPackage, match="tensorflow"):
        find_model_server()


@pytest.mark.parametrize(
    ("flags", "error", "words"),
    [
        (["--nope"], UsageError, "the server does not take its flags: unknown argument: --nope"),
        (["--ssl_config_file=x"], UsageError, "has no --ssl_config_file"),
        (["--model_config_file=/no/such"], RepositoryInvalid, "the server does not start: NOT_FOUND: /no/such"),
    ],
)
def test_it_does_not_start(flags, error, words):
    with pytest.raises(error, match=words), started(DOUBLE, flags):
        pass


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("sleep 60", RepositoryInvalid, "does not answer after 1 seconds"),
        ("echo no such library; exit 127", MissingPackage, r"does not run on this machine \(exit status 127\)"),
        ("echo 'now: I main] up'; kill -9 $$", RepositoryInvalid, r"ended by itself \(exit status -9\)"),
    ],
)
def test_a_program_that_is_no_server(tmp_path, text, error, words):
    path = program(tmp_path / "server", text)
    begun = time.monotonic()
    with pytest.raises(error, match=words), started(find_model_server(path), [], wait_seconds=1):
        pass
    assert time.monotonic() - begun < 20


START = """
import sys, time
from mlconvert.serving import processes
from pathlib import Path
process = processes.start(["/bin/sh", "-c", "sleep 300 & wait"], Path(sys.argv[1]))
print(process.pid, flush=True)
time.sleep(300)
"""


def test_what_is_started_ends_with_whoever_started_it(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", START, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
