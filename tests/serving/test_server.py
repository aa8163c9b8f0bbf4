"""A server of our own: it starts, tells why it does not, and leaves nothing behind, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlconvert.errors import MissingPackage, RepositoryInvalid, UsageError
from mlconvert.serving import server as servers
from mlconvert.serving.client import connect
from mlconvert.serving.home import ServerHome, find_server
from mlconvert.serving.loading import load_model
from mlconvert.serving.server import error_lines, free_ports, started

CONFIG = """
backend: "python" max_batch_size: 0
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
instance_group { count: 1 kind: KIND_CPU }
"""
MODEL = """
class TritonPythonModel:
    def execute(self, requests):
        return []
"""


def write(root: Path, name: str = "m", model: str = MODEL) -> Path:
    (root / name / "1").mkdir(parents=True)
    (root / name / "config.pbtxt").write_text(f'name: "{name}"{CONFIG}')
    (root / name / "1/model.py").write_text(model)
    return root


def alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def gone(check, seconds=10.0) -> bool:
    deadline = time.monotonic() + seconds
    while check() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not check()


SHARED = Path("/dev/shm")
BEFORE: dict[Path, set[Path]] = {}  # shared memory of the servers that other tests of this process share


def left_behind(pid: int, scratch: Path) -> list[Path]:
    memory = set(SHARED.glob(f"mlconvert_{pid}_*")) - BEFORE[scratch]
    return [*scratch.glob("mlconvert-server-*"), *memory]


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    BEFORE[folder] = set(SHARED.glob(f"mlconvert_{os.getpid()}_*"))
    return folder


@pytest.mark.parametrize("mode", ["none", "poll", "explicit"])
def test_a_server_in_each_mode(tmp_path, scratch, mode):
    root = write(tmp_path / "repository")
    with started(find_server(), root, mode=mode) as server:
        client = connect(f"triton://{server.http}")
        assert client.ready("m") == (mode != "explicit")
        assert " strict_model_config              | 1 " in server.log_text()  # auto-complete is off
        client.close()
        pid = server.pid
        assert left_behind(os.getpid(), scratch)
    assert not alive(pid)
    assert left_behind(os.getpid(), scratch) == []


def test_what_fails_inside_leaves_nothing(tmp_path, scratch):
    with pytest.raises(ZeroDivisionError), started(find_server(), tmp_path) as server:
        raise ZeroDivisionError
    assert not alive(server.pid)
    assert left_behind(os.getpid(), scratch) == []


def test_a_server_that_ends_at_its_start_tells_why(tmp_path, scratch):
    root = write(tmp_path / "repository")
    (root / "m/config.pbtxt").write_text('name: "m" backend: "python" max_batch_size: x')
    with (
        pytest.raises(RepositoryInvalid, match="the server ended by itself") as caught,
        started(find_server(), root, mode="none"),
    ):
        raise AssertionError
    assert "Poll failed for model directory 'm': failed to read text proto" in caught.value.where
    with (
        pytest.raises(RepositoryInvalid, match=r"ended by itself \(exit status 1\)") as caught,
        started(find_server(), tmp_path / "nowhere"),
    ):
        raise AssertionError
    assert "nowhere" in caught.value.where
    assert left_behind(os.getpid(), scratch) == []


def test_arguments_that_it_does_not_know(tmp_path):
    with (
        pytest.raises(UsageError, match="does not take its arguments") as caught,
        started(find_server(), tmp_path, arguments=("--no-such-option",)),
    ):
        raise AssertionError
    assert "no-such-option" in caught.value.where


def fake_home(folder: Path, script: str) -> ServerHome:
    """The installed server with another binary."""
    real = find_server()
    binary = folder / "tritonserver"
    binary.write_text(f"#!{sys.executable}\n{script}")
    binary.chmod(0o755)
    return ServerHome(folder, binary, real.backends, real.libraries, real.stubs, real.numpy, real.version)


def test_a_binary_that_this_machine_cannot_run(tmp_path):
    home = fake_home(tmp_path, "import sys; sys.exit('error while loading shared libraries: libmissing.so.1')")
    with (
        pytest.raises(MissingPackage, match="does not run on this machine") as caught,
        started(home, tmp_path),
    ):
        raise AssertionError
    assert "libmissing.so.1" in caught.value.where


def test_a_server_that_never_gets_live(tmp_path, scratch):
    home = fake_home(tmp_path, "import time; print('loading', flush=True); time.sleep(60)")
    with (
        pytest.raises(RepositoryInvalid, match=r"is not live after 0\.5 seconds") as caught,
        started(home, tmp_path, wait_seconds=0.5),
    ):
        raise AssertionError
    assert caught.value.where == "loading"
    assert left_behind(os.getpid(), scratch) == []


def test_a_server_that_does_not_end_is_killed(tmp_path, monkeypatch):
    script = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
port = next(int(word.partition("=")[2]) for word in sys.argv if word.startswith("--http-port"))
class Live(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", port), Live).serve_forever()
"""
    monkeypatch.setattr(servers, "STOP_SECONDS", 0.2)
    with started(fake_home(tmp_path, script), tmp_path) as server:
        assert alive(server.pid)
    assert not alive(server.pid)


