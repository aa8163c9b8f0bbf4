"""`publish --load`, `rollback --load` and `labels --load` against a running TensorFlow Serving, by command."""

from __future__ import annotations

import http.client
import json
import time

import pytest

from mlconvert.cli.app import run
from mlconvert.repositories.tf_serving.lint import lint
from mlconvert.serving.processes import free_ports
from mlconvert.serving.tf_serving.home import find_model_server
from mlconvert.serving.tf_serving.server import started


class Live:
    """A server, and a repository of its own for each test; its models are `m` and a number."""

    def __init__(self, serving, name: str) -> None:
        self.root, self.server, self.name = serving.root, serving.server, name
        self.rest, self.grpc = f"tfserving://{self.server.rest}", f"tfserving://{self.server.grpc}"

    def answers(self, version: str = "") -> set[float]:
        connection = http.client.HTTPConnection(self.server.rest, timeout=30)
        connection.request("POST", f"/v1/models/{self.name}{version}:predict", json.dumps({"inputs": [[1] * 4]}))
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        return {value - 2 for value in told["outputs"][0]} if answer.status == 200 else set()


@pytest.fixture
def live(tf_servings) -> Live:
    serving = tf_servings("changing")
    return Live(serving, f"m{len(list(serving.root.iterdir()))}")


@pytest.fixture
def command(live, capsys):
    """Run `mlconvert VERB REPOSITORY NAME …` as a user would; the exit code, and all that was said."""

    def call(*words: str, at: str | None = None) -> tuple[int, str]:
        verb, *rest = words
        argv = [verb, str(live.root), live.name, *rest]
        if verb == "publish":
            argv = [verb, rest[0], str(live.root), "--to", "tf-serving", "--name", live.name]
            argv += ["--set", f"base_path={live.root}", *rest[1:]]
        capsys.readouterr()
        code = run([*argv, "--at" if verb == "versions" else "--load", at or live.grpc])
        out, err = capsys.readouterr()
        return code, out + err

    return call


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_versions_go_live_and_back(live, command, numbered_saved, protocol):
    at = getattr(live, protocol)
    code, said = command("publish", numbered_saved(1), at=at)
    assert code == 0, said
    assert f"version 1 is in service at {at}, and answers 5 rows as it should" in said
    assert live.answers() == {1}
    assert command("publish", numbered_saved(2), at=at)[0] == 0
    assert live.answers() == {2}
    code, said = command("rollback", at=at)
    assert code == 0, said
    assert "version 1 is the newest again (it was 2)" in said
    assert f"version 1 is in service at {at}, and answers 5 rows" in said
    assert live.answers() == {1}
    code, said = command("publish", numbered_saved(3), "--keep", "1", at=at)
    assert code == 0, said
    assert live.answers() == {3}
    code, said = command("versions", at=at)
    assert code == 0
    assert [line.split()[-1] for line in said.splitlines() if line.startswith(("1 ", "3 "))] == ["END", "AVAILABLE"]


@pytest.mark.parametrize(
    ("broken", "code", "words"),
    [("load", 8, "the server does not load version 2 of"), ("answers", 5, "version 2 of '{}' answers wrongly")],
)
def test_a_broken_version_is_rolled_back(live, command, numbered_saved, broken, code, words):
    assert command("publish", numbered_saved(1))[0] == 0
    config = (live.root / "models.config").read_text()
    got, said = command("publish", numbered_saved(2, broken=broken), "--set", "version_policy=latest:2")
    assert got == code, said
    assert words.format(live.name) in said
    assert "Version 2 was taken out of the repository again" in said
    assert "version 1 serves again and answers 5 rows as it should" in said
    assert "Traceback" not in said
    assert (live.root / "models.config").read_text() == config
    assert live.answers() == {1}
    code, said = command("publish", numbered_saved(4))
    assert code == 0, said
    assert f"{live.name}/3: published" in said  # its number is not given again
    assert live.answers() == {4}


@pytest.mark.parametrize(("broken", "code"), [("load", 8), ("answers", 5)])
def test_a_broken_first_version_leaves_no_model(live, command, numbered_saved, broken, code):
    got, said = command("publish", numbered_saved(1, broken=broken))
    assert got == code, said
    assert "The model was taken out of the repository again" in said
    assert f"The server has let go of '{live.name}'" in said
    assert not (live.root / live.name).exists()
    assert live.name not in (live.root / "models.config").read_text()
    assert live.answers() == set()
    assert command("publish", numbered_saved(2))[0] == 0
    assert live.answers() == {2}


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_labels_move_when_their_version_is_there(live, command, numbered_saved, protocol):
    """Also to a version that was not in service: the server refuses a label for one that is not loaded."""
    at = getattr(live, protocol)
    for number in (1, 2):
        assert command("publish", numbered_saved(number), at=at)[0] == 0
    code, said = command("labels", "stable=2", "old=1", at=live.grpc)
    assert code == 0, said
    assert (live.answers("/labels/stable"), live.answers("/labels/old")) == ({2}, {1})
    code, said = command("labels", "stable=1", "--remove", "old", at=at)
    assert code == 0, said
    assert "version 1 is in service" in said
    assert live.answers("/labels/stable") == live.answers() == {1}
    assert live.answers("/labels/old") == set()
    if protocol == "grpc":
        code, said = command("labels", "stable=2", at=at)
        assert code == 0, said
        assert live.answers("/labels/stable") == {2}


