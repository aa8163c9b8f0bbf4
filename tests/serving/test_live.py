"""`publish --load`, `rollback --load` and `labels --load` against the real server, by command."""

from __future__ import annotations

import errno
import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mlconvert.cli.app import run
from mlconvert.repositories.triton.lint import lint
from mlconvert.serving.home import find_server
from mlconvert.serving.server import started


@pytest.fixture
def command(live, capsys):
    """Run `mlconvert VERB REPOSITORY m …` as a user would; the exit code, and all that was said."""

    def call(*words: str | Path, at: str | None = None, repository: Path | None = None) -> tuple[int, str]:
        verb, *rest = map(str, words)
        place = str(repository or live.root)
        if verb == "publish":
            argv = ["publish", rest[0], place, "--to", "triton", "--name", "m", *rest[1:]]
        else:
            argv = [verb, place, "m", *rest]
        capsys.readouterr()
        code = run([*argv, "--load", at or live.http] if verb != "versions" else [*argv, "--at", at or live.http])
        out, err = capsys.readouterr()
        return code, out + err

    return call


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def aside(root: Path) -> list[str]:
    """The versions that were put aside."""
    folder = root.parent / f".mlconvert-{root.name}"
    return sorted(path.name.partition("-")[0] for path in folder.glob("rolled-back/m/*"))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_versions_go_live_and_back(live, command, numbered, protocol):
    at = getattr(live, protocol)
    code, said = command("publish", numbered(1), at=at)
    assert code == 0, said
    assert f"version 1 is in service at {at}, and answers 5 rows as it should" in said
    assert live.answering() == {1}
    assert command("publish", numbered(2), at=at)[0] == 0
    assert live.answering() == {2}
    code, said = command("rollback", at=at)
    assert code == 0
    assert "version 1 is the newest again (it was 2)" in said
    assert f"version 1 is in service at {at}, and answers 5 rows" in said
    assert live.answering() == {1}
    code, said = command("publish", numbered(3), "--keep", "1", at=at)
    assert code == 0
    assert live.answering() == {3}
    assert tree(live.root) >= {"m/1/model.onnx", "m/3/model.onnx"}  # 1 was in service until now
    code, said = command("versions", at=at)
    assert code == 0
    assert re.search(r"^1 .*UNLOADING|^1 .*UNAVAILABLE", said, re.MULTILINE), said
    assert re.search(r"^3 +live .*READY", said, re.MULTILINE), said


def test_an_unchanged_version_is_loaded_and_checked(live, command, numbered):
    model = numbered(1)
    assert run(["publish", model, str(live.root), "--to", "triton", "--name", "m"]) == 0
    assert "READY" not in live.states().values()
    code, said = command("publish", model)
    assert code == 0
    assert "already published, unchanged" in said
    assert "answers 5 rows" in said
    assert live.answering() == {1}
    assert command("publish", model)[0] == 0


# --- versions that the server does not take ---


@pytest.mark.parametrize(
    ("broken", "code", "words"),
    [
        ("load", 8, r"the server does not load 'm': .*no\.such\.domain"),
        ("answers", 5, r"version 2 of 'm' answers wrongly over the wire: 20 of 20 values of output 'y'"),
    ],
)
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_broken_version_is_rolled_back(live, command, numbered, broken, code, words, protocol):
    assert command("publish", numbered(1))[0] == 0
    before = tree(live.root)
    config = (live.root / "m/config.pbtxt").read_text()
    got, said = command("publish", numbered(2, broken=broken), "--set", "max_batch_size=7", at=getattr(live, protocol))
    assert got == code, said
    assert re.search(words, said), said
    assert "Version 2 was taken out of the repository again" in said
    assert "version 1 serves again and answers 5 rows as it should" in said
    assert "Traceback" not in said
    assert "At:" not in said
    assert tree(live.root) == before
    assert (live.root / "m/config.pbtxt").read_text() == config
    assert live.answering() == {1}
    assert live.states()[1] == "READY"
    assert live.client.ready()  # the server as a whole, too, which remembers what it could not load
    # What may have answered somebody is kept, and its number is not given again.
    assert aside(live.root) == (["2"] if broken == "answers" else [])
    assert command("publish", numbered(3))[0] == 0
    assert live.answering() == {3}
    assert (live.root / "m" / ("3" if broken == "answers" else "2")).is_dir()


@pytest.mark.parametrize(("broken", "code"), [("load", 8), ("answers", 5)])
def test_a_broken_first_version_leaves_no_model(live, command, numbered, broken, code):
    got, said = command("publish", numbered(1, broken=broken))
    assert got == code
    assert "The model was taken out of the repository again" in said
    assert "The server has unloaded 'm'" in said
    assert tree(live.root) == set()
    assert "READY" not in live.states().values()
    assert ("it says that it is not ready" in said) == (broken == "load")
    assert command("publish", numbered(2))[0] == 0  # under the same number, where nothing was loaded
    assert live.answering() == {2}
    assert live.client.ready()


