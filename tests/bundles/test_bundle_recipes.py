"""The text of a recipe in a bundle: read again, it says the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.bundles.recipes import MARK, placed, publications_in, require_inside, rewritten, unpublished
from mlconvert.errors import UsageError
from mlconvert.recipe import load_recipe
from mlconvert.recipe.document import read_document

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes") / "recipe.yaml"


@given(st.dictionaries(TEXTS, VALUES, max_size=4), TEXTS)
def test_any_value_is_read_as_it_was_written(place, options, text):
    value = {
        "model": {"source": "m.onnx", "from": text},
        "samples": "rows.csv",
        "targets": {"a": {"steps": [{"onnx": options}, "optimize"]}, "b": {"steps": ["onnx"]}},
        "x-more": text,
    }
    written = rewritten(value, ["a"], {("model",): "models/m.onnx"}, "samples/rows.csv", {})
    place.write_text(written, encoding="utf-8")
    document = read_document(place)
    assert document.problems == []
    assert document.value == {
        "model": {"source": "models/m.onnx", "from": text},
        "samples": {"file": "samples/rows.csv"},
        "targets": {"a": {"steps": [{"onnx": options}, "optimize"]}},
    }


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("/opt/a.so", MARK + "files/0/a.so"),
        (["/opt/a.so", "/opt/b.so"], [MARK + "files/0/a.so", "/opt/b.so"]),
        ("/opt/b.so,/opt/a.so", "/opt/b.so," + MARK + "files/0/a.so"),
        ("x=/opt/a.so", "x=/opt/a.so"),
    ],
)
def test_files_of_options(written, found, place):
    value = {"model": "m.onnx", "targets": {"a": {"steps": [{"tensorrt": {"plugins": written}}]}}}
    names = {"/opt/a.so": MARK + "files/0/a.so"}
    place.write_text(rewritten(value, ["a"], {("model",): "m.onnx"}, None, names), encoding="utf-8")
    (step,) = load_recipe(place).targets[0].steps
    assert step.options["plugins"] == found
    lies = place.parent / "files/0/a.so"
    (step,) = placed(load_recipe(place), {lies}).targets[0].steps
    assert step.options["plugins"] == _replaced(found, str(lies))
    (step,) = placed(load_recipe(place), set()).targets[0].steps  # a file that the bundle does not have
    assert step.options["plugins"] == found


def _replaced(value, text: str):
    if isinstance(value, list):
        return [_replaced(each, text) for each in value]
    return value.replace(MARK + "files/0/a.so", text)


ENSEMBLE = """
models:
  a: {source: a.onnx, steps: [optimize], publish: {name: other}}
  b: {source: b.onnx, steps: [optimize]}
ensemble:
  inputs: [x]
  outputs: [y]
  steps:
    - {model: a, inputs: {x: x}, outputs: {h: h}}
    - {model: b, inputs: {h: h}, outputs: {y: y}}
  publish: {to: triton, name: both}
"""


def test_an_ensemble(place):
    place.write_text(ENSEMBLE)
    value = read_document(place).value
    assert list(publications_in(value, ["a", "b", "ensemble"])) == ["ensemble"]
    models = {("models", "a"): "models/a/a.onnx", ("models", "b"): "models/b/b.onnx"}
    place.write_text(rewritten(value, ["a", "b"], models, None, {}))
    recipe = load_recipe(place)
    assert recipe == unpublished(recipe)
    folder = recipe.folder
    require_inside(recipe, {folder / name for name in models.values()})
    with pytest.raises(UsageError, match=r"its model is .*b\.onnx"):
        require_inside(recipe, {folder / "models/a/a.onnx"})
    with pytest.raises(UsageError, match="its model is"):
        require_inside(recipe, {Path("/elsewhere/models/a/a.onnx"), folder / "models/b/b.onnx"})
