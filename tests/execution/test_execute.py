"""Whole runs through the command line: what is placed, published, recorded, cached and told, and what is not.

Most of them are of the toy formats of tests/plugin, whose steps take a tenth of a second.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator

from mlconvert import records
from mlconvert.cli import main
from mlconvert.execution import cache
from mlconvert.registry import registry
from mlconvert.report import SCHEMA

PLUGIN = Path(__file__).parents[1] / "plugin"
MAIN = "import sys; from mlconvert.cli import main; sys.exit(main(sys.argv[1:]))"


class Here:
    """The user's folder, with a toy model in it, and what is typed there."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.write_model(1.5, -2, 0.123456789)

    def write_model(self, *numbers: float) -> None:
        (self.folder / "model.toy").write_text("TOY 1\n" + " ".join(map(str, numbers)) + "\n")

    def recipe(self, text: str, name: str = "recipe.yaml") -> str:
        (self.folder / name).write_text(textwrap.dedent(text))
        return name

    def mlconvert(self, code: int, *arguments: str | Path) -> tuple[str, str]:
        """Run a command that must end with this code; what it printed on stdout and on stderr."""
        ended = main([str(argument) for argument in arguments])
        told = self.capsys.readouterr()
        assert ended == code, told.err + told.out
        assert "Traceback" not in told.err
        return told.out, told.err

    def report(self, code: int, *arguments: str | Path) -> dict[str, Any]:
        """The report of a `convert`, `run` or `verify` that must end with this code."""
        out, _ = self.mlconvert(code, *arguments, "--json")
        report: dict[str, Any] = json.loads(out)
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
        assert (report["ok"], report["exit_code"]) == (code == 0, code)
        return report

    def listed(self, *ignored: str) -> list[str]:
        """Every file of the folder but the cache, the model and the recipe."""
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if not path.is_dir())
        left_out = ("cache/", "model.toy", "recipe.yaml", *ignored)
        return sorted(name for name in found if not name.startswith(left_out))


@pytest.fixture
def here(tmp_path, monkeypatch, capsys) -> Iterator[Here]:
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    registry.cache_clear()
    yield Here(tmp_path, capsys)
    registry.cache_clear()


def convert(*arguments: str, out: str = "out") -> list[str]:
    return ["convert", "model.toy", "--to", "toybin", "-o", out, *arguments]


def record_of(path: Path) -> dict[str, Any]:
    record = records.read(path)
    assert record is not None
    return record


def cached(report: dict[str, Any]) -> list[bool]:
    return [step["cached"] for target in report["targets"] for step in target["steps"]]


# --- failures: nothing is placed, nothing is published ---


def test_parity_that_fails_in_the_middle_of_a_chain_stops_it_there(here):
    recipe = here.recipe(
        """
        model: model.toy
        targets:
          rounded:
            steps: [toybin, {round: {digits: 1}}, split]
        """
    )
    report = here.report(5, "run", recipe, "--report", "r.json", "--report", "r.md", "--report", "r.xml")
    (target,) = report["targets"]
    assert [(step["converter"], step["parity"]["ok"]) for step in target["steps"]] == [
        ("toy->toybin", True),
        ("toybin:round", False),
    ]
    assert target["error"]["error"] == "ParityFailed"
    assert "'y'" in target["error"]["message"]
    assert target["error"]["where"] == "step 'round' (toybin:round)"
    assert (target["sha256"], target["bytes"]) == (None, None)
    assert here.listed() == ["r.json", "r.md", "r.xml"]
    assert json.loads((here.folder / "r.json").read_text()) == report
    markdown = (here.folder / "r.md").read_text()
    assert "exit code 5" in markdown
    assert "'y'" in markdown
    failures = ET.parse(here.folder / "r.xml").getroot().iter("failure")
    assert any("'y'" in (failure.get("message") or "") for failure in failures)


