"""The shipped recipes, run as a user runs them: made, proven, published, proven again, and made anew alike."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema.validators import Draft202012Validator

from mlconvert import records
from mlconvert.cli import main
from mlconvert.operations.wire import parity_over_tf_serving
from mlconvert.report import SCHEMA
from mlconvert.repositories.tf_serving import layout
from mlconvert.repositories.triton import config
from mlconvert.serving.tf_serving.client import connect_both, wait_available

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
# The files beside each recipe's model: asking for one trains it.
MODELS = {
    "bikes": ("bikes.skops", "bikes.csv"),
    "breast_cancer": ("breast_cancer.txt", "breast_cancer.csv"),
    "breast_cancer_servers": ("breast_cancer.txt", "breast_cancer.csv"),
    "breast_cancer_tf_serving": ("breast_cancer.txt", "breast_cancer.csv"),
    "churn": ("churn.skops", "churn.csv"),
    "churn_parts": ("churn.skops", "churn.csv"),
    "claims": ("claims.pkl", "claims.csv"),
    "digits": ("digits.pt2", "digits.npz"),
    "digits_tf_serving": ("digits.pt2", "digits.npz"),
    "loans": ("loans.ubj", "loans.csv"),
    "tickets": ("tickets.skops", "tickets.csv"),
    "tickets_tf_serving": ("tickets.skops", "tickets.csv"),
    "tiny_transformer": ("tiny_transformer.safetensors", "tiny_transformer.npz"),
    "tiny_transformer_tf_serving": ("tiny_transformer.safetensors", "tiny_transformer.npz"),
}
# How often the source answers: once, and once more where a target sees other rows (cast to float32).
# A pipeline in two parts: the first part for itself and as the second one's samples, the second one, and the whole.
REFERENCES = {"loans": 2, "churn_parts": 4}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The user's folder: recipes and fixtures are laid out in it as they are in the repository. The cache is empty."""
    (tmp_path / "fixtures" / "models").mkdir(parents=True)
    shutil.copyfile(ROOT / "fixtures" / "networks.py", tmp_path / "fixtures" / "networks.py")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Shell:
    """What the user types, with what it prints."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys

    def run(self, recipe: Path | str, *arguments: str) -> tuple[dict[str, Any], list[str]]:
        """The report of `mlconvert run --json` and the lines of its progress."""
        code = main(["run", str(recipe), *arguments, "--json"])
        told = self.capsys.readouterr()
        assert code == 0, told.err
        report = json.loads(told.out)
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
        assert (report["ok"], report["exit_code"]) == (True, 0)
        return report, told.err.splitlines()

    def proves(self, artifact: Path | str) -> None:
        """`mlconvert verify` of an artifact alone: on the rows that its record keeps."""
        code = main(["verify", str(artifact), "--json"])
        told = self.capsys.readouterr()
        assert code == 0, told.err
        (step,) = json.loads(told.out)["targets"][0]["steps"]
        assert step["parity"]["ok"]
        assert step["parity"]["samples"] == 32


@pytest.fixture
def shell(capsys):
    return Shell(capsys)


def digests(report: dict[str, Any]) -> dict[str, str]:
    return {target["name"]: target["sha256"] for target in report["targets"]}


def unverified(recipe: Path) -> Path:
    """A copy of the recipe beside it that verifies and publishes nothing: what is left is how the models are made."""
    value = yaml.safe_load(recipe.read_text())
    for target in value.get("targets", {}).values():
        target["parity"] = False
        target.pop("publish", None)
    if whole := value.get("ensemble"):
        parts = {part: {**whole.get("parts", {}).get(part, {}), "parity": False} for part in ("preprocessing", "model")}
        whole |= {"parity": False, "parts": parts}  # published all the same: the file of the whole names its models so
    copy = recipe.with_name(f"{recipe.stem}_unverified.yaml")
    copy.write_text(yaml.safe_dump(value))
    return copy


def results_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """The targets of a recipe; of a split pipeline its parts and the whole, as if they were targets."""
    if "ensemble" not in recipe:
        targets: dict[str, Any] = recipe["targets"]
        return targets
    whole = recipe["ensemble"]
    parts = {
        part: {"steps": ["split", "onnx"], "publish": {"name": f"{whole['publish']['name']}_{part}"}}
        for part in ("preprocessing", "model")
    }
    return {**parts, "ensemble": {"steps": ["ensemble"], "publish": {**whole["publish"], "backend": "ensemble"}}}


def check_triton(model: Path, publish: dict[str, Any]) -> None:
    """The model's configuration is the one that was asked for."""
    read = config.read(model / "config.pbtxt")
    assert (read.name, read.backend or read.platform) == (publish["name"], publish.get("backend", "onnxruntime"))
    assert read.max_batch_size == publish.get("options", {}).get("max_batch_size", read.max_batch_size) > 0
    assert read.input
    assert read.output


