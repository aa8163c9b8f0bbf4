from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from mlconvert import report as reports
from mlconvert.artifact import Artifact
from mlconvert.errors import MlconvertError, OutOfResources, UsageError
from mlconvert.java import find_java
from mlconvert.parity.result import OutputParity, Parity
from mlconvert.registry import registry
from mlconvert.report import check_report_path, html, junit, markdown, to_json, write_report
from mlconvert.report.contents import failed_report, report_of

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = json.loads(reports.SCHEMA.read_text(encoding="utf-8"))


@pytest.fixture
def report():
    return json.loads((GOLDEN / "verified.json").read_text(encoding="utf-8"))


# --- the schema ---


def test_schema_is_valid_and_has_no_key_unexplained_by_being_loose():
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["schema"]["const"] == "mlconvert.report/1"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_reports_of_these_tests_follow_the_schema(path):
    Draft202012Validator(SCHEMA).validate(json.loads(path.read_text(encoding="utf-8")))


def test_report_that_mlconvert_builds_follows_the_schema():
    output = OutputParity("x", ok=False, reason="r", dtype="float32", shape=(2, 3), max_abs=float("inf"), elements=6)
    parity = Parity(ok=False, samples=2, rtol=1e-4, atol=1e-5, outputs=(output, OutputParity("y", ok=True)))
    step = {
        "converter": "lightgbm->onnx",
        "options": {"opset": 18},
        "seconds": 1.0,
        "peak_rss_bytes": 1,
        "cached": False,
        "parity": parity.as_json(),
    }
    error = MlconvertError("m", where="w").as_json()
    target = {"name": "t", "path": "p", "format": "onnx", "sha256": None, "bytes": None, "ok": False, "exit_code": 5}
    built = report_of(
        Artifact("lightgbm", "model.txt", ()),
        "0" * 64,
        [{**target, "steps": [step], "error": error}],
        [registry().runner("jar")],
        1.0,
    )
    assert built["environment"]["java"] == find_java().release
    Draft202012Validator(SCHEMA).validate(json.loads(to_json(built)))


@pytest.mark.parametrize("key", ["ok", "source", "targets", "environment", "seconds"])
def test_schema_misses_a_key_that_is_gone_and_refuses_one_that_is_new(report, key):
    assert Draft202012Validator(SCHEMA).is_valid(report)
    assert not Draft202012Validator(SCHEMA).is_valid(report | {"extra": 1})
    del report[key]
    assert not Draft202012Validator(SCHEMA).is_valid(report)


# --- writing ---


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("r.json", "{\n"),
        ("r.md", "# mlconvert: verified\n"),
        ("r.xml", "<?xml "),
        ("r.html", "<!DOCTYPE html>\n"),
        ("R.JSON", "{\n"),
        ("new/folder/r.md", "# "),
    ],
)
def test_the_suffix_decides(report, tmp_path, name, start):
    write_report(report, tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(start)


def test_json_is_the_report_itself(report, tmp_path):
    report["source"]["path"] = "modèle 漢字.txt"
    write_report(report, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8")) == report


@pytest.mark.parametrize("name", ["r.htm", "r.pdf", "r.txt", "r", "r.yaml", ".json"])
def test_other_suffixes_are_refused_before_anything_is_written(report, tmp_path, name):
    with pytest.raises(UsageError) as caught:
        check_report_path(tmp_path / name)
    assert ".json, .md, .xml, .html" in caught.value.hint
    with pytest.raises(UsageError):
        write_report(report, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "r.json").mkdir()
    with pytest.raises(UsageError, match="a folder"):
        check_report_path(tmp_path / "r.json")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_has_no_numbers_that_are_none(report, tmp_path, value):
    report["seconds"] = value
    with pytest.raises(MlconvertError, match="cannot be written as JSON"):
        write_report(report, tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_earlier_report_and_nothing_else(report, tmp_path, monkeypatch):
    path = tmp_path / "r.json"
    path.write_text("earlier")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutOfResources):
        write_report(report, path)
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_wrong_use(report, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(report, tmp_path / "file" / "r.json")


def test_others_may_read_a_report_as_the_umask_has_it(report, tmp_path):
    before = os.umask(0o022)
    try:
        write_report(report, tmp_path / "r.json")
    finally:
        os.umask(before)
    assert (tmp_path / "r.json").stat().st_mode & 0o777 == 0o644


def test_the_report_of_a_run_that_ended_before_its_first_step():
    error = UsageError("the samples' file rows.csv does not exist", where="recipe.yaml:3:1", hint="mend it")
    report = failed_report("recipe.yaml", error)
    assert report["exit_code"] == 2
    assert Draft202012Validator(SCHEMA).is_valid(report)
    for text in (markdown.render(report), junit.render(report), html.render(report), to_json(report)):
        assert "rows.csv does not exist" in text
    assert "pass" not in markdown.render(report)