def test_the_failure_of_a_target_publishes_none(here, small_onnx):
    recipe = here.recipe(
        f"""
        model: {small_onnx}
        targets:
          good: {{steps: [optimize], publish: {{to: triton, name: good}}}}
          bad: {{steps: [int8-dynamic], parity: {{rtol: 0, atol: 0}}, publish: {{to: triton, name: bad}}}}
        """
    )
    out, err = here.mlconvert(5, "run", recipe, "--report", "r.json")
    report = json.loads((here.folder / "r.json").read_text())
    good, bad = report["targets"]
    assert good["ok"]
    assert "another target" in good["not_published"]
    assert "published" not in good
    assert not bad["ok"]
    assert bad["error"]["where"] == "step 'int8-dynamic' (onnx:int8-dynamic)"
    assert "'y'" in bad["error"]["message"] or "'sum'" in bad["error"]["message"]
    assert here.listed() == ["build/recipe/good/model.onnx", "build/recipe/good/record.json", "r.json"]
    assert "not published" in out + err

    here.report(0, "run", recipe, "--target", "good")
    assert (here.folder / "build/recipe/repository/good/1/model.onnx").is_file()
    assert not (here.folder / "build/recipe/repository/bad").exists()


def test_a_conversion_that_fails_leaves_what_other_targets_made(here):
    recipe = here.recipe(
        """
        model: model.toy
        targets:
          good: {steps: [toybin]}
          bad: {steps: [crash, toybin]}
        """
    )
    report = here.report(4, "run", recipe, "--jobs", "2")
    assert [target["ok"] for target in report["targets"]] == [True, False]
    assert report["targets"][1]["error"]["where"].startswith("step 'crash'")
    assert here.listed() == ["build/recipe/good/model.toybin", "build/recipe/good/record.json"]


def test_a_run_that_fails_leaves_the_earlier_result(here):
    here.report(0, *convert())
    before = (here.folder / "out" / "model.toybin").read_bytes()
    here.report(5, *convert("--set", "scale=2"))
    assert (here.folder / "out" / "model.toybin").read_bytes() == before
    assert here.listed() == ["out/model.toybin", "out/record.json"]


@pytest.mark.parametrize("limit", ["time: 1s", "memory: 128MiB"])
def test_the_limits_of_a_recipe_hold(here, limit):
    fault = "hang" if "time" in limit else "hoard"
    recipe = here.recipe(
        f"""
        model: model.toy
        limits: {{{limit}}}
        targets:
          t: {{steps: [{fault}, toybin], parity: false}}
        """
    )
    (target,) = here.report(9, "run", recipe)["targets"]
    assert target["error"]["error"] == "OutOfResources"
    assert "limit" in target["error"]["message"]
    assert f"step '{fault}'" in target["error"]["where"]
    assert here.listed() == []


# --- what is refused before the work ---


def refused(here: Here, *arguments: str | Path) -> str:
    """A command that ends with 2 and runs no step."""
    _, err = here.mlconvert(2, *arguments)
    assert "…" not in err, "a step was started"
    assert not (here.folder / "cache").exists()
    assert here.listed() == []
    return err


@pytest.mark.parametrize("option", ["--rtol", "--atol"])
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_tolerances_that_are_none(here, option, value):
    assert option.removeprefix("--") in refused(here, *convert(option, value))


def test_options_of_a_step_that_is_not_made(here):
    recipe = here.recipe(
        """
        model: model.toy
        targets:
          t: {steps: [{toy: {delay: 3}}, toybin]}
        """
    )
    assert "no step is made, so its options are for nothing" in refused(here, "run", recipe)


def test_a_format_that_nothing_runs_cannot_be_verified(here):
    told = refused(here, "convert", "model.toy", "--to", "toynote", "-o", "out")
    assert "nothing here runs the format 'toynote'" in told


@pytest.mark.parametrize("report", ["out/r.json", "out/deep/r.md", "m.toybin.json", "source.json", "link.json"])
def test_a_report_among_the_models(here, report):
    """It would be lost with the next run, or the model with this one."""
    source = here.folder / "source.json"
    source.write_text("TOY 1\n1 2 3\n")
    (here.folder / "link.json").symlink_to("source.json")
    out = "m.toybin" if "toybin" in report else "out"
    command = ["convert", "source.json", "--to", "toybin", "-o", out, "--report", report]
    assert "name another file" in here.mlconvert(2, *command)[1]
    here.mlconvert(2, *command, "--set", "scael=3")  # a report of what ends before the plan is made
    assert source.read_text() == "TOY 1\n1 2 3\n"
    assert not (here.folder / "m.toybin").exists()


