"""The text of model.py: golden files, and that it is a function of its constants alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed
from mlconvert.formats.served_python import ServedModel, parse_served
from mlconvert.python_backend.code import is_ours, joins, render
from mlconvert.python_backend.kinds import KINDS

GOLDEN = Path(__file__).parent / "golden"

PIPELINE = ServedModel(
    "sklearn-columns",
    "Pipeline",
    {
        "MODEL": "model.skops",
        "TRUSTED": ["sklearn.neighbors._kd_tree.KDTree"],
        "INPUTS": {"age": ("float64", ["batch", 1]), "city": ("string", ["batch", 1])},
        "OUTPUTS": {"label": ("string", ["batch"]), "probabilities": ("float64", ["batch", 2])},
        "METHODS": {"label": "predict", "probabilities": "predict_proba"},
    },
)
RESULTS = ServedModel(
    "statsmodels-columns",
    "GLM",
    {
        "MODEL": "model.pkl",
        "INPUTS": {"w": ("float64", ["batch", 1]), "g": ("string", ["batch", 1])},
        "OUTPUTS": {"variable": ("float64", ["batch", 1])},
        "LEVELS": {"g": ["a", "ü"]},
    },
)
NETWORK = ServedModel(
    "exported-program",
    "ExportedProgram",
    {
        "MODEL": "model.pt2",
        "INPUTS": {"x": ("float32", ["batch", 4])},
        "OUTPUTS": {"logits": ("float32", ["batch", 3]), "parts_0": ("float32", ["batch", 8])},
        "ARGUMENTS": ["x"],
        "PATHS": {"logits": ("logits",), "parts_0": ("parts", 0)},
    },
)
ONE_ROW = ServedModel(
    "torchscript",
    "TorchScript",
    {
        "MODEL": "model.pt",
        "INPUTS": {"image": ("float32", [1, 3, "height"])},
        "OUTPUTS": {"output": ("float32", [1, 10])},
        "KEYWORDS": {"image": "image"},
        "PATHS": {"output": ()},
    },
)
MODELS = {"pipeline": PIPELINE, "results": RESULTS, "network": NETWORK, "one_row": ONE_ROW}


@pytest.mark.parametrize("name", MODELS)
def test_it_is_as_it_was(name):
    assert render(MODELS[name]) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_python_that_reads_back(kind):
    constants = {**PIPELINE.constants, "PATHS": {"label": ()}, "COLUMNS": ["age"], "MODEL": "model.pkl"}
    constants["OUTPUTS"] = {"label": ("string", ["batch", 1])}
    served = ServedModel(kind, "Some_Class", constants)
    text = render(served)
    compile(text, "model.py", "exec")
    assert parse_served(text, Path("model.py")) == served
    assert is_ours(text)
    assert "mlconvert" not in {name.partition(".")[0] for name in _imported(text)}


def _imported(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


NAMES = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=12)


@given(st.dictionaries(NAMES, st.lists(NAMES, max_size=3), min_size=1, max_size=4))
def test_whatever_names_and_categories_say_they_stay_text(categories):
    """A column called `"); import os; (` is a column; the code around it does not change."""
    constants = {
        **RESULTS.constants,
        "INPUTS": {name: ("string", ["batch", 1]) for name in categories},
        "LEVELS": dict(categories),
    }
    served = ServedModel("statsmodels-columns", "GLM", constants)
    text = render(served)
    assert parse_served(text, Path("model.py")) == served
    assert is_ours(text)
    assert _without_constants(text) == _without_constants(render(RESULTS))


def _without_constants(text: str) -> str:
    tree = ast.parse(text)
    kept = [
        node
        for node in tree.body
        if not (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper())
    ]
    return ast.dump(ast.Module(kept, []))


@given(st.data())
def test_any_change_to_the_code_makes_it_somebody_elses(data):
    text = render(PIPELINE)
    place = data.draw(st.integers(0, len(text)))
    added = data.draw(st.sampled_from(["\n", " ", "#", "x", "\nimport os\n", "()", '"']))
    changed = text[:place] + added + text[place:]
    if is_ours(changed):  # the change is within a name or a category, and all of that is text
        assert _without_constants(changed) == _without_constants(text)


def test_a_class_or_kind_that_is_no_word_is_refused():
    for kind, name in (("sklearn-columns", 'A"""\nimport os\n"""'), ("sklearn-columns", "A B"), ("shell", "A")):
        with pytest.raises(ConversionFailed, match=r"there is no model\.py for"):
            render(ServedModel(kind, name, PIPELINE.constants))


def test_requests_are_joined_along_one_dynamic_axis_only():
    assert joins(PIPELINE)
    assert joins(NETWORK)
    assert not joins(ONE_ROW)
    square = {**NETWORK.constants, "OUTPUTS": {"logits": ("float32", ["batch", "batch"])}}
    assert not joins(ServedModel("exported-program", "Net", square))
