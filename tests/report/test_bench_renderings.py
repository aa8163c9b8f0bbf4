"""A benchmark as text, Markdown and a picture: what stands in it, whatever its names and figures are."""

from __future__ import annotations

import copy
import io
import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema.validators import Draft202012Validator
from rich.console import Console

from mlconvert.report.bench import SCHEMA, figures, markdown, svg, terminal

SVG = "{http://www.w3.org/2000/svg}"
VERDICTS = ("faster", "slower", "no difference beyond the noise")


def ratio(measure, baseline, value, verdict="faster"):
    low, high = (0.9 * value, 1.1 * value)
    return {"measure": measure, "baseline": baseline, "ratio": value, "low": low, "high": high, "verdict": verdict}


def contestant(name, p50, *, role="artifact", ratios=(), batch=1e6, **changes):
    batch = batch and {
        "rows": 1000, "rows_per_second": batch, "low": 0.9 * batch, "high": 1.1 * batch,
        "seconds": 1000 / batch, "calls": 9, "rounds": [[1000 / batch]],
    }  # fmt: skip
    return {
        "name": name, "path": name.partition(",")[0], "format": "onnx", "call": "session.run", "role": role,
        "one_row": {"unit": "microseconds", "p50": p50, "low": 0.98 * p50, "high": 1.02 * p50, "p90": 1.1 * p50,
                    "p99": None, "calls": 50, "rounds": [[p50]]},
        "batch": batch, "cold_start_seconds": 0.0741, "peak_rss_bytes": 70 << 20, "bytes": 79842,
        "ratios": list(ratios), **changes,
    }  # fmt: skip


def report(*contestants):
    parity = {"samples": 512, "boundary_samples": 256, "ok": True, "outputs": [{"max_abs": 1.5e-7}]}
    place = {"path": "model.onnx", "format": "onnx", "sha256": "ab" * 32, "bytes": 79842}
    return {
        "schema": "mlconvert.bench/1", "ok": True, "exit_code": 0,
        "source": {**place, "path": "model.skops", "format": "sklearn"},
        "artifacts": [{**place, "parity": parity}],
        "settings": {"threads": 1, "cpus": [1], "starts": 3, "rounds": 5, "batch_rows": 1000, "samples": 512,
                     "samples_file": "rows.csv", "samples_sha256": "cd" * 32, "clock_nanoseconds": 40},
        "contestants": list(contestants),
        "left_out": [{"name": "model.onnx, IO binding", "reason": "it holds strings"}],
        "baselines": [one["name"] for one in contestants if one["role"] == "source"],
        "method": "Contestants take turns.", "environment": {"python": "3.11", "platform": "Linux", "packages": {}},
        "fingerprint": None, "seconds": 12.0,
    }  # fmt: skip


FRAME, ARRAY = "model.skops, data frame", "model.skops, array"
TWO = report(
    contestant(FRAME, 777.0, role="source", ratios=[ratio("one_row", ARRAY, 0.94, VERDICTS[2])]),
    contestant(ARRAY, 729.0, role="source", ratios=[ratio("one_row", FRAME, 1.066, VERDICTS[2])]),
    contestant("model.onnx, run", 38.9, ratios=[ratio("one_row", FRAME, 19.97), ratio("one_row", ARRAY, 18.7)]),
    contestant("triton", 950.0, ratios=[ratio("one_row", FRAME, 0.82, "slower")], batch=None, bytes=None,
               cold_start_seconds=None, peak_rss_bytes=None),
)  # fmt: skip


def on_terminal(data, width=80):
    stream = io.StringIO()
    terminal.render(data, Console(file=stream, width=width, force_terminal=True, color_system=None))
    return stream.getvalue()


def test_these_reports_are_valid():
    check = Draft202012Validator(json_schema())
    check.validate(TWO)


def json_schema():
    import json

    return json.loads(SCHEMA.read_text())