def test_a_link_is_not_replaced_by_a_folder(here):
    (here.folder / "real").mkdir()
    (here.folder / "out").symlink_to("real")
    _, err = here.mlconvert(2, *convert())
    assert "out is a link" in err
    assert "out/model" in err
    assert (here.folder / "out").is_symlink()
    here.report(0, *convert(out="out/model"))
    assert here.listed("out") == ["real/model/model.toybin", "real/model/record.json"]


@pytest.mark.parametrize(
    ("publish", "message"),
    [
        ("{to: triton, name: m, options: {max_batchsize: 4}}", "Did you mean 'max_batch_size'?"),
        ("{to: triton, name: m, options: {instances: many}}", "instances='many' is not valid: expected integer"),
        ("{to: triton, name: other}", "both published as 'other'"),
        ("{to: triton, name: m, sign: my.pem}", "my.pem cannot be read: No such file"),
        ("{to: triton, name: m, repository: build/recipe/second}", "lies where the repository"),
        ("{to: triton, name: m, repository: build/recipe/first/models}", "lies where the repository"),
    ],
    ids=["unknown option", "wrong value", "one name twice", "no key", "a target's folder", "in a target's folder"],
)
def test_what_could_not_be_published(here, small_onnx, publish, message):
    recipe = here.recipe(
        f"""
        model: {small_onnx}
        targets:
          first: {{steps: [optimize], publish: {publish}}}
          second: {{steps: [optimize], publish: {{to: triton, name: other}}}}
        """
    )
    assert message in refused(here, "run", recipe)


def test_a_recipe_that_signs_what_it_publishes(here, small_onnx, keys):
    recipe = here.recipe(
        f"""
        model: {small_onnx}
        targets:
          t: {{steps: [optimize], publish: {{to: triton, name: m, repository: models, sign: {keys}/ours.pem}}}}
        """
    )
    report = here.report(0, "run", recipe)
    assert report["targets"][0]["published"]["signed"]
    here.mlconvert(0, "verify", "models/m/1", "--signature", str(keys / "ours.pub"))
    (here.folder / "models/m/1/model.onnx").write_bytes(b"other")
    assert (
        "'model.onnx' was changed"
        in here.mlconvert(8, "verify", "models/m/1", "--signature", str(keys / "ours.pub"))[1]
    )


def test_a_format_that_the_server_does_not_take(here):
    recipe = here.recipe(
        """
        model: model.toy
        targets:
          t: {steps: [toybin], publish: {to: triton, name: m}}
        """
    )
    assert "target 't' ends in toybin; Triton Inference Server takes onnx" in refused(here, "run", recipe)


# --- the cache ---


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_step_that_two_targets_share_may_be_too_large_for_the_cache(here, monkeypatch, jobs):
    monkeypatch.setattr(cache, "LARGE", 8)
    monkeypatch.setenv("MLCONVERT_CACHE_BYTES", "16")
    recipe = here.recipe(
        """
        model: model.toy
        targets:
          plain: {steps: [toybin]}
          rounded: {steps: [toybin, round]}
          apart: {steps: [toybin, split]}
        """
    )
    for _ in range(2):
        report = here.report(0, "run", recipe, "--jobs", jobs)
        first = [target["steps"][0] for target in report["targets"]]
        assert [step["cached"] for step in first].count(False) <= 1
    for name in ("plain", "rounded", "apart"):
        here.report(0, "verify", f"build/recipe/{name}")
    assert (here.folder / "build/recipe/apart/model.toybin.data").is_file()


def test_a_result_too_large_for_the_cache_is_found_where_it_was_placed(here, monkeypatch):
    monkeypatch.setattr(cache, "LARGE", 8)
    assert cached(here.report(0, *convert())) == [False]
    assert cached(here.report(0, *convert())) == [True]
    # Another record for the same file: it is moved out of its own place and back into it.
    assert cached(here.report(0, *convert("--rtol", "0.5"))) == [True]
    here.report(0, "verify", "out")
    assert record_of(here.folder / "out" / "record.json")["tolerances"]["rtol"] == 0.5
    # Elsewhere it is not found, and made again.
    assert cached(here.report(0, *convert(out="elsewhere"))) == [False]
    shutil.rmtree(here.folder / "out")
    assert cached(here.report(0, *convert())) == [False]
    here.report(0, "verify", "out")


