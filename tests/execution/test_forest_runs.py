"""Whole runs of a forest: rows on thresholds are part of every comparison, and find what random rows do not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from mlconvert import records
from mlconvert.cli import main


@pytest.fixture
def folder(trained, tmp_path, monkeypatch) -> Path:
    """The user's folder with the demo's LightGBM model and its samples."""
    for name in ("breast_cancer.txt", "breast_cancer.csv"):
        shutil.copy(trained(name), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def report(capsys):
    def run(code: int, *arguments: str) -> dict[str, Any]:
        ended = main([*arguments, "--json"])
        told = capsys.readouterr()
        assert ended == code, told.err + told.out
        result: dict[str, Any] = json.loads(told.out)
        return result

    return run


def last_parity(report: dict[str, Any]) -> dict[str, Any]:
    parity: dict[str, Any] = report["targets"][0]["steps"][-1]["parity"]
    return parity


def test_rows_on_thresholds_are_added_and_the_tolerance_is_that_of_doubles(folder, report):
    parity = last_parity(report(0, "convert", "breast_cancer.txt", "--to", "onnx", "--samples", "breast_cancer.csv"))
    assert (parity["samples"], parity["boundary_samples"]) == (128 + 4096, 4096)
    assert (parity["rtol"], parity["atol"]) == (1e-9, 1e-11)
    assert [output["mismatched"] for output in parity["outputs"]] == [0, 0]
    record = records.read(folder / "breast_cancer" / "record.json")
    assert record is not None
    assert (record["precision"], record["facts"]["precision"]) == ("float64", "float64")
    # The user's own rows come first, so that the record keeps those.
    assert record["rows"]["count"] == 32


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ("{count: 40, boundary: 0}", (40, 0)),
        ("{file: breast_cancer.csv, boundary: 100}", (228, 100)),
        ("{kind: boundary, count: 60, seed: 3}", (60, 60)),
    ],
)
def test_a_recipe_says_how_many(folder, report, samples, expected):
    recipe = f"model: breast_cancer.txt\nsamples: {samples}\ntargets: {{t: {{steps: [onnx]}}}}\n"
    (folder / "recipe.yaml").write_text(recipe)
    parity = last_parity(report(0, "run", "recipe.yaml"))
    assert (parity["samples"], parity["boundary_samples"]) == expected


def test_outputs_on_demand_are_compared_with_the_source_s(folder, report):
    settings = ["--set", "raw_scores=yes", "--set", "leaf_indices=yes"]
    parity = last_parity(report(0, "convert", "breast_cancer.txt", "--to", "onnx", *settings))
    shapes = {output["name"]: output["shape"][1:] for output in parity["outputs"]}
    assert shapes == {"label": [], "probabilities": [2], "raw_scores": [1], "leaf_indices": [100]}


def test_float32_is_held_to_the_tolerance_of_float32(folder, report):
    made = report(0, "convert", "breast_cancer.txt", "--to", "onnx", "--set", "dtype=float32")
    parity = last_parity(made)
    assert (parity["rtol"], parity["atol"]) == (1e-4, 1e-5)
    assert parity["outputs"][0]["label_flips"] == 0


def test_what_a_later_step_computes_in_counts(folder, report):
    made = report(0, "convert", "breast_cancer.txt", "--to", "onnx", "--via", "optimize")
    assert [step["parity"]["rtol"] for step in made["targets"][0]["steps"]] == [1e-9, 1e-9]


def nudged(path: Path) -> None:
    """Move every threshold of an ONNX model up by one unit in the last place of a float32."""
    model = onnx.load(path)
    (attribute,) = [a for node in model.graph.node for a in node.attribute if a.name == "nodes_splits"]
    splits = numpy_helper.to_array(attribute.t)
    moved = splits.astype(np.float32)
    moved = np.nextafter(moved, np.float32(np.inf)).astype(splits.dtype)
    attribute.t.CopyFrom(numpy_helper.from_array(moved, attribute.t.name))
    onnx.save(model, path)


def probabilities(path: Path, rows: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(["probabilities"], {"input": rows})[0]
    return answer


def test_rows_on_thresholds_find_a_threshold_that_real_rows_do_not(folder, report):
    report(0, "convert", "breast_cancer.txt", "--to", "onnx", "-o", "model.onnx")
    rows = np.loadtxt(folder / "breast_cancer.csv", delimiter=",", skiprows=1)
    before = probabilities(folder / "model.onnx", rows)
    nudged(folder / "model.onnx")
    np.testing.assert_array_equal(before, probabilities(folder / "model.onnx", rows))
    (folder / "model.onnx.json").unlink()  # or the changed file would be refused for its digest
    found = report(5, "verify", "breast_cancer.txt", "model.onnx", "--samples", "breast_cancer.csv")
    differ = {output["name"]: output["mismatched"] for output in last_parity(found)["outputs"]}
    assert differ["probabilities"] > 100
    assert last_parity(found)["boundary_samples"] == 4096


def test_a_model_without_trees_has_no_boundary(trained, tmp_path, monkeypatch, capsys):
    shutil.copy(trained("digits.pt2"), tmp_path / "digits.pt2")
    monkeypatch.chdir(tmp_path)
    assert main(["samples", "digits.pt2", "-o", "rows.npz", "--kind", "boundary"]) == 6
    assert "--kind random" in capsys.readouterr().err
    assert not (tmp_path / "rows.npz").exists()
