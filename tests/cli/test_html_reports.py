"""`--report out.html` of `convert`, `run` and `verify`, on a real model."""

from __future__ import annotations

import re
import shutil

import pytest

from mlconvert.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(trained("breast_cancer.txt"), tmp_path / "model.txt")
    shutil.copyfile(trained("breast_cancer.csv"), tmp_path / "rows.csv")
    return tmp_path


def words(path):
    """The text of a page, without its tags."""
    text = re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_convert_and_verify(here, capsys):
    reports = ("--report", "new/r.html", "--report", "r.json")
    assert main(["convert", "model.txt", "--to", "onnx", "-o", "m.onnx", "--samples", "rows.csv", *reports]) == 0
    assert "report: new/r.html\n" in capsys.readouterr().err
    told = words(here / "new" / "r.html")
    assert "mlconvert ✓ verified" in told
    assert "lightgbm the source onnx ✓ verified" in told
    assert "exactly alike" in told  # how the errors are spread
    assert "The rows furthest off" in told
    assert "x the source" in told  # the size

    assert main(["verify", "model.txt", "m.onnx", "--samples", "rows.csv", "--report", "v.html"]) == 0
    assert "onnx ✓ verified" in words(here / "v.html")
    assert main(["verify", "m.onnx", "--report", "own.html"]) == 0
    assert "mlconvert ✓ verified" in words(here / "own.html")


def test_run_of_several_targets_one_of_which_fails(here, capsys):
    (here / "r.yaml").write_text(
        "model: model.txt\nsamples: rows.csv\ntargets:\n  good: {steps: [onnx]}\n  bad: {steps: [onnx, float16]}\n"
    )
    assert main(["run", "r.yaml", "--report", "r.html"]) == 4
    told = words(here / "r.html")
    assert "mlconvert ✗ failed (exit code 4)" in told
    assert "nothing to convert to float16" in told
    assert "What was made" in told
    capsys.readouterr()


def test_a_run_that_ends_before_its_first_step_is_told_too(here, capsys):
    assert main(["convert", "model.txt", "--to", "onnx", "--samples", "none.csv", "--report", "r.html"]) == 2
    assert "UsageError" in words(here / "r.html")
    assert "none.csv does not exist" in capsys.readouterr().err


def test_lint_does_not_write_html(here, capsys):
    (here / "models").mkdir()
    assert main(["lint", "models", "--report", "l.html"]) == 2
    assert "choose .json or .xml" in capsys.readouterr().err
    assert not (here / "l.html").exists()
