"""What is read out of a repository, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert import records
from mlconvert.deployment.triton.description import (
    described,
    newest_release,
    server_arguments,
    tied_to_a_release,
)
from mlconvert.errors import RepositoryInvalid, UsageError


def of(repository, **kwargs):
    return described(repository, **{"name": None, "release": None, "image": None, **kwargs})


def test_what_is_read(repository):
    root = repository("churn", "price", "vision", "words", "forecast", "compiled")
    models = {model.name: model for model in of(root).models}
    assert {name: model.backend for name, model in models.items()} == {
        "churn": "onnxruntime", "compiled": "torch_aoti", "forecast": "python", "price": "onnxruntime",
        "vision": "tensorrt", "words": "onnxruntime",
    }  # fmt: skip
    assert [name for name, model in models.items() if model.gpu] == ["vision", "words"]
    assert tied_to_a_release(models.values()) == ["compiled", "vision"]
    assert of(root).queue_delay_ms == 3, "2.5 ms, rounded up"
    assert of(root).name == "models"
    assert of(root).image == f"nvcr.io/nvidia/tritonserver:{newest_release()}-py3"


def test_the_command_line_names_every_model(repository):
    arguments = server_arguments(of(repository("churn", "price")), exit_timeout=7)
    assert [text for text in arguments if text.startswith("--load-model")] == [
        "--load-model=churn",
        "--load-model=price",
    ]
    assert "--disable-auto-complete-config" in arguments
    assert "--exit-timeout-secs=7" in arguments


@pytest.mark.parametrize("flags", [["TF32"], ["TF32", "VERSION_COMPATIBLE"]])
def test_engines_that_bring_their_runtime_are_allowed_to(repository, flags):
    root = repository("vision", "churn")
    plan = root / "vision" / "1" / "model.plan"
    plan.parent.mkdir(exist_ok=True)
    plan.write_bytes(b"ftrt")
    file = {"path": "model.plan", "sha256": "0" * 64, "bytes": 4}
    record = {"schema": records.SCHEMA, "path": "model.plan", "files": [file], "facts": {"hardware": {"flags": flags}}}
    records.write_json(plan.with_name("record.json"), record)
    allowed = "--backend-config=tensorrt,version-compatible=true" in server_arguments(of(root), exit_timeout=7)
    assert allowed == ("VERSION_COMPATIBLE" in flags)


def test_requirements_are_those_of_the_versions_in_service(repository):
    root = repository("forecast", requirements={"forecast": "numpy==1.0\n"})
    second = root / "forecast" / "2"
    second.mkdir()
    (second / "requirements.txt").write_text("# new\nnumpy == 2.0  # newer\n\nscipy==1.9.1\n")
    assert of(root).requirements == ("numpy == 2.0", "scipy==1.9.1")


@pytest.mark.parametrize("line", ["numpy", "numpy>=2", "numpy==2.*", "numpy==2,!=3", "numpy @ https://x/y.whl", "=2"])
def test_requirements_have_to_be_pinned(repository, line):
    root = repository("forecast", requirements={"forecast": f"{line}\n"})
    with pytest.raises(RepositoryInvalid, match=r"not pinned|not a requirement") as caught:
        of(root)
    assert caught.value.where is not None
    assert caught.value.where.endswith("forecast/1/requirements.txt")


def test_requirements_that_exclude_each_other(repository):
    root = repository("forecast", requirements={"forecast": "numpy==2.0\n"})
    other = root / "other" / "1"
    other.mkdir(parents=True)
    text = (root / "forecast" / "config.pbtxt").read_text()
    (root / "other" / "config.pbtxt").write_text(text.replace("forecast", "other"))
    (other / "requirements.txt").write_text("NumPy==2.1\n")
    with pytest.raises(RepositoryInvalid, match=r"'forecast' needs numpy==2\.0 and 'other' needs NumPy==2\.1"):
        of(root)
    (other / "requirements.txt").write_text("numpy==2.0\n")
    assert of(root).requirements == ("numpy==2.0",)


@pytest.mark.parametrize("name", ["Models", "1models", "a_b", "-a", "a-", "", "x" * 41, "a.b"])
def test_names_that_no_host_can_have(repository, name):
    with pytest.raises(UsageError, match="cannot be a deployment's name") as caught:
        of(repository("churn"), name=name)
    assert caught.value.hint


@given(st.text(max_size=45))
def test_a_name_is_a_host_name_or_an_error(name):
    from mlconvert.deployment.names import checked_name

    try:
        chosen = checked_name(name, None, example="x")  # type: ignore[arg-type]
    except UsageError:
        return
    assert chosen == name
    assert chosen.isascii()
    assert chosen.strip("-") == chosen.lower()


def test_the_folder_s_name_is_made_one(repository):
    assert of(repository("churn", folder="My_Models.v2")).name == "my-models-v2"
    with pytest.raises(UsageError, match=r"--name|cannot be"):
        of(repository("churn", folder="2026"))


@pytest.mark.parametrize("image", ["triton", "triton:latest", "registry.example:5000/triton", "x:", "$(rm -rf /):1"])
def test_an_image_has_to_be_pinned(repository, image):
    with pytest.raises(UsageError, match=r"not pinned|is not an image"):
        of(repository("churn"), image=image)
    digest = "registry.example:5000/triton@sha256:" + "0" * 64
    assert of(repository("price", folder="two"), image=digest).image == digest


def test_a_repository_without_models(tmp_path):
    with pytest.raises(RepositoryInvalid, match="holds no model"):
        of(tmp_path)


def test_a_model_without_a_configuration(repository):
    root = repository("churn")
    (root / "bare" / "1").mkdir(parents=True)
    with pytest.raises(RepositoryInvalid, match=r"no config\.pbtxt"):
        of(root)


def test_an_unknown_release(repository):
    with pytest.raises(UsageError, match=r"Triton '19\.01'"):
        of(repository("churn"), release="19.01")