def test_a_label_that_a_server_does_not_take_by_itself(live, command, numbered_saved, capsys):
    """It reads models.config each second, and refuses it; told step by step, it takes it."""
    assert command("publish", numbered_saved(1))[0] == 0
    assert command("labels", "stable=1")[0] == 0
    words = ["--to", "tf-serving", "--name", live.name]
    assert run(["publish", numbered_saved(2), str(live.root), *words]) == 0
    capsys.readouterr()
    assert run(["labels", str(live.root), live.name, "stable=2"]) == 0
    assert "does not take that, and stays as it is" in capsys.readouterr().err
    seen = len(live.server.log_text())
    while "Request to assign label to version 2" not in live.server.log_text()[seen:]:
        time.sleep(0.1)
    assert live.answers("/labels/stable") == live.answers() == {1}
    code, said = command("labels", "stable=2")
    assert code == 0, said
    assert live.answers("/labels/stable") == live.answers() == {2}


def test_labels_are_as_they_were_where_a_version_answers_wrongly(live, command, numbered_saved):
    assert command("publish", numbered_saved(1))[0] == 0
    assert command("labels", "stable=1")[0] == 0
    wrong = numbered_saved(2, broken="answers")
    words = ["--to", "tf-serving", "--name", live.name]
    assert run(["publish", wrong, str(live.root), *words]) == 0  # not in service: labels decide
    code, said = command("labels", "stable=2")
    assert code == 5, said
    assert "The labels are as they were." in said
    assert live.answers("/labels/stable") == live.answers() == {1}


def test_lint_is_clean_afterwards(live, command, numbered_saved):
    assert command("publish", numbered_saved(1))[0] == 0
    assert command("publish", numbered_saved(2, broken="load"))[0] == 8
    assert command("labels", "stable=1")[0] == 0
    assert [one for one in lint(live.root, names=[live.name]) if one.level == "error"] == []


# --- what cannot be done ---


def test_a_record_without_rows(live, command, numbered_saved):
    code, said = command("publish", numbered_saved(1, rows=False))
    assert code == 6
    assert "cannot be tested on the server" in said
    assert not (live.root / live.name).exists()
    code, said = command("publish", numbered_saved(1, rows=False), "--no-verify")
    assert code == 0, said
    assert "its answers were not compared" in said


def test_nothing_listens_there(live, command, numbered_saved):
    (port,) = free_ports(1)
    code, said = command("publish", numbered_saved(1), at=f"tfserving://127.0.0.1:{port}")
    assert code == 8
    assert "Connection refused" in said
    assert not (live.root / live.name).exists()


def test_a_server_of_the_other_kind(live, command, numbered_saved, tmp_path, capsys):
    code, said = command("publish", numbered_saved(1), at="triton://127.0.0.1:8000")
    assert code == 2
    assert "is a Triton server, and the repository is of a TensorFlow Serving" in said
    code, said = command("publish", numbered_saved(1), at="http://127.0.0.1:8000")
    assert code == 2
    assert "is no address of a server" in said


def test_the_server_of_another_repository(live, command, numbered_saved, tmp_path, capsys):
    assert command("publish", numbered_saved(1))[0] == 0
    other = tmp_path / "other"
    words = ["--to", "tf-serving", "--name"]
    assert run(["publish", numbered_saved(2), str(other), *words, "elsewhere"]) == 0
    capsys.readouterr()
    code = run(["publish", numbered_saved(3), str(other), *words, live.name, "--load", live.grpc])
    said = "".join(capsys.readouterr())
    assert code == 8
    assert "the server serves another repository: it knows none of the models of this one (elsewhere)" in said
    assert not (other / live.name).exists()


def test_it_does_not_wait_for_ever(numbered_saved, tmp_path, capsys):
    """Over REST a server that does not read models.config again never hears of the model."""
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "models.config").write_text("model_config_list { }")
    words = ["--to", "tf-serving", "--name", "m", "--set", f"base_path={alone}", "--wait", "1"]
    with started(find_model_server(), [f"--model_config_file={alone}/models.config"]) as server:
        capsys.readouterr()
        code = run(["publish", numbered_saved(1), str(alone), *words, "--load", f"tfserving://{server.rest}"])
        said = "".join(capsys.readouterr())
    assert code == 8
    assert "is not available (it knows of none) after 1 s" in said
    assert "--model_config_file_poll_wait_seconds" in said
    assert "The model was taken out of the repository again" in said
    assert not (alone / "m").exists()
