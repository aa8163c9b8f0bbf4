"""HTML reports as people get to see them: in a real browser, on a phone and on a wide screen, in light and in dark.

Each page's pictures are left in the tests' temporary folder; `pytest --basetemp=DIR` puts that where you can look.
"""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path

import pytest

from mlconvert.report import html

HERE = Path(__file__).parent
PHONE, DESK = 390, 1280
WIDTHS = {False: (320, PHONE, 768, 980, DESK), True: (PHONE, DESK)}  # in the dark the layout is the same
LONG = "a_name_that_does_not_end_" * 8


def load(path):
    return json.loads((HERE / path).read_text(encoding="utf-8"))


def hostile():
    """Markup in every text that a page shows, names that are long, many outputs, a long route, a fingerprint."""
    report = load("golden/failed.json")
    target = report["targets"][0]
    attack = f"<script>window.hit=1</script><img src=x onerror='window.hit=1'>{LONG}"
    step = target["steps"][1]
    for output in step["parity"]["outputs"]:
        output |= {"name": attack, "reason": attack}
        for row in output.get("worst", ()):
            row |= {"reference": attack, "candidate": attack}
    step["options"] = {attack: attack}
    holds = {**load("golden/verified.json")["targets"][0]["steps"][1]["parity"]["outputs"][1], "name": LONG}
    step["parity"]["outputs"] += [holds] * 8
    target["steps"][1:1] = [{**target["steps"][0], "converter": f"onnx:pass-{index}"} for index in range(9)]
    target["error"] = {"error": "ConversionFailed", "message": attack, "where": f"{attack}\nlog: x", "hint": attack}
    target["name"] = report["source"]["path"] = report["environment"]["platform"] = attack
    report["fingerprint"] = {"host": {"cpu": attack, "sets": ["avx", attack]}, "gpus": [{"name": attack}]}
    return report


def hostile_bench():
    report = load("benches/measured.json")
    report = json.loads(json.dumps(report).replace("lgb100.skops", f"lgb100.skops<script>window.hit=1</script>{LONG}"))
    report["left_out"] = [{"name": LONG, "reason": LONG}]
    return report


REPORTS = {path.stem: copy.copy(load(path)) for path in sorted((HERE / "golden").glob("*.json"))}
REPORTS |= {"bench": load("benches/measured.json"), "hostile": hostile(), "hostile_bench": hostile_bench()}


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, report in REPORTS.items():
        (folder / f"{name}.html").write_text(html.render(report), encoding="utf-8")
    return folder


@pytest.fixture(params=REPORTS)
def page(request, pages):
    return pages / f"{request.param}.html"


UNFOLD = "document.querySelectorAll('details').forEach(one => { one.open = true })"

# What sticks out to the right, by more than the rounding of a pixel.
STICKING_OUT = """[...document.body.querySelectorAll('*')]
  .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5 ||
                 (one.tagName != 'SUMMARY' && one.scrollWidth > one.clientWidth + 1 && one.clientWidth &&
                  getComputedStyle(one).overflowX != 'visible' && !one.closest('thead')))
  .map(one => `${one.tagName} ${one.getAttribute('class')} ${one.textContent.slice(0, 60)}`)"""

# Every text with its contrast against what is painted behind it, after WCAG 2.2 (relative luminance, contrast ratio),
# and its size as it is seen, drawings being scaled.
TEXTS = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  const behind = one => {
    const box = one.closest('svg') && [...one.parentNode.querySelectorAll('rect')]
      .filter(rect => rect.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING).pop()
    if (box) return rgb(getComputedStyle(box).fill)
    for (let up = one; up; up = up.parentElement) {
      const found = rgb(getComputedStyle(up).backgroundColor)
      if (found.length < 4 || found[3] > 0) return found
    }
    return [255, 255, 255]
  }
  return [...document.body.querySelectorAll('*')]
    .filter(one => [...one.childNodes].some(node => node.nodeType == 3 && node.data.trim()) && one.checkVisibility())
    .map(one => {
      const style = getComputedStyle(one), svg = one.closest('svg')
      const scale = svg ? svg.getBoundingClientRect().width / svg.viewBox.baseVal.width : 1
      const [dark, bright] = [light(rgb(svg ? style.fill : style.color)), light(behind(one))].sort((a, b) => a - b)
      return [one.textContent.slice(0, 40), (bright + 0.05) / (dark + 0.05), parseFloat(style.fontSize) * scale]
    })
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_page_can_be_read_everywhere_and_asks_for_nothing(browser, page, dark):
    for width in WIDTHS[dark]:
        browser.open(page, width=width, dark=dark)
        browser.evaluate(UNFOLD)
        assert browser.evaluate("innerWidth") == width
        assert browser.evaluate(STICKING_OUT) == [], width
        texts = browser.evaluate(TEXTS)
        assert len(texts) > 20
        assert [text for text in texts if text[1] < 4.5] == [], width
        assert [text for text in texts if text[2] < 11] == [], width
        assert browser.requests() == [page.as_uri()]
        assert browser.complaints() == []
        assert browser.evaluate("window.hit") is None
        assert browser.evaluate("document.scripts.length + document.images.length") == 0
        if width in (PHONE, DESK):
            browser.picture(page.with_name(f"{page.stem}-{width}-{'dark' if dark else 'light'}.png"))