def test_the_code_of_a_plugin_is_part_of_the_key(here):
    plugin = here.folder / "plugin"
    shutil.copytree(PLUGIN, plugin, ignore=shutil.ignore_patterns("__pycache__"))
    environment = dict(os.environ, PYTHONPATH=str(plugin), PYTHONDONTWRITEBYTECODE="1")

    def run() -> list[bool]:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *convert("--json")], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return cached(json.loads(done.stdout))

    assert [run(), run()] == [[False], [True]]
    with (plugin / "mlconvert_toy" / "files.py").open("a") as stream:
        stream.write("\n# changed\n")
    assert [run(), run()] == [[False], [True]]


def test_a_damaged_cache_is_made_anew(here):
    here.report(0, *convert())
    kept = list((here.folder / "cache").glob("??/*/files/model.toybin"))
    assert kept
    for path in kept:
        path.write_bytes(b"TOYBIN1\n" + bytes(24))
    assert cached(here.report(0, *convert(out="again"))) == [False]
    assert (here.folder / "again" / "model.toybin").read_bytes() == (here.folder / "out" / "model.toybin").read_bytes()


def test_another_filename_is_another_result(here):
    here.report(0, *convert(out="a.toybin"))
    here.report(0, *convert("--via", "split", out="b.toybin"))
    here.report(0, *convert("--via", "split", out="c.toybin"))
    assert (here.folder / "c.toybin.data").read_bytes() == (here.folder / "b.toybin.data").read_bytes()
    here.report(0, "verify", "c.toybin")


HELPER = """
import torch

def halved(x):
    return x / 2
"""
ANOTHER = """
import torch

def halved(x):
    return x / 2 if torch.compiler.is_exporting() else x / 3
"""
NETWORK = """
import torch
from helper import halved

class Halving(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return halved(x)

def build():
    return Halving()
"""


def test_a_module_that_the_factory_imports_is_part_of_the_key(here):
    """Though the changed module makes the very same ONNX file, the source's own answers are others now."""
    (here.folder / "network.py").write_text(NETWORK)
    (here.folder / "helper.py").write_text(HELPER)
    np.savez(here.folder / "rows.npz", x=np.arange(12, dtype=np.float32).reshape(4, 3))
    command = ["convert", "network.py:build", "--to", "onnx", "-o", "out", "--samples", "rows.npz"]
    here.report(0, *command)
    assert cached(here.report(0, *command)) == [True]
    (here.folder / "helper.py").write_text(ANOTHER)
    report = here.report(5, *command)
    assert cached(report) == [False]
    assert "'output'" in report["targets"][0]["error"]["message"]


def test_what_was_made_on_trust_is_not_handed_out_without_it(here):
    """Nor is what was read from it: samples, answers and comparisons have keys with the trust in them."""
    import pickle

    from sklearn.linear_model import LinearRegression

    rows = np.random.default_rng(2).normal(size=(20, 3))
    (here.folder / "model.pkl").write_bytes(pickle.dumps(LinearRegression().fit(rows, rows.sum(axis=1))))
    here.report(0, "convert", "model.pkl", "--to", "onnx", "-o", "out", "--trust")
    for command in (
        ["convert", "model.pkl", "--to", "onnx", "-o", "out"],
        ["verify", "model.pkl", "out"],
        ["samples", "model.pkl", "-o", "rows.npz"],
    ):
        assert "--trust" in "".join(here.mlconvert(2, *command))
    here.report(0, "verify", "model.pkl", "out", "--trust")
    assert not (here.folder / "rows.npz").exists()


# --- records ---


def test_without_verification_nothing_is_run_and_nothing_is_claimed(here):
    out, err = here.mlconvert(0, *convert("--no-verify"))
    assert "samples" not in err
    assert "reference" not in err
    assert "not verified" in out
    record = record_of(here.folder / "out" / "record.json")
    assert (record["parity"], record["rows"], record["tolerances"]) == (None, None, None)
    assert "made without verification" in here.mlconvert(2, "verify", "out")[1]
    (step,) = here.report(0, *convert("--no-verify"))["targets"][0]["steps"]
    assert step["parity"] is None
    # Verified later, the very same file gets the record that it lacked.
    here.report(0, *convert())
    here.report(0, "verify", "out")


def test_a_format_that_nothing_runs_can_be_made_unverified(here):
    report = here.report(0, "convert", "model.toy", "--to", "toynote", "-o", "note.toynote", "--no-verify")
    assert (here.folder / "note.toynote").read_text() == "1.5 and -2 and 0.123457"
    assert report["targets"][0]["steps"][0]["parity"] is None
    assert record_of(here.folder / "note.toynote.json")["signature"] is None


