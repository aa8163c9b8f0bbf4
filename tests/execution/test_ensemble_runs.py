"""Runs of ensembles: what is made, proven, refused, and left alone."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator
from onnx import TensorProto

from mlconvert import api
from mlconvert.cli import main
from mlconvert.errors import ConversionFailed, MlconvertError, ParityFailed, RepositoryInvalid, UsageError
from mlconvert.report import SCHEMA


def _three():
    """The fixture's module: tests are no package."""
    path = Path(__file__).parents[1] / "ensembles" / "three_models.py"
    spec = importlib.util.spec_from_file_location("three_models", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["three_models"] = module
    spec.loader.exec_module(module)
    return module


three = _three()


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def failed(recipe, out, error):
    """The report of a run that fails with that error."""
    with pytest.raises(error) as caught:
        api.run(recipe, out=out)
    report = caught.value.report
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    return report, caught.value


UNPUBLISHED = three.RECIPE.replace("  publish: {to: triton, name: three}\n", "")


def test_a_whole_run(tmp_path, capsys):
    report = api.run(three.write(tmp_path, UNPUBLISHED), out=tmp_path / "out")
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    assert (report["ok"], report["source"]["format"]) == (True, "ensemble")
    assert [entry["name"] for entry in report["targets"]] == ["total", "project", "join", "ensemble"]
    whole = report["targets"][-1]
    assert whole["format"] == "ensemble"
    assert [(step["converter"], step["parity"]["ok"]) for step in whole["steps"]] == [("ensemble", True)]
    assert [row["name"] for row in whole["steps"][0]["parity"]["outputs"]] == ["scores", "total"]
    assert files_in(tmp_path / "out") == sorted(
        [f"{name}/{file}" for name in ("total", "project", "join") for file in ("model.onnx", "record.json")]
        + ["ensemble/ensemble.json", "ensemble/record.json"]
    )
    record = json.loads((tmp_path / "out/ensemble/record.json").read_text())
    assert record["rows"]["count"] == 32
    assert str(tmp_path) not in (tmp_path / "out/ensemble/ensemble.json").read_text()
    capsys.readouterr()
    # It proves itself, and is inspected, like any artifact.
    assert main(["verify", str(tmp_path / "out/ensemble")]) == 0
    assert main(["inspect", str(tmp_path / "out/ensemble"), "--json"]) == 0
    assert "scores" in capsys.readouterr().out
    # Moved as a whole it still does; without its models it does not.
    (tmp_path / "out").rename(tmp_path / "moved")
    assert main(["verify", str(tmp_path / "moved/ensemble")]) == 0
    three.write(tmp_path, UNPUBLISHED, factor=3.0)
    (tmp_path / "moved/project/model.onnx").write_bytes((tmp_path / "project.onnx").read_bytes())
    with pytest.raises(RepositoryInvalid, match="the model 'project' is not the one"):
        api.verify(tmp_path / "moved/ensemble")


def test_the_plan_shows_the_edges(tmp_path, capsys):
    assert main(["run", str(three.write(tmp_path)), "--out", str(tmp_path / "out"), "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert {(edge["from"], edge["to"]) for edge in plan["ensemble"]["edges"]} == {
        ("rows", "total.x"),
        ("rows", "project.x"),
        ("total.sum", "join.a"),
        ("project.y", "join.b"),
        ("join.y", "scores"),
        ("total.sum", "total"),
    }
    assert plan["ensemble"]["publish"] == "triton: three"
    assert [target["publish"] for target in plan["targets"]] == [
        "triton: three_total",
        "triton: three_projection",
        "triton: three_join",
    ]
    assert not (tmp_path / "out").exists()


def test_one_model_alone(tmp_path):
    report = api.run(three.write(tmp_path), targets=["join"], out=tmp_path / "out")
    assert [entry["name"] for entry in report["targets"]] == ["join"]
    assert report["targets"][0]["steps"][-1]["parity"]["samples"] == 50  # of what the two before it give
    assert "published" not in report["targets"][0]
    assert files_in(tmp_path / "out") == ["join/model.onnx", "join/record.json"]
    with pytest.raises(UsageError, match=r"no model 'joint'\. Did you mean 'join'"):
        api.run(tmp_path / "three.yaml", targets=["joint"], out=tmp_path / "out")


@pytest.mark.parametrize(("url", "words"), [("s3://bucket/models", "into a folder"), ("ftp://a/b", "no repository")])
def test_a_repository_that_is_no_folder(tmp_path, url, words):
    text = three.RECIPE.replace("name: three}", f"name: three, repository: '{url}'}}")
    with pytest.raises(UsageError, match=words):
        api.run(three.write(tmp_path, text), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_types_along_an_edge(tmp_path):
    """The source's numbers fit, and its file would not take them: a server passes on nothing of another type."""
    recipe = three.write(tmp_path, projected=TensorProto.DOUBLE)
    report, error = failed(recipe, tmp_path / "out", UsageError)
    text = "the edge 'projected': 'project' gives it as float64[3], 'join' takes 'b' as float32[3]: another type"
    assert error.message == text
    assert error.where == f"{recipe}:10:43"
    assert error.hint == "convert one of them with the other's type, such as onnx: {dtype: float64}"
    assert {entry["error"]["message"] for entry in report["targets"]} == {text}
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("options", "own", "words"),
    [
        ("{max_batch_size: 32}", None, "the ensemble is to take up to 32 rows, its model 'total' takes 16"),
        ("{max_batch_size: 0}", None, "the ensemble is not to batch (max_batch_size 0), its models do"),
        ("{}", "{max_batch_size: 0}", "'total' does not batch (max_batch_size 0), others do"),
    ],
)
def test_batch_sizes_along_the_edges(tmp_path, options, own, words):
    text = three.RECIPE.replace("name: three}", f"name: three, options: {options}}}")
    if own:
        text = text.replace("{max_batch_size: 16}", own)
    _, error = failed(three.write(tmp_path, text), tmp_path / "out", UsageError)
    assert words in error.message
    assert files_in(tmp_path / "out") == []


def test_tensors_that_models_do_not_have(tmp_path):
    text = three.RECIPE.replace("outputs: {sum: total}", "outputs: {sums: total}")
    _, error = failed(three.write(tmp_path, text), tmp_path / "out", MlconvertError)
    assert "the model 'total' gives no output 'sums'" in error.message
    assert "its outputs: sum" in error.hint
    assert files_in(tmp_path / "out/repository") == [] if (tmp_path / "out/repository").exists() else True


def test_lengths_that_the_sources_do_not_agree_on(tmp_path):
    recipe = three.write(tmp_path, width=5)
    report, error = failed(recipe, tmp_path / "out", UsageError)
    assert "what comes along the edges ('total' -> join.a, 'projected' -> join.b) does not fit" in error.message
    assert "expected b: float32[batch, 5], got float32[50, 3]" in error.message
    assert f"{recipe}:10:29" in error.where
    assert [entry["ok"] for entry in report["targets"]] == [True, True, False, False]
    assert not (tmp_path / "out/repository").exists()


def test_the_whole_may_fail_where_each_model_holds(tmp_path):
    text = three.RECIPE.replace(
        "project: {source: project.onnx, steps: [optimize],",
        "project: {source: project.onnx, steps: [float16: {keep_io_types: true}],",
    ).replace("  publish: {to", "  parity: {rtol: 1e-7, atol: 1e-7}\n  publish: {to")
    report, _ = failed(three.write(tmp_path, text), tmp_path / "out", ParityFailed)
    assert report["exit_code"] == 5
    *members, whole = report["targets"]
    assert [entry["ok"] for entry in members] == [True] * 3
    assert {entry["not_published"] for entry in members} == {"another target of the recipe failed"}
    assert (whole["ok"], whole["sha256"]) == (False, None)
    assert "values of output 'scores' are further off" in whole["error"]["message"]
    assert not (tmp_path / "out/repository").exists()
    assert not (tmp_path / "out/ensemble").exists()


def test_a_model_that_fails_takes_the_whole_with_it(tmp_path):
    text = three.RECIPE.replace(
        "project: {source: project.onnx, steps: [optimize],",
        "project: {source: project.onnx, steps: [float16: {keep_io_types: true}], parity: {rtol: 0, atol: 0},",
    )
    report, _ = failed(three.write(tmp_path, text), tmp_path / "out", ParityFailed)
    assert [entry["ok"] for entry in report["targets"]] == [True, False, True, False]
    assert report["targets"][-1]["error"]["message"].startswith("its model 'project' failed: ")
    assert not (tmp_path / "out/repository").exists()


def test_an_ensemble_file_that_is_none(tmp_path):
    path = tmp_path / "ensemble.json"
    path.write_text('{"schema": "mlconvert.ensemble/1", "steps": [], "models": {}}')
    with pytest.raises((ConversionFailed, UsageError)):
        api.verify(path, path, samples=three.write(tmp_path).parent / "rows.npz")
    path.write_text('{"schema": "mlconvert.ensemble/9", "steps": [], "models": {}, "inputs": [], "outputs": []}')
    with pytest.raises(ConversionFailed, match="of another mlconvert"):
        api.verify(path, path, samples=tmp_path / "rows.npz")


# --- a pipeline in two parts ---


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    """A pipeline whose last step is a forest behind a scaler, with samples."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler
    from skops import io

    folder = tmp_path_factory.mktemp("forest")
    rows = np.random.default_rng(0).normal(size=(200, 3))
    steps = (StandardScaler(), PolynomialFeatures(2), RandomForestClassifier(3, max_depth=3, random_state=0))
    pipeline = make_pipeline(*steps).fit(rows, rows.sum(axis=1) > 0)
    io.dump(pipeline, folder / "forest.skops")
    io.dump(steps[0], folder / "scaler.skops")
    np.savez(folder / "rows.npz", input=rows[:60])
    return folder


def split(folder, text):
    recipe = folder / "forest.yaml"
    recipe.write_text(f"model: forest.skops\nsamples: rows.npz\nensemble:\n  {text}\n")
    return recipe


def test_the_parts_are_compared_with_the_whole(forest, tmp_path):
    report = api.run(split(forest, "split: last"), out=tmp_path / "out")
    first, second, whole = report["targets"]
    assert [step["converter"] for step in first["steps"]] == ["sklearn:split", "sklearn->onnx"]
    assert report["source"]["format"] == "sklearn"
    parity = whole["steps"][0]["parity"]
    # The thresholds of the forest, sought behind the steps before it: for the whole, and for the forest by itself.
    assert parity["boundary_samples"] > 0
    assert second["steps"][-1]["parity"]["boundary_samples"] > 0
    assert next((row["name"], row["label_flips"]) for row in parity["outputs"]) == ("label", 0)
    # The whole that was not split answers as the ensemble does.
    proof = api.verify(forest / "forest.skops", tmp_path / "out/ensemble", samples=forest / "rows.npz")
    assert proof["ok"]


def test_where_a_pipeline_is_split(forest, tmp_path):
    report = api.run(split(forest, "split: polynomialfeatures\n  parity: off"), out=tmp_path / "out")
    names = {entry["name"]: entry["steps"][0]["options"]["before"] for entry in report["targets"][:2]}
    assert names == {"preprocessing": "polynomialfeatures", "model": "polynomialfeatures"}
    chain = json.loads((tmp_path / "out/ensemble/ensemble.json").read_text())
    assert [step["model"] for step in chain["steps"]] == ["preprocessing", "model"]


def test_a_pipeline_that_cannot_be_split_so(forest, tmp_path):
    _, error = failed(split(forest, "split: forest"), tmp_path / "out", UsageError)
    assert "the pipeline has no step 'forest'" in error.message
    assert "standardscaler, polynomialfeatures, randomforestclassifier; or last" in error.hint
    _, error = failed(split(forest, "split: standardscaler"), tmp_path / "out", UsageError)
    assert "nothing comes before the step 'standardscaler'" in error.message
    recipe = split(forest, "split: last")
    recipe.write_text(recipe.read_text().replace("forest.skops", "scaler.skops"))
    _, error = failed(recipe, tmp_path / "out", UsageError)
    assert "a StandardScaler is no pipeline" in error.message
    assert files_in(tmp_path / "out") == []


def test_only_a_pipeline_of_scikit_learn_is_split(tmp_path):
    three.write(tmp_path)
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: total.onnx\nensemble: {split: last}\n")
    with pytest.raises(UsageError, match="an ONNX model: only a pipeline can be split"):
        api.run(recipe, out=tmp_path / "out")
