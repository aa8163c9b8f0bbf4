"""Markdown, JUnit XML and the terminal, held by golden files: `golden/<name>.json` is the report that they show.

A rendering that differs is written to the test's temporary folder; where the change is meant, copy it over the golden.
"""

from __future__ import annotations

import copy
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from mlconvert.report import junit, markdown, terminal, verdicts

GOLDEN = Path(__file__).parent / "golden"
NAMES = ["comparison", "crashed", "failed", "not_verified", "verified"]


def load(name):
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def on_terminal(report, *, width=80, is_terminal=False, encoding="utf-8", color=None):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=width, force_terminal=is_terminal, color_system=color, legacy_windows=False)
    terminal.render(report, console)
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


RENDERINGS = {"md": markdown.render, "xml": junit.render, "txt": lambda report: on_terminal(report, is_terminal=True)}


def test_the_list_of_reports_is_complete():
    assert sorted(path.stem for path in GOLDEN.glob("*.json")) == NAMES


@pytest.mark.parametrize("suffix", RENDERINGS)
@pytest.mark.parametrize("name", NAMES)
def test_rendering_is_the_golden_one(name, suffix, tmp_path):
    text = RENDERINGS[suffix](load(name))
    made = tmp_path / f"{name}.{suffix}"
    made.write_text(text, encoding="utf-8")
    golden = GOLDEN / made.name
    assert golden.is_file(), f"there is no golden file for it: look at {made}"
    assert text == golden.read_text(encoding="utf-8"), f"differs from {golden.name}: look at {made}"


# --- verdicts: nothing is verified by accident ---


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("verified", "verified"), ("comparison", "verified"), ("not_verified", "not verified"), ("failed", "failed")],
)
def test_verdict_of_report(name, verdict):
    assert verdicts.of_report(load(name)) == verdict


def _no_samples(parity):
    parity["samples"] = 0


def _no_outputs(parity):
    parity["outputs"] = []


def _output_not_ok(parity):
    parity["outputs"][0]["ok"] = False


def _not_ok(parity):
    parity["ok"] = False


@pytest.mark.parametrize("spoil", [_no_samples, _no_outputs, _output_not_ok, _not_ok])
@pytest.mark.parametrize("step", [0, 1])
def test_parity_that_proves_nothing_is_a_failure_everywhere(spoil, step):
    report = load("verified")
    spoil(report["targets"][0]["steps"][step]["parity"])
    assert verdicts.of_report(report) == "failed"
    assert "# mlconvert: failed" in markdown.render(report)
    assert on_terminal(report).startswith("failed")
    root = ET.fromstring(junit.render(report))
    assert int(root.get("failures")) + int(root.get("errors")) >= 1


def test_last_step_without_parity_is_not_verified_though_an_earlier_one_was():
    report = load("verified")
    report["targets"][0]["steps"][-1]["parity"] = None
    assert verdicts.of_report(report) == "not verified"


def test_one_target_that_was_not_verified_makes_the_report_so():
    report = load("verified")
    report["targets"] += load("not_verified")["targets"]
    assert verdicts.of_report(report) == "not verified"


@pytest.mark.parametrize(
    ("errors", "largest"),
    [([None, 1e-7, 3.0], 3.0), ([1e-7, "inf", 3.0], "inf"), (["inf", "nan", 0.0], "nan"), ([None], None), ([], None)],
)
def test_largest_error(errors, largest):
    assert verdicts.largest_error({"outputs": [{"max_abs": error} for error in errors]}) == largest
    assert verdicts.largest_error(None) is None


# --- JUnit ---


def _cases(report):
    return {
        (case.get("classname"), case.get("name")): case for case in ET.fromstring(junit.render(report)).iter("testcase")
    }


def test_junit_counts_are_those_of_its_cases():
    for name in NAMES:
        root = ET.fromstring(junit.render(load(name)))
        for element in [root, *root.iter("testsuite")]:
            cases = list(element.iter("testcase"))
            assert int(element.get("tests")) == len(cases)
            for kind in ("failure", "error", "skipped"):
                attribute = kind if kind == "skipped" else f"{kind}s"
                assert int(element.get(attribute)) == sum(case.find(kind) is not None for case in cases)


def test_junit_step_that_was_not_verified_is_skipped_and_no_pass():
    case = _cases(load("not_verified"))["mlconvert.onnx", "1 onnx / parity"]
    assert case.find("skipped").get("message") == "not verified"