def test_the_terminal_says_what_each_ratio_is_against():
    text = on_terminal(TWO)
    assert max(map(len, text.splitlines())) <= 80
    rows = {line.strip() for line in text.splitlines()}
    assert "vs [1]: times as fast as model.skops, data frame" in rows
    assert "vs [2]: times as fast as model.skops, array" in rows
    assert re.search(r"model.onnx, run +38.9 +2 % +42.8 +- +20.0 x +18.7 x\n", text)
    assert re.search(r"model.skops, array +729 +2 % +802 +- +~1.07 x +1 x\n", text)
    assert "~: no difference beyond the noise" in text
    assert "left out: model.onnx, IO binding: it holds strings" in text
    assert re.search(r"triton +- +- +-\n", text)


def test_markdown_has_the_same_figures_and_the_method():
    text = markdown.render(TWO)
    assert "| `model.onnx, run` | 38.9 | 38.1 to 39.7 | 42.8 | - | 20.0 x | 18.7 x |" in text
    assert "Contestants take turns." in text
    assert "| `triton` | 950 |" in text.partition("## Batches")[0]
    assert "`triton`" not in text.partition("## Batches")[2].partition("## To the first")[0]


def test_the_picture_says_in_words_what_it_shows():
    root = ET.fromstring(svg.render(TWO))
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text == "Benchmark of model.skops"
    assert "model.onnx, run: 38.9 µs (20.0 x)" in root.find(f"{SVG}desc").text
    assert "x: times as fast as model.skops, data frame" in [one.text for one in root.iter(f"{SVG}text")]
    assert not [one for one in root.iter() if one.tag.endswith(("script", "image", "a"))]
    assert "http" not in svg.render(TWO).replace("http://www.w3.org/2000/svg", "")


def test_longer_times_have_longer_bars():
    root = ET.fromstring(svg.render(TWO))
    widths = [float(one.get("width")) for one in root.iter(f"{SVG}rect") if one.get("class") != "paper"]
    assert sorted(widths[:4]) == [widths[2], widths[1], widths[0], widths[3]]


names = st.text(min_size=1, max_size=60)
positive = st.floats(1e-3, 1e12)


@given(names, st.lists(st.tuples(names, positive, positive), min_size=1, max_size=4))
def test_any_names_and_figures_can_be_shown(path, rows):
    ones = [
        contestant(name, p50, batch=batch, role="artifact" if index else "source", ratios=[])
        for index, (name, p50, batch) in enumerate(rows)
    ]
    data = {**report(*ones), "left_out": [{"name": path, "reason": path}]}
    data["source"]["path"] = path
    for text in (on_terminal(data), markdown.render(data)):
        assert "\x1b" not in text
        assert "<script" not in text
    root = ET.fromstring(svg.render(data))
    for one in root.iter():
        for key in ("x", "x1", "x2"):
            assert -1 <= float(one.get(key, 0)) <= 2 * svg.WIDTH


def test_names_are_no_markup():
    data = copy.deepcopy(TWO)
    data["contestants"][0]["name"] = data["baselines"][0] = '</text><script>alert(1)</script>|`"'
    root = ET.fromstring(svg.render(data))
    assert not list(root.iter(f"{SVG}script"))
    row = next(line for line in markdown.render(data).splitlines() if "alert" in line and "777" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 8


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (0, "0"), (437.4, "437"), (19.44, "19.4"), (0.8666, "0.867"), (9070.2, "9,070"),
        (106568, "107,000"), (9.999, "10.0"), (0.00123, "0.00123"), (1e-9, "0.000000"),
    ],
)  # fmt: skip
def test_three_digits_count(value, text):
    assert figures.three(value) == text


@given(st.floats(1e-3, 1e12))
def test_three_digits_are_enough(value):
    assert math.isclose(float(figures.three(value).replace(",", "")), value, rel_tol=0.005)


def test_how_wide_an_interval_is():
    assert figures.spread({"low": 90, "high": 130}, 100) == "30 %"
    assert figures.spread({"low": 99.9, "high": 100.1}, 100) == "1 %"
    assert figures.spread({"low": None, "high": None}, 100) == "?"
    assert figures.seconds(0.0741) == "74 ms"
    assert figures.seconds(7.508) == "7.51 s"
    assert figures.seconds(None) == "-"
