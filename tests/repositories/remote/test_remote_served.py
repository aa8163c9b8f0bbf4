"""The command line against a store, and what it put there on the real server.

The server from the wheel cannot read S3 by itself, so it gets what Triton's own S3 code would fetch: a copy of the
model's folder.
"""

from __future__ import annotations

import numpy as np
import pytest

from mlconvert.cli.app import run
from mlconvert.repositories.remote import downloaded
from mlconvert.repositories.triton.remote import publish, rollback

from .conftest import Killed

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4)


def answers(scale: float) -> dict:
    return {"m": ({"input": ROWS}, {"variable": ROWS * scale, "label": (ROWS * scale).sum(axis=1, keepdims=True)})}


@pytest.mark.parametrize("data", [False, True], ids=["one file", "with data"])
def test_it_is_served(make_model, repository, loads, data):
    options = {"max_batch_size": 8}
    publish(make_model("1.onnx", scale=2.0, data=data), repository, "m", options=options)
    publish(make_model("2.onnx", scale=3.0, data=data), repository, "m")
    with downloaded(repository) as folder:
        loads(folder, answers=answers(3.0))
    rollback(repository, "m")
    with downloaded(repository) as folder:
        loads(folder, answers=answers(2.0))


def test_what_a_dead_publisher_left_is_served_as_before(make_model, repository, loads, fate):
    """Half of version 2 is there, without its main file: a server that looked at it would serve nothing."""
    publish(make_model("1.onnx", scale=2.0), repository, "m", options={"max_batch_size": 8})
    fate.lives_on()
    fate.die_at, fate.after = 1, True
    with pytest.raises(Killed):
        publish(make_model("2.onnx", scale=3.0, data=True), repository, "m")
    fate.lives_on()
    with downloaded(repository) as folder:
        half = {path.name for path in (folder / "m" / "2").rglob("*")}
        assert half
        assert not {path for path in (folder / "m" / "2").rglob("model.onnx") if path.is_file()}
        loads(folder, answers=answers(2.0))


def test_the_command_line(recorded, repository, capsys):
    first, second = recorded("1.onnx").path, recorded("2.onnx", scale=3.0).path
    assert run(["publish", str(first), str(repository), "--to", "triton", "--name", "m"]) == 0
    told = capsys.readouterr().out
    assert f"m/1: published in {repository}" in told
    assert f"  {repository}/m/1" in told
    assert f"  {repository}/m/config.pbtxt (written)" in told
    assert run(["publish", str(first), str(repository), "--to", "triton", "--name", "m"]) == 0
    assert "already published, unchanged" in capsys.readouterr().out
    assert run(["publish", str(second), str(repository), "--to", "triton", "--name", "m", "--keep", "3"]) == 0
    assert run(["versions", str(repository), "m"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[-2:]][1] == ["2", "live"]
    assert run(["rollback", str(repository), "m"]) == 0
    assert "m: version 1 is the newest again (it was 2)" in capsys.readouterr().out
    assert run(["labels", str(repository), "m", "stable=1", "canary=2"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["versions", "{}", "m"], 2),  # no such model
        (["rollback", "{}", "m"], 2),
        (["versions", "s3://nowhere/models", "m"], 8),
        (["versions", "s3://bucket", "m"], 2),
        (["versions", "s9://bucket/models", "m"], 2),
        (["rollback", "{}", "m", "--load", "triton://127.0.0.1:9"], 8),  # no server is up
        (["publish", "m.onnx", "{}", "--to", "triton", "--name", "a/b"], 8),
        (["publish", "m.onnx", "{}", "--to", "triton", "--name", "m", "--set", "max_batch=1"], 2),
    ],
)
def test_exit_codes(recorded, repository, capsys, arguments, code, content):
    model = str(recorded("m.onnx").path)
    words = [model if word == "m.onnx" else word.format(repository) for word in arguments]
    assert run(words) == code
    assert capsys.readouterr().err.startswith("error: ")
    assert content() == {}