def test_what_a_killed_publisher_left_untested_is_taken_out(live, command, numbered):
    """It died after the version was in the repository and before the server had been asked."""
    assert command("publish", numbered(1))[0] == 0
    wrong = numbered(2, broken="answers")
    assert run(["publish", wrong, str(live.root), "--to", "triton", "--name", "m"]) == 0
    assert live.answering() == {1}
    code, said = command("publish", wrong)
    assert code == 5
    assert "Version 2 was taken out of the repository again" in said
    assert live.answering() == {1}
    assert not (live.root / "m/2").exists()


def test_a_publisher_killed_while_the_server_is_asked(live, command, numbered):
    assert command("publish", numbered(1))[0] == 0
    second = numbered(2)
    words = ["publish", second, str(live.root), "--to", "triton", "--name", "m", "--load", live.http]
    process = subprocess.Popen([sys.executable, "-m", "mlconvert", *words], stderr=subprocess.DEVNULL)
    try:
        while not (live.root / "m/2").exists():
            assert process.poll() is None
            time.sleep(0.001)
    finally:
        process.kill()
        process.wait()
    assert [found for found in lint(live.root) if found.level == "error"] == []
    assert live.answering() <= {1, 2}
    assert command("publish", second)[0] == 0
    assert live.answering() == {2}
    assert not (live.root.parent / f".mlconvert-{live.root.name}").exists()


def test_a_folder_that_is_ahead_of_the_server(live, command, numbered):
    """Published without --load: the server cannot go back to what its folder does not ask for any more."""
    assert command("publish", numbered(1))[0] == 0
    assert run(["publish", numbered(2), str(live.root), "--to", "triton", "--name", "m"]) == 0
    code, said = command("publish", numbered(3, broken="load"))
    assert code == 8
    assert "still serves version 1" in said
    assert live.answering() == {1}
    code, said = command("publish", numbered(3, broken="answers"))
    assert code == 5
    assert "version 2 serves now, as the repository says, and answers 5 rows" in said
    assert live.answering() == {2}


def test_a_version_in_service_stays_when_it_is_found_wrong(live, command, numbered):
    wrong = numbered(1, broken="answers")
    assert command("publish", wrong, "--no-verify")[0] == 0
    code, said = command("publish", wrong)
    assert code == 5
    assert "taken out" not in said
    assert live.answering() == {1}


def test_a_rollback_to_what_does_not_answer_comes_back(live, command, numbered):
    assert command("publish", numbered(1, broken="answers"), "--no-verify")[0] == 0
    assert command("publish", numbered(2))[0] == 0
    before = tree(live.root)
    code, said = command("rollback")
    assert code == 5
    assert "version 1 of 'm' answers wrongly over the wire" in said
    assert "Version 2 is the newest in the repository again" in said
    assert "version 2 serves again and answers 5 rows as it should" in said
    assert tree(live.root) == before
    assert live.answering() == {2}
    assert command("rollback", "--no-verify")[0] == 0
    assert live.answering() == {1}


def test_rows_are_needed_to_verify(live, command, numbered):
    code, said = command("publish", numbered(1, rows=False))
    assert code == 6
    assert "it has no record with rows" in said
    assert "--no-verify" in said
    assert tree(live.root) == set()
    code, said = command("publish", numbered(1, rows=False), "--no-verify")
    assert code == 0
    assert "its answers were not compared" in said
    assert command("publish", numbered(2))[0] == 0
    code, said = command("publish", numbered(3, broken="load"))
    assert code == 8
    assert command("rollback")[0] == 6
    assert live.answering() == {2}


# --- servers that cannot take anything ---


def unchanged(live, command, numbered, at: str, words: str, *, repository: Path | None = None) -> str:
    """A publishing that ends with exit code 8, and changes nothing: neither an existing model nor a new one."""
    before = tree(repository or live.root)
    code, said = command("publish", numbered(9), "--wait", "0.5", at=at, repository=repository)
    assert code == 8, said
    assert re.search(words, said), said
    assert tree(repository or live.root) == before
    assert aside(repository or live.root) == []
    assert "try:" in said
    return said


def test_a_server_that_is_down(live, command, numbered):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    unchanged(live, command, numbered, f"triton://127.0.0.1:{port}", "no Triton server is up at")


def test_a_url_that_is_none(live, command, numbered):
    code, said = command("publish", numbered(1), at="http://127.0.0.1:8000")
    assert code == 2
    assert "triton://HOST:PORT" in said
    assert tree(live.root) == set()