def test_junit_failed_output_says_why_with_figures():
    case = _cases(load("failed"))["mlconvert.float16", "2 float16 / probabilities"]
    failure = case.find("failure")
    assert "NaN or infinite on one side only" in failure.get("message")
    assert "mismatched 13 of 512" in failure.text
    assert "max_abs inf" in failure.text


def test_junit_failed_step_is_an_error():
    case = _cases(load("crashed"))["mlconvert.onnx", "step 'onnx' (lightgbm->onnx)"]
    assert case.find("error").get("type") == "ConversionFailed"
    assert "log: cache/failed" in case.find("error").text


def test_junit_error_of_verification_is_told_beside_passing_outputs():
    report = load("verified")
    report |= {"ok": False, "exit_code": 6}
    report["targets"][0] |= {
        "ok": False,
        "error": {"error": "NotVerified", "message": "no reference", "where": None, "hint": None},
    }
    assert _cases(report)["mlconvert.triton", "conversion"].find("error").get("type") == "NotVerified"


def test_junit_target_that_failed_without_a_reason_is_an_error_all_the_same():
    report = load("verified")
    report["targets"][0]["ok"] = False
    assert ET.fromstring(junit.render(report)).get("errors") == "1"


# --- Markdown ---


def test_markdown_begins_with_the_verdict():
    assert markdown.render(load("verified")).splitlines()[0] == "# mlconvert: verified"
    assert markdown.render(load("failed")).splitlines()[0] == "# mlconvert: failed (exit code 5)"


NASTY = st.text(st.sampled_from(list("ab`|\\*_[]()<>&;#-~1. \n\t\x00\x1b\x9b\u202eé漢")), max_size=30)


@settings(max_examples=60)
@given(name=NASTY.filter(str.strip), reason=NASTY)
def test_no_name_or_reason_breaks_a_document(name, reason):
    report = copy.deepcopy(load("failed"))
    report["targets"][0]["name"] = report["source"]["path"] = name
    for output in report["targets"][0]["steps"][1]["parity"]["outputs"]:
        output |= {"name": name, "reason": reason}
    text = markdown.render(report)
    assert not set(text) & set("\x00\x1b\x9b\u202e\t")
    widths = {}
    for block in text.split("\n\n"):
        rows = block.splitlines()
        if rows[0].startswith("|"):
            cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
            widths.setdefault(tuple(cells), rows)
            assert len(set(cells)) == 1, rows
    ET.fromstring(junit.render(report))
    shown = on_terminal(report, is_terminal=True)
    assert not set(shown) & set("\x00\x1b\x9b\u202e")


def test_markdown_link_in_a_reason_stays_text():
    report = load("failed")
    report["targets"][0]["steps"][1]["parity"]["outputs"][0]["reason"] = "see [this](http://x) <img src=x>"
    assert r"- see [this\](http://x) \<img src=x>" in markdown.render(report)


def test_markdown_shows_a_fingerprint():
    report = load("verified")
    report["fingerprint"] = {"cpu": "x"}
    assert '```json\n{\n"cpu": "x"\n}' in markdown.render(report).replace("  ", "")


# --- the terminal ---


@pytest.mark.parametrize("name", NAMES)
def test_terminal_lines_fit_80_columns(name):
    for line in on_terminal(load(name), is_terminal=True).splitlines():
        assert cell_len(line) <= 80, line


def test_terminal_never_breaks_a_path_or_a_name():
    report = load("comparison")
    report["targets"][0]["path"] = "/".join(["folder"] * 30) + "/model.onnx"
    text = on_terminal(report, width=40, is_terminal=True)
    assert report["targets"][0]["path"] in text
    assert report["targets"][0]["steps"][0]["parity"]["outputs"][0]["name"] in text


def test_plain_lines_where_there_is_no_terminal():
    text = on_terminal(load("failed"), color="auto")
    assert "\x1b" not in text
    reason = load("failed")["targets"][0]["steps"][1]["parity"]["outputs"][1]["reason"]
    assert f"    {reason}\n" in text  # on one line, for who searches a log


def test_terminal_has_colours():
    assert "\x1b[" in on_terminal(load("failed"), is_terminal=True, color="standard")


def test_terminal_without_unicode():
    report = load("verified")
    report["source"]["path"] = "modèle.txt"
    text = on_terminal(report, encoding="ascii")
    assert "lightgbm -> onnx -> optimize" in text
    assert r"mod\xe8le.txt" in text