def test_who_prefers_the_dark_gets_it(browser, pages):
    back = "getComputedStyle(document.body).backgroundColor"
    browser.open(pages / "verified.html", width=PHONE)
    assert browser.evaluate(back) == "rgb(255, 255, 255)"
    browser.open(pages / "verified.html", width=PHONE, dark=True)
    assert browser.evaluate(back) == "rgb(17, 21, 27)"


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_what_is_told_to_who_does_not_see_the_page(browser, page, width):
    browser.open(page, width=width)
    browser.evaluate(UNFOLD)
    told = browser.tree()
    roles = [role for role, _ in told]
    assert roles.count("main") == 1
    headings = browser.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(one => +one.tagName[1])")
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 or (before, after) == (2, 4) for before, after in itertools.pairwise(headings))
    # Drawings have a text; of the two of a route the other one is not told.
    drawings = [name for role, name in told if role in ("image", "img", "graphics-document")]
    assert len(drawings) == browser.evaluate("document.querySelectorAll('.route').length")
    assert all(name.startswith("Route: ") for name in drawings)
    # Tables stay tables where they are shown as cards, with a name and with heads.
    tables = [name for role, name in told if role in ("table", "LayoutTable")]
    assert len(tables) == browser.evaluate("document.querySelectorAll('table').length")
    assert all(tables)
    assert "LayoutTable" not in roles
    heads = browser.evaluate("document.querySelectorAll('tbody th').length")
    assert roles.count("rowheader") == heads
    assert roles.count("columnheader") == browser.evaluate("document.querySelectorAll('thead th').length")


def test_a_phone_gets_the_route_downwards(browser, pages):
    shown = (
        "[...document.querySelectorAll('.route svg')].filter(one => one.checkVisibility()).map(one => one.classList[0])"
    )
    browser.open(pages / "verified.html", width=PHONE)
    assert browser.evaluate(shown) == ["downwards"]
    browser.open(pages / "verified.html", width=DESK)
    assert browser.evaluate(shown) == ["across"]


@pytest.mark.parametrize("name", ["crashed", "hostile"])
def test_the_texts_of_the_boxes_stay_within_them(browser, pages, name):
    over = """[...document.querySelectorAll('.route svg')].filter(one => one.checkVisibility()).flatMap(svg => {
      let box; return [...svg.children].filter(one => {
        if (one.tagName == 'rect') box = one.getBBox()
        const at = one.getBBox()
        return one.tagName == 'text' && (at.x < box.x || at.x + at.width > box.x + box.width)
      }).map(one => one.textContent)})"""
    for width in (PHONE, DESK):
        browser.open(pages / f"{name}.html", width=width)
        assert browser.evaluate(over) == []


def test_bars_are_as_long_as_their_figures_say(browser, pages):
    browser.open(pages / "bench.html", width=DESK)
    drawn = browser.evaluate("""[...document.querySelector('.bars').querySelectorAll('.bar')].map(one => [
      one.querySelector('.fill').getBoundingClientRect().width / one.getBoundingClientRect().width,
      one.querySelector('.interval').getBoundingClientRect().width / one.getBoundingClientRect().width])""")
    rows = [row["one_row"] for row in REPORTS["bench"]["contestants"]]
    longest = max(row["high"] for row in rows)
    for (fill, interval), row in zip(drawn, rows, strict=True):
        assert fill == pytest.approx(row["p50"] / longest, abs=0.01)
        assert interval == pytest.approx((row["high"] - row["low"]) / longest, abs=0.02)


def test_a_report_can_be_printed(browser, pages):
    browser.open(pages / "failed.html", width=768, dark=True, media="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert [text for text in browser.evaluate(TEXTS) if text[1] < 4.5] == []