class Unready(http.server.BaseHTTPRequestHandler):
    """Live, and never ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path.endswith("/live") else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def test_a_server_that_is_up_but_not_ready(live, command, numbered):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Unready)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        at = f"triton://127.0.0.1:{server.server_port}"
        unchanged(live, command, numbered, at, r"is up, and not ready after 0\.5 s")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_server_of_another_repository(live, command, numbered, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    said = unchanged(live, command, numbered, live.http, "it cannot find it", repository=elsewhere)
    assert "serves another repository" in said
    assert command("publish", numbered(1))[0] == 0  # a model of that name is there now, in another version than here
    for number in (1, 2):
        assert run(["publish", numbered(number), str(elsewhere), "--to", "triton", "--name", "n"]) == 0
    (elsewhere / "n").rename(elsewhere / "m")
    (elsewhere / "m/config.pbtxt").write_text((elsewhere / "m/config.pbtxt").read_text().replace('"n"', '"m"'))
    (elsewhere / "m/1").rename(elsewhere / "m/3")
    unchanged(live, command, numbered, live.http, "it serves version 1 of it", repository=elsewhere)
    shutil.rmtree(live.root / "m")
    live.client.unload("m")
    unchanged(live, command, numbered, live.http, "it does not know of it", repository=elsewhere)
    assert "READY" not in live.states().values()


@pytest.mark.parametrize("mode", ["poll", "none"])
def test_a_server_that_loads_by_itself(live, command, numbered, tmp_path, mode):
    repository = tmp_path / "models"
    assert run(["publish", numbered(1), str(repository), "--to", "triton", "--name", "m"]) == 0
    with started(find_server(), repository, mode=mode) as server:
        said = unchanged(live, command, numbered, f"triton://{server.http}", "loads and unloads models by itself",
                         repository=repository)  # fmt: skip
    assert "--model-control-mode=explicit" in said


def test_what_is_refused_before_the_server_is_asked(live, command, numbered, tmp_path, monkeypatch):
    assert command("publish", numbered(1))[0] == 0
    before = tree(live.root)
    code, said = command("publish", numbered(2), "--version", "1")
    assert (code, "version 1 exists and is never overwritten" in said) == (8, True)
    code, said = command("publish", numbered(2), "--name", "a/b")
    assert (code, "'a/b' cannot be the name of a model" in said, "--name a_b" in said) == (8, True, True)
    (tmp_path / "somebody's").mkdir()
    (tmp_path / "somebody's/letter.txt").touch()
    code, said = command("publish", numbered(2), repository=tmp_path / "somebody's")
    assert (code, "does not look like a model repository" in said) == (8, True)
    changed = Path(numbered(3))
    shutil.copy(Path(numbered(4)) / "model.onnx", changed / "model.onnx")
    code, said = command("publish", changed)
    assert (code, "was changed after its record was written" in said) == (8, True)

    def fail(path: object, *args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    model = numbered(5)
    monkeypatch.setattr("os.mkdir", fail)
    code, said = command("publish", model)
    assert (code, "Read-only file system" in said, "must be writable" in said) == (8, True, True)
    assert tree(live.root) == before
    assert live.answering() == {1}


# --- labels ---


def test_labels_serve_what_they_are_on(live, command, numbered):
    for number in (1, 2, 3):
        assert command("publish", numbered(number))[0] == 0
    code, said = command("labels", "stable=1", "canary=3")
    assert code == 0, said
    assert "in service: 1, 3" in said
    assert "requests that name no version go to 3" in said
    assert live.answering() == {3}
    assert live.answering(version="1") == {1}
    assert live.client.config("m")["parameters"]["mlconvert.label.stable"]["string_value"] == "1"
    code, said = command("publish", numbered(4))
    assert code == 8
    assert "would not serve version 4" in said
    assert "mlconvert labels" in said
    assert run(["publish", numbered(4), str(live.root), "--to", "triton", "--name", "m", "--keep", "1"]) == 0
    assert {path.name for path in (live.root / "m").iterdir()} == {"1", "3", "4", "config.pbtxt", "warmup"}
    code, said = command("labels", "canary=4")
    assert code == 0
    assert "version 3 was in service before" in said
    assert live.answering() == {4}
    code, said = command("labels", "--remove", "canary", "--remove", "stable")
    assert "has no labels" in said
    assert live.states()[4] == "READY"
    assert live.answering() == {4}


def test_a_label_on_what_does_not_answer_is_taken_back(live, command, numbered):
    assert command("publish", numbered(1))[0] == 0
    assert run(["publish", numbered(2, broken="answers"), str(live.root), "--to", "triton", "--name", "m"]) == 0
    assert command("publish", numbered(3))[0] == 0
    config = (live.root / "m/config.pbtxt").read_text()
    code, said = command("labels", "stable=1", "canary=2")
    assert code == 5, said
    assert "The labels are as they were" in said
    assert "version 3 serves again and answers 5 rows" in said
    assert live.answering() == {3}
    assert (live.root / "m/config.pbtxt").read_text() == config
