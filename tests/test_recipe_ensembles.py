"""Recipes of ensembles: what they say, and what is told of those that do not hold together, by line."""

from __future__ import annotations

import textwrap

import pytest

from mlconvert.ensembles.graph import Graph, Step
from mlconvert.errors import UsageError
from mlconvert.recipe import ModelSpec, ParitySpec, PublishSpec, StepSpec, load_recipe, locate

JOINED = """
models:
  features: {source: f.pt2, steps: [onnx, optimize], parity: {rtol: 1e-3}}
  score:
    source: s.txt
    from: lightgbm
    steps: [onnx]
    publish: {name: scorer, version: 3, options: {max_batch_size: 8}}
samples: rows.npz
limits: {time: 5m}
ensemble:
  inputs: [rows]
  outputs: [label]
  steps:
    - {model: score, inputs: {input: f}, outputs: {label: label}}
    - {model: features, inputs: {x: rows}, outputs: {y: f}}
  parity: {atol: 1e-6}
  publish: {to: triton, name: loans, repository: ../models, version: 7, options: {max_batch_size: 4}}
"""

SPLIT = """
model: {source: p.skops, trust: yes}
ensemble: {split: last}
"""


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "recipes" / "r.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
        return path

    return write


def test_models_and_edges(write, tmp_path):
    recipe = load_recipe(write(JOINED))
    assert (recipe.model, recipe.targets) == (None, ())
    assert recipe.samples.file == tmp_path / "recipes/rows.npz"
    ensemble = recipe.ensemble
    assert ensemble.graph == Graph(
        ("rows",),
        ("label",),
        (Step("score", {"input": "f"}, {"label": "label"}), Step("features", {"x": "rows"}, {"y": "f"})),
    )
    assert ensemble.split is None
    assert ensemble.parity == ParitySpec(atol=1e-6)
    repository = tmp_path / "models"
    assert ensemble.publish == PublishSpec("triton", "loans", repository, 7, {"max_batch_size": 4})
    features, score = ensemble.members
    assert features.model == ModelSpec(str(tmp_path / "recipes/f.pt2"))
    assert features.target.steps == (StepSpec("onnx"), StepSpec("optimize"))
    assert features.target.parity == ParitySpec(rtol=1e-3)
    # In the ensemble's repository, and named after it where the recipe names nothing.
    assert features.target.publish == PublishSpec("triton", "loans_features", repository)
    assert score.model == ModelSpec(str(tmp_path / "recipes/s.txt"), "lightgbm")
    assert score.target.publish == PublishSpec("triton", "scorer", repository, 3, {"max_batch_size": 8})


def test_a_split_pipeline(write, tmp_path):
    recipe = load_recipe(write(SPLIT))
    assert recipe.model == ModelSpec(str(tmp_path / "recipes/p.skops"), trust=True)
    ensemble = recipe.ensemble
    assert (ensemble.graph, ensemble.split, ensemble.publish) == (None, "last", None)
    assert [(row.model, row.target.name, row.target.steps, row.target.publish) for row in ensemble.members] == [
        (None, "preprocessing", (StepSpec("onnx"),), None),
        (None, "model", (StepSpec("onnx"),), None),
    ]


def test_the_parts_of_a_split_pipeline(write):
    recipe = load_recipe(
        write(
            """
            model: p.skops
            ensemble:
              split: clf
              parts:
                preprocessing: {steps: [onnx: {inputs: columns}], publish: {name: cleaning}}
                model: {parity: off}
              publish: {to: triton, name: whole}
            """
        )
    )
    first, second = recipe.ensemble.members
    assert first.target.steps == (StepSpec("onnx", {"inputs": "columns"}),)
    assert (first.target.publish.name, second.target.publish.name) == ("cleaning", "whole_model")
    assert second.target.parity == ParitySpec(verify=False)
    assert first.keys == ("ensemble", "parts", "preprocessing")