def test_a_port_that_another_process_takes(tmp_path, monkeypatch):
    free, chosen = free_ports, []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        def ports(count):
            chosen.append([taken.getsockname()[1], *free(1)] if len(chosen) < 1 else free(count))
            return chosen[-1]

        monkeypatch.setattr(servers, "free_ports", ports)
        monkeypatch.setattr(servers, "_answers", answers_once_it_has_the_port(taken.getsockname()[1]))
        with started(find_server(), tmp_path) as server:
            assert server.http == f"127.0.0.1:{chosen[1][0]}"
    assert len(chosen) == 2


def answers_once_it_has_the_port(taken: int):
    real = servers._answers
    return lambda address: not address.endswith(f":{taken}") and real(address)


SERVE = """
import sys, time
from pathlib import Path
from mlconvert.serving.client import connect
from mlconvert.serving.home import find_server
from mlconvert.serving.server import started
with started(find_server(), Path(sys.argv[1])) as server:
    connect("triton://" + server.http).load("m")
    print(server.pid, flush=True)
    time.sleep(120)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_it_ends_with_whoever_started_it(tmp_path, scratch, number):
    root = write(tmp_path / "repository")
    parent = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(root)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with parent:
        pid = int(parent.stdout.readline())
        parent.send_signal(number)
        parent.wait(20)
    assert gone(lambda: alive(pid))
    assert gone(lambda: list(Path("/dev/shm").glob(f"mlconvert_{parent.pid}_*")))
    if number == signal.SIGINT:  # what is killed at once cannot remove its scratch folder
        assert left_behind(parent.pid, scratch) == []


def test_a_model_that_takes_the_server_down(tmp_path):
    root = write(tmp_path / "repository")
    with started(find_server(), root) as server:
        client = connect(f"triton://{server.http}")
        load_model(server, client, "m")
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(RepositoryInvalid, match=r"is down"):
            client.infer("m", {})
        assert not client.live()
        client.close()


def test_the_reason_that_only_the_log_has(triton_server):
    (triton_server.root / "plain").mkdir()
    try:
        with pytest.raises(RepositoryInvalid, match=r"^failed to open text file for read .*config\.pbtxt"):
            load_model(triton_server.server, triton_server.clients[0], "plain")
    finally:
        (triton_server.root / "plain").rmdir()


def test_error_lines_without_time_and_place():
    text = (
        'I1123 07:17:31.147171 6850 main.cc:1] "fine"\n'
        'E1123 07:17:31.147171 6850 main.cc:257] "failed to start HTTP service"\n'
        "error: creating server: Internal - failed\n"
    )
    assert error_lines(text) == ["failed to start HTTP service", "creating server: Internal - failed"]
