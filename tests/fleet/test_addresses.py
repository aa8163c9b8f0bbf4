"""`--on` and `--store` as they are typed, and clusters that do not answer."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import pytest

import mlconvert
from mlconvert import packages
from mlconvert.cli import main
from mlconvert.errors import MissingPackage, UsageError
from mlconvert.fleet import cluster
from mlconvert.fleet.addresses import cluster_address, host_and_port


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ray", "auto"),
        ("ray://head", "ray://head:10001"),
        ("ray://10.0.0.7:20001", "ray://10.0.0.7:20001"),
        ("ray://[::1]:10001/", "ray://[::1]:10001"),
    ],
)
def test_an_address_is_completed(text, address):
    assert cluster_address(text) == address


@pytest.mark.parametrize(
    "text", ["", "rai", "ray:/head", "ray://", "ray://a b", "ray://h:99999", "https://head", "auto"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(UsageError, match="is no cluster") as caught:
        cluster_address(text)
    assert "ray://HOST:10001" in caught.value.hint


def test_host_and_port():
    assert host_and_port("ray://[::1]:10001") == ("::1", 10001)


@pytest.fixture
def recipe(tmp_path, small_onnx, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "r.yaml").write_text(f"model: {small_onnx}\ntargets: {{o: {{steps: [optimize]}}}}\n")
    return "r.yaml"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--on", "rai"], "--on rai is no cluster. Did you mean 'ray'?"),
        (["--store", "here"], "no cluster is named"),
        (["--on", "ray", "--store", "s4://b/p"], "no repository can be at s4://"),
        (["--on", "ray", "--store", "r.yaml"], "is not a folder"),
    ],
)
def test_wrong_words_end_before_anything_is_looked_at(recipe, capsys, argv, told):
    assert main(["run", recipe, *argv]) == UsageError.exit_code
    assert told in capsys.readouterr().err


def test_a_machine_that_takes_no_connection_is_told_at_once(recipe, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        started = time.monotonic()
        assert main(["run", recipe, "--on", f"ray://127.0.0.1:{port}"]) == UsageError.exit_code
    assert time.monotonic() - started < cluster.CONNECT_SECONDS
    assert f"no cluster answers at ray://127.0.0.1:{port}" in capsys.readouterr().err


SILENT = """
import socket, sys, threading
from mlconvert.cli import main
from mlconvert.fleet import cluster
cluster.CONNECT_SECONDS = 2.0
server = socket.create_server(("127.0.0.1", 0))
code = main(["run", "r.yaml", "--on", f"ray://127.0.0.1:{server.getsockname()[1]}"])
sys.exit(code)
"""


def test_one_that_takes_it_and_is_silent_is_not_waited_for_long(recipe):
    """In a process of its own: the thread that asks goes on asking."""
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == UsageError.exit_code, done.stderr
    assert "within 2 seconds" in done.stderr
    assert len(done.stderr.splitlines()) == 2, "Ray has said something"


def test_python_refuses_a_store_without_a_cluster_too(recipe):
    with pytest.raises(UsageError, match="no cluster is named"):
        mlconvert.run(recipe, store="here")


def test_without_ray_the_install_line_is_told(recipe, capsys, monkeypatch):
    monkeypatch.setattr(packages, "installed", lambda package: package.module != "ray")
    assert main(["run", recipe, "--on", "ray"]) == MissingPackage.exit_code
    assert "pip install 'mlconvert[ray]'" in capsys.readouterr().err
