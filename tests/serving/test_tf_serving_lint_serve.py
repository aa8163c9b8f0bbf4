"""`lint --serve` of TensorFlow Serving repositories, by command: what a server says of a copy of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from mlconvert.cli.app import run


@pytest.fixture
def repository(numbered_saved, tmp_path, capsys) -> Path:
    """Two models: `a` with two labelled versions, `b` with one that is not labelled, and batching for both."""
    root = tmp_path / "models"
    words = ["--to", "tf-serving"]
    assert run(["publish", numbered_saved(1), str(root), *words, "--name", "a", "--set", "batching=yes"]) == 0
    assert run(["publish", numbered_saved(2), str(root), *words, "--name", "a", "--set", "monitoring=yes"]) == 0
    assert run(["publish", numbered_saved(3), str(root), *words, "--name", "b"]) == 0
    assert run(["labels", str(root), "a", "old=1", "new=2"]) == 0
    capsys.readouterr()
    return root


def files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def lint(repository, capsys, tmp_path):
    """`mlconvert lint --serve`: the exit code, the report, and what was said."""

    def call(*words: str) -> tuple[int, dict, str]:
        before, path = files(repository), tmp_path / "report.json"
        path.unlink(missing_ok=True)
        capsys.readouterr()
        code = run(["lint", str(repository), "--serve", "--report", str(path), *words])
        said = "".join(capsys.readouterr())
        assert files(repository) == before  # the user's copy is left alone
        return code, json.loads(path.read_text()) if path.exists() else {}, said

    return call


def served(report: dict) -> list[dict]:
    return [row for model in report["models"] for row in model["served"]]


def test_what_is_published_answers_as_its_record_says(lint):
    code, report, said = lint()
    assert (code, report["findings"]) == (0, [])
    assert [(row["name"], row["version"]) for row in served(report)] == [("a", 1), ("a", 2), ("b", 1)]
    for row in served(report):
        assert row["http"]["ok"]
        assert row["grpc"]["ok"]
        assert row["backend"] == "tensorflow"
        assert row["stand_in"] is None or row["stand_in"].startswith("the double of tensorflow_model_server")
    assert "a/2: HTTP ok (5 rows), gRPC ok (5 rows)" in said
    assert f"answered by {served(report)[0]['stand_in'] or 'tensorflow_model_server'}" in said


def test_what_a_server_trips_over(lint, repository, numbered_saved):
    """A model that does not load, one that answers wrongly, one without rows, a label, settings: each is told."""
    words = ["--to", "tf-serving", "--name"]
    assert run(["publish", numbered_saved(4, broken="load"), str(repository), *words, "broken"]) == 0
    assert run(["publish", numbered_saved(4, broken="load"), str(repository), *words, "a"]) == 0
    assert run(["labels", str(repository), "a", "next=3"]) == 0
    assert run(["publish", numbered_saved(5, broken="answers"), str(repository), *words, "wrong"]) == 0
    assert run(["publish", numbered_saved(6, rows=False), str(repository), *words, "rowless"]) == 0
    assert run(["publish", numbered_saved(0), str(repository), *words, "half"]) == 0  # which REST cannot carry
    (repository / "batching.config").write_text("max_batch_size { value: 8 } allowed_batch_sizes: 4\n")
    code, report, _ = lint()
    assert code == 8
    found = {(one["model"], one["code"], one["file"]) for one in report["findings"]}
    assert {one for one in found if one[0] is not None} == {
        ("a", "load-failed", "a/3"),
        ("a", "labels-refused", "models.config"),
        ("broken", "load-failed", "broken/1"),
        ("wrong", "wrong-answer", "wrong/1/record.json"),
        ("rowless", "no-rows", "rowless/1/record.json"),
        ("half", "rest-type", "half/1/saved_model.pb"),
    }
    assert (None, "server-refuses", "batching.config") in found
    told = [one["message"] for one in report["findings"] if one["file"] == "broken/1"]
    assert told[0].startswith("the server does not load version 1: ")
    assert {(row["name"], row["version"]) for row in served(report)} == {
        ("a", 1), ("a", 2), ("b", 1), ("wrong", 1), ("rowless", 1), ("half", 1),
    }  # fmt: skip
    half = next(row for row in served(report) if row["name"] == "half")
    assert (half["http"], half["grpc"]["ok"]) == (None, True)


def test_a_running_server(tf_servings, numbered_saved, capsys):
    serving = tf_servings("changing")
    name = f"m{len(list(serving.root.iterdir()))}"
    words = ["publish", numbered_saved(1), str(serving.root), "--to", "tf-serving", "--name", name]
    words += ["--set", f"base_path={serving.root}", "--load"]
    assert run([*words, f"tfserving://{serving.server.rest}"]) == 0
    capsys.readouterr()
    url = f"tfserving://{serving.server.grpc}"
    assert run(["lint", url, "--model", name]) == 0
    assert "1 model: nothing found" in capsys.readouterr().out
    assert run(["lint", url]) == 2
    assert "does not tell which models it has" in capsys.readouterr().err
    assert run(["lint", url, "--model", "none"]) == 2
    assert "the server has no model 'none'" in capsys.readouterr().err


def test_a_server_that_is_named(lint, repository, tmp_path, monkeypatch):
    """It is started with the real server's flags (the double in a shell's clothes); without models.config, too."""
    program = tmp_path / "bin" / "tensorflow_model_server"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m mlconvert.serving.tf_serving.double "$@"\n')
    program.chmod(0o755)
    (repository / "models.config").unlink()
    code, report, said = lint("--model", "a", "--server", str(tmp_path))
    assert "answered by tensorflow_model_server" in said
    assert [(row["version"], row["stand_in"]) for row in served(report)] == [(2, None)]  # the newest alone
    code, _, said = lint("--model", "b", "--server", str(repository))
    assert code == 3
    assert "is no tensorflow_model_server" in said
    program.write_text("#!/bin/sh\necho cannot execute; exit 127\n")
    monkeypatch.setenv("MLCONVERT_TENSORFLOW_MODEL_SERVER", str(program))
    code, _, said = lint("--model", "b")
    assert code == 3
    assert "does not run on this machine" in said
    program.unlink()
    code, _, said = lint("--model", "b")
    assert code == 3
    assert "named by MLCONVERT_TENSORFLOW_MODEL_SERVER" in said