@pytest.mark.parametrize(("rows", "kept"), [(100, 32), (5, 5)])
def test_a_record_keeps_32_rows(here, rows, kept):
    np.savez(here.folder / "rows.npz", x=np.random.default_rng(0).normal(size=(rows, 2)))
    here.report(0, *convert("--samples", "rows.npz"))
    record = record_of(here.folder / "out" / "record.json")
    assert record["rows"]["count"] == kept
    assert record["parity"]["samples"] == rows
    (step,) = here.report(0, "verify", "out")["targets"][0]["steps"]
    assert step["parity"]["samples"] == kept


@pytest.mark.parametrize(("width", "kept"), [(100_000, 5), (600_000, 0)])
def test_a_record_keeps_fewer_rows_where_32_would_be_too_large(here, width, kept):
    here.write_model(*[1] * width, 0)
    np.savez(here.folder / "rows.npz", x=np.zeros((8, width)))
    here.report(0, *convert("--samples", "rows.npz"))
    rows = record_of(here.folder / "out" / "record.json")["rows"]
    assert (rows["count"] if rows else 0) == kept
    assert (here.folder / "out" / "record.json").stat().st_size < 6 << 20
    if kept:
        here.report(0, "verify", "out")
    else:
        assert "a row was too large to keep" in here.mlconvert(2, "verify", "out")[1]


def test_the_record_tells_how_it_was_made(here):
    report = here.report(0, *convert("--via", "round", "--set", "round.digits=11", "--atol", "0.001"))
    record = record_of(here.folder / "out" / "record.json")
    size = (here.folder / "model.toy").stat().st_size
    assert {**record["source"], "bytes": size} == report["source"]
    assert record["sha256"] == report["targets"][0]["sha256"]
    assert [(step["converter"], step["options"]) for step in record["steps"]] == [
        ("toy->toybin", {}),
        ("toybin:round", {"digits": 11}),
    ]
    assert record["tolerances"]["atol"] == 0.001
    assert set(record["environment"]["packages"]) >= {"mlconvert", "numpy"}


# --- outputs ---


def test_a_changed_source_replaces_the_result(here):
    first = here.report(0, *convert())
    here.write_model(3, 4, 5)
    second = here.report(0, *convert())
    assert cached(second) == [False]
    assert second["source"]["sha256"] != first["source"]["sha256"]
    assert second["targets"][0]["sha256"] != first["targets"][0]["sha256"]
    assert here.listed() == ["out/model.toybin", "out/record.json"]
    here.report(0, "verify", "model.toy", "out")


def test_a_file_has_its_record_and_its_data_beside_it(here):
    (here.folder / "models").mkdir()
    (here.folder / "models" / "notes.txt").write_text("mine")
    here.report(0, *convert("--via", "split", out="models/m.toybin"))
    assert here.listed() == [
        "models/m.toybin",
        "models/m.toybin.data",
        "models/m.toybin.json",
        "models/notes.txt",
    ]
    here.report(0, "verify", "models/m.toybin")
    here.report(0, "verify", "model.toy", "models/m.toybin")
    # Without the data now: that of before goes with the model that it belonged to.
    here.report(0, *convert(out="models/m.toybin"))
    assert here.listed() == ["models/m.toybin", "models/m.toybin.json", "models/notes.txt"]
    here.report(0, "verify", "models/m.toybin")


def test_a_folder_is_the_model_s_own(here):
    here.report(0, *convert("--via", "split", out="deep/folder"))
    assert here.listed() == [
        "deep/folder/model.toybin",
        "deep/folder/model.toybin.data",
        "deep/folder/record.json",
    ]
    here.report(0, *convert(out="deep/folder"))
    assert here.listed() == ["deep/folder/model.toybin", "deep/folder/record.json"]
    shutil.move(here.folder / "deep" / "folder", here.folder / "moved")
    here.report(0, "verify", "moved")


def test_files_of_results_can_be_read_by_others(here):
    umask = os.umask(0o022)
    try:
        here.report(0, *convert("--via", "split"))
        here.report(0, *convert("--via", "split", out="m.toybin"))
    finally:
        os.umask(umask)
    for name in here.listed():
        assert (here.folder / name).stat().st_mode & 0o777 == 0o644, name
    assert (here.folder / "out").stat().st_mode & 0o777 == 0o755