def check_tf_serving(model: Path, publish: dict[str, Any]) -> None:
    """The server's configuration has the model, and the version is as a stock server reads it, warmed up."""
    entry = layout.entries_in(model.parent)[publish["name"]]
    assert entry.base_path.endswith(f"/{publish['name']}")
    files = {path.relative_to(model / "1").as_posix() for path in (model / "1").rglob("*") if path.is_file()}
    assert {"saved_model.pb", "variables/variables.index", "assets.extra/tf_serving_warmup_requests"} <= files


@pytest.fixture
def answered(tf_servings):
    """A function that has a TensorFlow Serving serve a model, and asks it the rows of its record, REST and gRPC."""

    def ask(model: Path, name: str) -> None:
        serving = tf_servings("recipes")
        entry = f'name: "{name}" base_path: "{model}" model_platform: "tensorflow"'
        (serving.root / "models.config").write_text(f"model_config_list {{ config {{ {entry} }} }}\n")
        record = json.loads((model / "1" / records.IN_FOLDER).read_text())
        for client in connect_both(serving.server.rest, serving.server.grpc):
            with contextlib.closing(client):
                wait_available(client, name, "1", patient=True)
                parity = parity_over_tf_serving(client, name, 1, record)
                assert parity.ok, parity
                assert parity.samples == record["rows"]["count"]

    return ask


CHECKS = {"triton": check_triton, "tf-serving": check_tf_serving}


def test_every_recipe_is_here():
    assert list(MODELS) == RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_recipe(here, shell, trained, monkeypatch, answered, name):
    for file in MODELS[name]:
        shutil.copyfile(trained(file), here / "fixtures" / "models" / file)
    recipe = here / "recipes" / f"{name}.yaml"
    wanted = results_of(yaml.safe_load(recipe.read_text()))

    first, said = shell.run(recipe)
    assert [target["name"] for target in first["targets"]] == list(wanted)
    for target in first["targets"]:
        assert len(target["steps"]) == len(wanted[target["name"]]["steps"])
        for step in target["steps"]:
            if step["converter"].endswith(":split"):  # its parts are compared with the whole by what is made of them
                continue
            assert step["parity"]["ok"], step
            assert step["parity"]["outputs"]
        shell.proves(here / "build" / name / target["name"])
        publish, published = wanted[target["name"]].get("publish"), target.get("published")
        assert (publish is None) == (published is None)
        if publish is None:
            continue
        assert (published["name"], published["version"]) == (publish["name"], 1)
        assert published["verified"]
        assert not published["unchanged"]
        model = here / "build" / name / "repository" / publish["name"]
        CHECKS[publish.get("to", "triton")](model, publish)
        if publish.get("to") == "tf-serving":
            answered(model, publish["name"])
        shell.proves(model / "1")
    # What several targets share was made once, whichever of them came first.
    steps = [step for target in first["targets"] for step in target["steps"]]
    for step in steps:
        alike = [
            other for other in steps if (other["converter"], other["options"]) == (step["converter"], step["options"])
        ]
        assert [other["cached"] for other in alike].count(False) == 1
    exports = {json.dumps(step["options"]) for step in steps if step["converter"].endswith("->onnx")}
    assert sum(line.split()[-2:] == ["onnx", "…"] and "verify" not in line for line in said) == len(exports)
    assert sum(line.split()[-2:] == ["reference", "…"] for line in said) == REFERENCES.get(name, 1)

    again, said = shell.run(recipe)
    assert all(step["cached"] for target in again["targets"] for step in target["steps"])
    assert digests(again) == digests(first)
    for target in again["targets"]:
        if "published" in target:
            assert (target["published"]["version"], target["published"]["unchanged"]) == (1, True)
    started = [line for line in said if line.endswith("…")]
    assert all(line.split()[-2] == "publish" for line in started), "a step ran again"

    # With an empty cache, side by side, in other processes: the same bytes.
    monkeypatch.setenv("MLCONVERT_CACHE", str(here / "another-cache"))
    anew, _ = shell.run(unverified(recipe), "--jobs", "2")
    made = [step for target in anew["targets"] for step in target["steps"]]
    assert not all(step["cached"] for step in made)
    assert all(step["parity"] is None for step in made)
    assert digests(anew) == digests(first)
