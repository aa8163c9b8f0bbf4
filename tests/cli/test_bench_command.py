"""`mlconvert bench`, as a user calls it: what it shows, writes and refuses."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import onnx
import pytest
from jsonschema.validators import Draft202012Validator

import mlconvert
from mlconvert.benchmarking import contest
from mlconvert.cli import main
from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.operations import bench
from mlconvert.report.bench import SCHEMA

QUICK = ["--starts", "1", "--rounds", "2", "--batch", "16"]


@pytest.fixture
def here(tmp_path, monkeypatch, small_onnx):
    """An empty folder but for two equal models, `a.onnx` and `b.onnx`, and samples; measuring takes next to no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "WARM_SECONDS", 0.01)
    monkeypatch.setattr(bench, "TURN_SECONDS", 0.002)
    for name in ("a.onnx", "b.onnx"):
        shutil.copy(small_onnx, name)
    np.savez("rows.npz", x=np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32))
    return tmp_path


@pytest.fixture
def shell(capsys):
    def run(code: int, *words: str) -> tuple[str, str]:
        ended = main([*words])
        told = capsys.readouterr()
        assert ended == code, told.err + told.out
        assert "Traceback" not in told.err
        return told.out, told.err

    return run


def checked(text: str) -> dict:
    report = json.loads(text)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    return report


def test_a_bench_is_told_in_every_form(here, shell):
    reports = [word for suffix in ("json", "md", "svg", "html") for word in ("--report", f"out/bench.{suffix}")]
    out, err = shell(0, "bench", "a.onnx", "b.onnx", "--samples", "rows.npz", *QUICK, *reports)
    assert max(map(len, out.splitlines())) <= 80
    assert "answers as the source does on 9 samples" in out
    assert "vs [1]: times as fast as a.onnx, run" in out
    assert "nothing is known of the noise" in out  # of one start
    assert "report: out/bench.svg" in err
    report = checked(Path("out/bench.json").read_text())
    names = ["a.onnx, run", "a.onnx, IO binding", "b.onnx, run", "b.onnx, IO binding"]
    assert [one["name"] for one in report["contestants"]] == names
    assert [one["role"] for one in report["contestants"]] == ["source", "source", "artifact", "artifact"]
    assert report["baselines"] == names[:2]
    for one in report["contestants"]:
        assert {row["baseline"] for row in one["ratios"]} == set(names[:2]) - {one["name"]}
        assert one["one_row"]["p50"] <= one["one_row"]["p90"] if one["one_row"]["p90"] else True
        assert (one["bytes"], one["batch"]["rows"]) == (Path("a.onnx").stat().st_size, 16)
        assert one["peak_rss_bytes"] > 10 << 20
        assert 0 < one["cold_start_seconds"] < 60
    assert ET.parse("out/bench.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert "## One row, microseconds" in Path("out/bench.md").read_text()
    assert "<html" in Path("out/bench.html").read_text()


def test_it_is_a_function_of_python_s_too(here):
    report = mlconvert.bench("a.onnx", Path("b.onnx"), samples="rows.npz", starts=1, rounds=1, batch=16)
    assert report["ok"]
    assert [one["path"] for one in report["artifacts"]] == ["b.onnx"]
    with pytest.raises(UsageError, match="--starts 0 is not valid"):
        mlconvert.bench("a.onnx", starts=0)


def test_json_is_alone_on_stdout(here, shell):
    out, _ = shell(0, "bench", "a.onnx", "--samples", "rows.npz", *QUICK, "--json")
    report = checked(out)
    assert report["artifacts"] == []
    assert report["settings"]["samples"] == 9


def test_what_answers_otherwise_is_not_benched(here, shell, monkeypatch):
    model = onnx.load("b.onnx")
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.full(3, 9, np.float32), "b"))
    onnx.save(model, "b.onnx")
    monkeypatch.setattr(contest, "hold", lambda *words: pytest.fail("it was measured all the same"))
    words = ["bench", "a.onnx", "b.onnx", "--samples", "rows.npz", *QUICK]
    out, err = shell(5, *words, "--report", "o.json", "--report", "o.md", "--report", "o.svg", "--json")
    assert "answers otherwise than the source, so it is not benched" in err
    assert "mlconvert verify a.onnx b.onnx" in err
    report = checked(out)
    assert (report["ok"], report["exit_code"], report["contestants"]) == (False, 5, [])
    assert checked(Path("o.json").read_text()) == report
    assert "failed (exit code 5)" in Path("o.md").read_text()
    assert not Path("o.svg").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["missing.onnx", "b.onnx"], "missing.onnx does not exist"),
        (["a.onnx", "missing.onnx"], "missing.onnx does not exist"),
        (["a.onnx", "b.onnx", "--samples", "row.npz"], "Did you mean 'rows.npz'?"),
        (["a.onnx", "http://localhost:8000/m"], "triton+http://localhost:8000/m"),
        (["a.onnx", "grpc://localhost:8001/m"], "triton+grpc://localhost:8001/m"),
        (["a.onnx", "b.onnx", "--report", "b.png"], "--report b.svg"),
        (["a.onnx", "b.onnx", "--report", "b.xml"], "choose .json, .md, .svg, .html"),
        (["a.onnx", "b.json", "--report", "b.json"], "would replace a model"),
        (["a.onnx", "b.onnx", "--threads", "4096"], "this process may use"),
        (["a.onnx", "b.onnx", "--batch", "0"], "batch"),
    ],
)
def test_wrong_use_is_refused_before_anything_runs(here, shell, monkeypatch, words, says):
    monkeypatch.setattr(bench, "Children", lambda *words: pytest.fail("something ran"))
    _, err = shell(2, "bench", *words)
    assert says in err


def test_a_contestant_that_fails_is_named_and_leaves_no_report(here, shell, monkeypatch):
    def hold(*words):
        raise ConversionFailed("its process crashed (SIGSEGV)", where="b.onnx, run")

    monkeypatch.setattr(contest, "hold", hold)
    _, err = shell(4, "bench", "a.onnx", "b.onnx", "--samples", "rows.npz", *QUICK, "--report", "o.svg")
    assert "its process crashed (SIGSEGV)" in err
    assert "b.onnx, run" in err
    assert not Path("o.svg").exists()


def test_names_tell_models_apart_that_are_called_alike(here, shell):
    Path("x/1").mkdir(parents=True)
    Path("y/1").mkdir(parents=True)
    for folder in ("x/1", "y/1"):
        shutil.copy("a.onnx", f"{folder}/model.onnx")
    words = ["bench", "x/1", "y/1", "y/1", "--samples", "rows.npz", *QUICK, "--json"]
    report = checked(shell(0, *words)[0])
    names = [one["name"].partition(",")[0] for one in report["contestants"]][::2]
    assert names == ["x/1/model.onnx", "y/1/model.onnx", "y/1/model.onnx #2"]