def told(path):
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    error = caught.value
    assert error.exit_code == 2
    lines = error.message.splitlines()
    found = lines[1:] if len(lines) > 1 else [f"{error.where}: {lines[0]}"]
    return [line.removeprefix(f"{path}:") for line in found], error.hint or ""


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        (
            "model: score, inputs",
            "model: scorer, inputs",
            [
                "4:5: models.score: no step uses the model 'score'",
                "14:15: ensemble.steps[0].model: there is no model 'scorer'. Did you mean 'score'?",
            ],
        ),
        (
            "{input: f}",
            "{input: rowz}",
            [
                (
                    "14:38: ensemble.steps[0].inputs.input: no step makes the tensor 'rowz', "
                    "and it is no input of the ensemble. Did you mean 'rows'?"
                ),
            ],
        ),
        ("[label]", "[labels]", ["12:13: ensemble.outputs[0]: no step makes 'labels'. Did you mean 'label'?"]),
        (
            "{y: f}",
            "{y: label}",
            [
                (
                    "14:38: ensemble.steps[0].inputs.input: no step makes the tensor 'f', "
                    "and it is no input of the ensemble."
                ),
                (
                    "15:57: ensemble.steps[1].outputs.y: the tensor 'label' has two sources: "
                    "the output of 'score', and 'features'"
                ),
            ],
        ),
        (
            "{x: rows}",
            "{x: label}",
            ["14:7: ensemble.steps[0]: the steps go round in a circle: 'features' -> 'score' -> 'features'"],
        ),
        ("[rows]", "[rows, other]", ["11:18: ensemble.inputs[1]: no step takes the input 'other'"]),
        ("[rows]", "[rows, rows]", ["11:18: ensemble.inputs[1]: 'rows' is given twice"]),
        ("{input: f}", "{input: rows}", ["15:7: ensemble.steps[1]: nothing that 'features' gives leads to an output"]),
        ("[label]", "[rows]", ["12:13: ensemble.outputs[0]: 'rows' is an input: no step makes it"]),
        ("{y: f}", "{}", ["15:53: ensemble.steps[1].outputs: needs at least one key"]),
        ("inputs: [rows]", "inputs: []", ["11:11: ensemble.inputs: needs at least one item"]),
        ("  outputs: [label]\n", "", ["10:1: ensemble: the key 'outputs' is missing"]),
        ("models:", "x-models:", ["1:1: the key 'models' is missing"]),
        ("samples: rows.npz", "model: m.txt", ["8:1: model: cannot be given together with 'models'"]),
        (
            "samples: rows.npz",
            "targets: {a: {steps: [onnx]}}",
            [
                "1:1: models: cannot be given together with 'targets'",
                "10:1: ensemble: cannot be given together with 'targets'",
            ],
        ),
        ("  features: {", "  ensemble: {", ["2:3: models.ensemble: 'ensemble' cannot be a name here: it is taken"]),
        (
            "  inputs: [rows]",
            "  split: last",
            [
                "12:3: ensemble.outputs: cannot be given together with 'split'",
                "13:3: ensemble.steps: cannot be given together with 'split'",
            ],
        ),
        (
            "  parity: {atol",
            "  parts: {}\n  parity: {atol",
            ["16:3: ensemble.parts: is for the parts of a pipeline: it goes together with 'split'"],
        ),
        (
            "publish: {name: scorer",
            "publish: {to: triton, name: scorer",
            ["7:15: models.score.publish.to: unknown key 'to'."],
        ),
        ("model: features, inputs", "modle: features, inputs", None),
    ],
)
def test_what_does_not_hold_together(write, old, new, wanted):
    assert JOINED.count(old) == 1
    found, _ = told(write(JOINED.replace(old, new)))
    if wanted is None:
        assert any("unknown key 'modle'. Did you mean 'model'?" in line for line in found)
    elif "split" in new:
        assert set(wanted) <= set(found)
    else:
        assert found == wanted


def test_models_without_an_ensemble(write):
    found, _ = told(write("models: {a: {source: m.txt, steps: [onnx]}}\n"))
    assert "1:1: the key 'ensemble' is missing" in found


def test_places_of_what_is_found_after_loading(write):
    path = write(JOINED)
    assert locate(path, ("ensemble", "steps", 1, "inputs", "x")).endswith("r.yaml:15:37")
    assert locate(path, ("models", "score", "steps", 0)).endswith("r.yaml:6:13")


def test_a_repository_in_an_object_store(write):
    text = JOINED.replace("repository: ../models", "repository: s3://bucket/models")
    recipe = load_recipe(write(text))
    assert recipe.ensemble.publish.repository == "s3://bucket/models"
    assert {row.target.publish.repository for row in recipe.ensemble.members} == {"s3://bucket/models"}
