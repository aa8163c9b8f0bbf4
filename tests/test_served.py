"""What a user makes with mlconvert, on the real tritonserver: made, proven, published, loaded with auto-complete off,
and asked over HTTP and gRPC. Each is one model of the list that the project promises to serve.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlconvert.cli import main
from mlconvert.operations.serve import serve_findings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "fixtures" / "models").mkdir(parents=True)
    shutil.copyfile(ROOT / "fixtures" / "networks.py", tmp_path / "fixtures" / "networks.py")
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments: str) -> str:
    code = main(list(arguments))
    told = capsys.readouterr()
    assert code == 0, told.err + told.out
    return told.out


def answers_as_proven(repository: Path, *names: str) -> dict[str, dict[str, Any]]:
    """Nothing is found, and every row was answered alike over both protocols; the entries by name."""
    findings, entries = serve_findings(repository)
    assert findings == ()
    assert sorted(entry["name"] for entry in entries) == sorted(names)
    for entry in entries:
        for protocol in ("http", "grpc"):
            assert entry[protocol]["ok"], entry
            assert entry[protocol]["samples"] == 32
            assert entry[protocol]["outputs"]
    return {entry["name"]: entry for entry in entries}


RECIPES = {
    "breast_cancer_servers": ("breast_cancer", ["triton-24-10"], ("breast_cancer.txt", "breast_cancer.csv")),
    "tickets": ("tickets", [], ("tickets.skops", "tickets.csv")),  # text
    "tiny_transformer": ("tiny_transformer", [], ("tiny_transformer.safetensors", "tiny_transformer.npz")),
    "digits": ("digits", ["float32"], ("digits.pt2", "digits.npz")),  # a torch model
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_served(here, capsys, trained, recipe, on_triton):
    name, targets, files = RECIPES[recipe]
    for file in files:
        shutil.copyfile(trained(file), here / "fixtures" / "models" / file)
    run(capsys, "run", f"recipes/{recipe}.yaml", *(word for target in targets for word in ("--target", target)))
    repository = here / "build" / recipe / "repository"
    entry = answers_as_proven(repository, name)[name]
    assert (entry["version"], entry["backend"]) == (1, "onnxruntime")
    assert entry["stand_in"].startswith("onnxruntime 1.")

    # The same through a running server, as a user would ask it: by its HTTP port, and by its gRPC port.
    on_triton(lambda server: verified_on(server, repository, name, capsys))


def verified_on(server, repository, name, capsys):
    http, _ = server.clients
    shutil.copytree(repository / name, server.root / name)
    try:
        http.load(name)
        for address, version in ((server.server.http, ""), (server.server.grpc, "/1")):
            location = f"triton://{address}/{name}{version}"
            told = json.loads(run(capsys, "verify", str(repository / name), location, "--json"))
            (target,) = told["targets"]
            assert (target["path"], target["format"], target["bytes"]) == (location, "triton", None)
            assert target["steps"][0]["parity"]["samples"] == 32
            assert not target["steps"][0]["cached"]
    finally:
        server.drop(name)


def test_the_transformer_is_served_with_both_axes_dynamic(here, capsys, trained, loads):
    for file in ("tiny_transformer.safetensors", "tiny_transformer.npz"):
        shutil.copyfile(trained(file), here / "fixtures" / "models" / file)
    run(capsys, "run", "recipes/tiny_transformer.yaml")
    repository = here / "build/tiny_transformer/repository"
    model = str(next((repository / "tiny_transformer/1").rglob("model.onnx")))
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for rows, tokens in ((1, 3), (5, 17)):
        ids = np.random.default_rng(tokens).integers(1, 50, size=(rows, tokens))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        (wanted,) = session.run(["logits"], inputs)
        loads(repository, answers={"tiny_transformer": (inputs, {"logits": wanted})})


def test_an_ensemble_is_served(here, capsys, trained):
    for file in ("churn.skops", "churn.csv"):
        shutil.copyfile(trained(file), here / "fixtures" / "models" / file)
    run(capsys, "run", "recipes/churn_parts.yaml")
    parts = ("churn_parts", "churn_parts_model", "churn_parts_preprocessing")
    served = answers_as_proven(here / "build/churn_parts/repository", *parts)
    assert served["churn_parts"]["backend"] == "ensemble"
    assert served["churn_parts_model"]["backend"] == "onnxruntime"


# --- what cannot be converted, by the python backend ---


def publish_as_python(capsys, source: Path, samples: Path, name: str, *words: str) -> None:
    run(
        capsys, "convert", str(source), "--to", "triton-python", "-o", f"made/{name}", "--samples", str(samples), *words
    )
    run(capsys, "publish", f"made/{name}", "repository", "--to", "triton", "--name", name)


def test_results_of_statsmodels_are_served(here, capsys):
    import statsmodels.api as sm

    random = np.random.default_rng(3)
    x = sm.add_constant(random.normal(size=(80, 3)))
    sm.GLM(random.poisson(np.exp(x @ [0.2, 0.5, -0.3, 0.1])), x, family=sm.families.Poisson()).fit().save("counts.pkl")
    np.save("rows.npy", x[:40])
    publish_as_python(capsys, Path("counts.pkl"), Path("rows.npy"), "counts", "--trust")
    assert answers_as_proven(here / "repository", "counts")["counts"]["stand_in"] is None


def test_a_pipeline_that_onnx_cannot_hold_is_served(here, capsys):
    from sklearn.impute import KNNImputer
    from sklearn.naive_bayes import GaussianNB
    from sklearn.pipeline import make_pipeline
    from skops import io

    random = np.random.default_rng(4)
    x = np.where(random.random((90, 4)) < 0.2, np.nan, random.normal(size=(90, 4)))
    model = make_pipeline(KNNImputer(weights="distance"), GaussianNB())
    model.fit(x, np.where(np.nansum(x, axis=1) > 0, "yes", "nö"))
    io.dump(model, "imputed.skops")
    np.save("rows.npy", x[:40])
    publish_as_python(capsys, Path("imputed.skops"), Path("rows.npy"), "imputed")
    answers_as_proven(here / "repository", "imputed")


def test_a_torch_module_is_served_as_it_is(here, capsys, trained):
    publish_as_python(capsys, trained("digits.pt2"), trained("digits.npz"), "digits")
    answers_as_proven(here / "repository", "digits")