def test_without_an_output_it_is_the_source_s_stem_here(here):
    (here.folder / "models").mkdir()
    shutil.move(here.folder / "model.toy", here.folder / "models" / "net.toy")
    report = here.report(0, "convert", "models/net.toy", "--to", "toybin")
    assert report["targets"][0]["path"] == "net/model.toybin"
    assert here.listed() == ["models/net.toy", "net/model.toybin", "net/record.json"]


def test_out_says_where_the_targets_of_a_recipe_go(here):
    recipe = here.recipe(
        """
        model: model.toy
        targets:
          one: {steps: [toybin]}
          two: {steps: [toybin, round]}
        """
    )
    here.report(0, "run", recipe, "--out", "somewhere/else", "--target", "two")
    assert here.listed() == ["somewhere/else/two/model.toybin", "somewhere/else/two/record.json"]
    here.report(0, "run", recipe, "--out", "somewhere/else")
    assert "somewhere/else/one/model.toybin" in here.listed()


# --- the plan, and what is printed ---


def test_via_names_formats_and_passes_in_order(here):
    arguments = ["convert", "model.toy", "--to", "toybin", "--via", "copy", "--via", "round", "--via", "split"]
    report = here.report(0, *arguments, "-o", "out")
    steps = [step["converter"] for step in report["targets"][0]["steps"]]
    assert steps == ["toy:copy", "toy->toybin", "toybin:round", "toybin:split"]
    assert all(step["parity"]["ok"] for step in report["targets"][0]["steps"])
    err = here.mlconvert(2, "convert", "model.toy", "--to", "toybin", "--via", "rond", "-o", "x")[1]
    assert "Did you mean 'round'?" in err
    assert "no route" in here.mlconvert(2, "convert", "model.toy", "--to", "toy", "--via", "round", "-o", "x")[1]


def test_a_dry_run_shows_the_plan_and_does_nothing(here):
    recipe = here.recipe(
        """
        model: model.toy
        targets:
          t: {steps: [toybin, {round: {digits: 9}}]}
          u: {steps: [toybin], parity: false}
        """
    )
    out, err = here.mlconvert(0, "run", recipe, "--dry-run")
    assert err == ""
    for part in ("model.toy (toy)", "1. toybin", "2. round", "digits=9", "each step", "build/recipe/t/model.toybin"):
        assert part in out
    out, _ = here.mlconvert(0, "run", recipe, "--dry-run", "--json", "--target", "t")
    plan = json.loads(out)
    assert plan["schema"] == "mlconvert.plan/1"
    (target,) = plan["targets"]
    assert target["name"] == "t"
    assert target["verify"] is True
    assert [(step["converter"], step["options"]) for step in target["steps"]] == [
        ("toy->toybin", {"scale": 1.0}),
        ("toybin:round", {"digits": 9}),
    ]
    here.mlconvert(2, "run", recipe, "--dry-run", "--target", "v")
    assert here.listed() == []
    assert not (here.folder / "cache").exists()


def test_with_json_stdout_is_the_report_alone(here):
    out, err = here.mlconvert(0, *convert("--via", "chatter", "--json"))
    assert out.lstrip().startswith("{")
    assert json.loads(out)["ok"]
    assert "said" not in out + err
    assert "chatter" in err


def test_reports_say_the_same_in_every_form(here):
    out, err = here.mlconvert(0, *convert("--report", "r/r.json", "--report", "r.md", "--report", "r.xml"))
    assert json.loads((here.folder / "r" / "r.json").read_text())["ok"]
    assert (here.folder / "r.md").read_text().startswith("#")
    suites = ET.parse(here.folder / "r.xml").getroot()
    assert [suites.get(key) for key in ("failures", "errors")] == ["0", "0"]
    assert "report: r.md" in err
    assert "verified" in out


def test_progress_is_plain_lines_where_there_is_no_terminal(here):
    _, err = here.mlconvert(0, *convert())
    assert "\x1b" not in err
    lines = err.splitlines()
    assert [line.split()[0] for line in lines].count("✓") == 4  # samples, toybin, reference, verify
    _, err = here.mlconvert(0, *convert())
    assert all(line.endswith("cached") for line in err.splitlines() if line.startswith("✓"))
