"""The HTML report as text: what it says, and that nothing from elsewhere is ever taken for markup."""

from __future__ import annotations

import copy
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.errors import UsageError
from mlconvert.report import findings, html, numbers, write_report
from mlconvert.report.contents import failed_report
from mlconvert.report.html import bench, outputs, route
from mlconvert.report.html.elements import document, element

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in (HERE / "golden").glob("*.json"))
VOID = {"meta", "br"}


def load(name):
    return json.loads((HERE / "golden" / f"{name}.json").read_text(encoding="utf-8"))


def measured():
    return json.loads((HERE / "benches" / "measured.json").read_text(encoding="utf-8"))


class Page(HTMLParser):
    """Every tag must be closed in its turn; `words` is what is read, `tags` what there is, `marks` its attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.marks, self.said = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []
        self.words = " ".join(" ".join(self.said).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.marks += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.said.append(data)


def read(report):
    return Page(html.render(report))


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_whole_and_says_the_verdict_first(name):
    page = read(load(name))
    head = {"verified": "✓ verified", "comparison": "✓ verified", "not_verified": "○ not verified"}
    assert f"mlconvert {head.get(name, '✗ failed (exit code ')}" in page.words
    assert {"html", "main", "h1", "title", "svg"} <= set(page.tags)
    assert "script" not in page.tags
    assert ("lang", "en") in page.marks


@pytest.mark.parametrize("name", NAMES)
def test_a_page_names_no_place_to_load_from(name):
    for mark, value in read(load(name)).marks:
        assert mark not in ("src", "srcset", "action", "data", "background", "xlink:href"), value
        assert mark != "href" or value.startswith("#target-")
        assert not mark.startswith("on")
    assert "url(" not in html.render(load(name))
    assert "@import" not in html.render(load(name))


def test_what_a_failure_tells():
    words = read(load("failed")).words
    assert "3 of 256 labels of output 'label' differ" in words
    assert "the output 'embedding' is missing" in words
    assert "another target of the recipe failed" in words  # why the other one was not published
    assert "13 of 512" in words
    crashed = read(load("crashed")).words
    assert "ConversionFailed" in crashed
    assert "log: cache/failed" in crashed
    assert "stopped" in crashed


def test_outputs_that_differ_come_first():
    report = load("failed")
    rows = report["targets"][0]["steps"][1]["parity"]["outputs"]
    rows[0] |= {"ok": True, "reason": None}
    report["targets"][0]["steps"][0]["parity"] = None
    words = read(report).words
    assert words.index("probabilities ✗ differs") < words.index("label ✓ holds")


def test_parity_that_proves_nothing_is_no_pass():
    report = load("verified")
    report["targets"][0]["steps"][-1]["parity"]["samples"] = 0
    words = read(report).words
    assert "mlconvert ✗ failed" in words
    assert "it proves nothing" in words


def test_a_report_of_before_the_spread_is_shown_all_the_same():
    report = load("failed")
    for target in report["targets"]:
        for step in target["steps"]:
            for output in (step["parity"] or {"outputs": []})["outputs"]:
                output.pop("worst", None)
                output.pop("spread", None)
    assert "13 of 512" in read(report).words


def test_the_report_of_a_run_that_ended_before_its_first_step():
    report = failed_report("recipe.yaml", UsageError("no rows.csv", where="recipe.yaml:3:1", hint="mend it"))
    words = read(report).words
    assert "recipe.yaml (not recognised)" in words
    assert "UsageError in recipe.yaml:3:1 no rows.csv To mend it: mend it" in words


# --- the spread and the worst rows ---


def test_the_spread_says_each_decade_and_where_the_tolerance_lies():
    words = read(load("failed")).words
    assert "exactly alike 301 (59.0 %)" in words
    assert "1e-05 to 1e-04 has atol 20 (3.9 %)" in words
    assert "1e-01 to 1e+00 1 (0.2 %)" in words


def test_a_wide_spread_is_told_in_few_bars():
    rows = list(outputs._decades(-320, [1] * 100))
    assert len(rows) <= 12
    assert sum(count for _, _, count in rows) == 100
    assert rows[0][:2] == (-320, -311)


def test_where_all_errors_are_zero_there_is_no_spread_to_draw():
    output = {"spread": {"elements": 3, "zeros": 3, "lowest": None, "counts": []}, "elements": 3}
    assert outputs.spread(output, 1e-5) is None


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_shares_are_never_rounded_to_none_or_all(count, more):
    text = outputs._percent(count, count + more)
    assert (text == "0 %") == (count == 0)
    assert not text.startswith(("100", "0.0"))
    assert outputs._percent(more, more) == "100 %"


def test_worst_rows_show_as_many_digits_as_it_takes():
    words = read(load("failed")).words
    assert "[7, 0] 0.5 nan -" in words
    assert "[90, 0] 0.625 0.375 0.25" in words
    report = load("verified")
    report["targets"][0]["steps"][-1]["parity"]["outputs"][1]["worst"] = [
        {"index": [3, 1], "reference": 0.19875416589283124, "candidate": 0.19875416589283157, "abs": 3.3e-16}
    ]
    assert "[3, 1] 0.19875416589283124 0.19875416589283157 3.3e-16" in read(report).words


def test_rows_that_were_made_on_boundaries_are_called_that():
    report = load("failed")
    parity = report["targets"][0]["steps"][1]["parity"]
    parity |= {"samples": 256, "boundary_samples": 200}
    words = read(report).words
    assert "[90, 0] on a boundary 0.625" in words
    assert "[31, 0] 0.25" in words
    assert "[40] 0 1" in words


# --- the route ---


def test_the_route_is_told_in_words_too():
    told = [value for mark, value in read(load("verified")).marks if mark == "aria-label"]
    assert len(told) == 2  # the drawing for a wide screen and the one for a narrow one
    for each in told:
        assert each.startswith("Route: lightgbm (the source), then onnx (verified, 1.2 s), then optimize (verified, ")
        assert each.endswith("then triton (breast_cancer, version 3)")
    told = [value for mark, value in read(load("comparison")).marks if mark == "aria-label"]
    assert "compared with" in told[0]


def test_the_route_of_an_ensemble_begins_with_its_models():
    report = load("verified")
    step = report["targets"][0]["steps"][0] | {"converter": "ensemble"}
    report["source"]["format"] = report["targets"][0]["format"] = "ensemble"
    report["targets"][0]["steps"] = [step]
    assert [box.name for box in route.boxes(report, report["targets"][0])][:2] == ["its models", "ensemble"]


@given(st.lists(st.text(max_size=80), min_size=1, max_size=12))
def test_boxes_lie_apart_and_within_the_picture(names):
    row = [route.Box(name, "the source") for name in names]
    for drawn, widest in ((route._across(row, ""), 946), (route._downwards(row, ""), 340)):
        width, height = float(drawn.get("width")), float(drawn.get("height"))
        assert width <= widest
        boxes = [tuple(float(box.get(key)) for key in ("x", "y", "width", "height")) for box in drawn.iter("rect")]
        assert len(boxes) == len(names)
        for index, (x, y, wide, high) in enumerate(boxes):
            assert 0 < x < x + wide < width
            assert 0 < y < y + high < height
            for other_x, other_y, other_wide, other_high in boxes[:index]:
                assert x > other_x + other_wide or other_x > x + wide or y > other_y + other_high


# --- sizes ---


def test_sizes_are_told_as_ratios_of_the_source():
    report = load("verified")
    words = read(report).words
    bytes_ = report["targets"][0]["bytes"]
    assert f"{numbers.size(bytes_)}, {bytes_ / report['source']['bytes']:.2g} x the source" in words
    del report["source"]["bytes"]
    assert "Size of the files" not in read(report).words


# --- every value is a text ---

NASTY = st.text(
    st.one_of(st.sampled_from(list("<>&\"'/=`;!-[]{}()\\\n\t\x00\x1b\x9b\u202e\u2028\ud800")), st.characters()),
    max_size=40,
)
ATTACKS = [
    "<script>x()</script>",
    "</style><img src=x onerror=x()>",
    '"><svg onload=x()>',
    "javascript:x()",
    "&lt;b&gt;",
    "--><!--",
    "]]>",
    "\u202e<b>",
]


def _everywhere(value, text):
    """A copy of a report in which every text but those that the page decides by is another."""
    if isinstance(value, dict):
        fixed = ("schema", "converter", "verdict", "measure", "baseline", "baselines")
        return {
            (key if key in KEYS else key + text): item if key in fixed else _everywhere(item, text)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_everywhere(item, text) for item in value]
    return text if isinstance(value, str) and value not in ("inf", "nan") else value


def _keys(value):
    if isinstance(value, dict):
        free = {"packages", "options", "fingerprint"}
        return set(value) | {key for name, item in value.items() if name not in free for key in _keys(item)}
    return {key for item in value for key in _keys(item)} if isinstance(value, list) else set()


KEYS = {key for report in (*map(load, NAMES), measured()) for key in _keys(report)}


@pytest.mark.parametrize("name", [*NAMES, "bench"])
@pytest.mark.parametrize("text", ATTACKS)
def test_no_text_is_taken_for_markup(name, text):
    report = measured() if name == "bench" else load(name)
    report["fingerprint"] = {"cpu": text, text: [text, {"a": [1, text]}], "none": None}
    spoilt = Page(html.render(_everywhere(report, text)))
    plain = Page(html.render(_everywhere(report, "x")))
    assert spoilt.tags == plain.tags
    assert [mark for mark, _ in spoilt.marks] == [mark for mark, _ in plain.marks]


@settings(max_examples=60)
@given(name=NASTY.filter(str.strip), reason=NASTY)
def test_no_name_or_reason_breaks_a_page(name, reason):
    report = copy.deepcopy(load("failed"))
    report["targets"][0]["name"] = report["source"]["path"] = name
    for output in report["targets"][0]["steps"][1]["parity"]["outputs"]:
        output |= {"name": name, "reason": reason}
    text = html.render(report)
    assert not set(text) & set("\x00\x1b\x9b\u202e\t\ud800\r")
    text.encode("utf-8")
    Page(text)


def test_elements():
    made = element("p", "a<b", ["&", element("b", "x"), None], class_="y", aria_label='"q"', hidden=True, open=False)
    assert document(made) == (
        '<!DOCTYPE html>\n<p class="y" aria-label="&quot;q&quot;" hidden="">a&lt;b&amp;<b>x</b>\n</p>\n'
    )


# --- files ---


def test_written_by_its_suffix(tmp_path):
    write_report(load("verified"), tmp_path / "r.HTML")
    assert (tmp_path / "r.HTML").read_text(encoding="utf-8") == html.render(load("verified"))


def test_findings_of_lint_are_not_written_as_html(tmp_path):
    with pytest.raises(UsageError, match=r"not written as \.html"):
        findings.check_path(tmp_path / "r.html")


# --- the bench ---


def test_bench_says_what_each_ratio_is_of_and_what_is_noise():
    report = measured()
    words = Page(html.render(report)).words
    for baseline in report["baselines"]:
        assert f"Against {baseline}: 2 x is twice as fast" in words
    for contestant in report["contestants"]:
        assert bench.microseconds(contestant["one_row"]["p99"]) in words
        for ratio in contestant["ratios"]:
            assert f"{bench._times(ratio['ratio'])} x ({bench._times(ratio['low'])} to" in words
    assert "no difference beyond the noise" in words
    assert report["method"] in words


def test_bench_that_failed_says_why():
    report = measured()
    error = {"error": "ParityFailed", "message": "it answers otherwise", "where": "m.onnx", "hint": None}
    report |= {"ok": False, "exit_code": 5, "error": error, "contestants": [], "artifacts": [], "baselines": []}
    for key in ("settings", "method", "left_out"):
        report.pop(key)
    words = Page(html.render(report)).words
    assert "mlconvert bench ✗ failed (exit code 5)" in words
    assert "ParityFailed in m.onnx it answers otherwise" in words


def test_bench_names_what_was_left_out_and_stands_what_was_not_measured():
    report = measured()
    report["left_out"] = [{"name": "m.jar", "reason": "not installed: pip install x"}]
    unknown = ("one_row", "batch", "cold_start_seconds", "peak_rss_bytes", "bytes")
    report["contestants"][0] |= dict.fromkeys(unknown)
    words = Page(html.render(report)).words
    assert "m.jar not installed: pip install x" in words


def test_bench_of_too_few_starts_has_no_intervals():
    report = measured()
    for contestant in report["contestants"]:
        for row in (contestant["one_row"], contestant["batch"], *contestant["ratios"]):
            row |= {"low": None, "high": None}
    page = Page(html.render(report))
    assert ("class", "interval") not in page.marks
    assert "(interval not known)" in page.words


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (8.893, "8.89 µs"), (99.96, "100 µs"), (436.7, "437 µs"), (9070.7, "9.07 ms"), (1.2e6, "1.2 s")],
)
def test_microseconds(value, text):
    assert bench.microseconds(value) == text
