"""By command: which layout a repository has is told by its files, and each verb has the same words for both."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlconvert.cli.app import run
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.operations.publish import layout_of
from mlconvert.repositories import tf_serving, triton
from mlconvert.repositories.remote import located

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Said:
    """A function that runs a command in the test's folder, and gives its exit code and what it says."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(list(words))
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def three(make_saved, tmp_path: Path) -> Path:
    for scale in (1.0, 2.0, 3.0):
        tf_serving.publish(make_saved(scale), tmp_path / "models", "m")
    return tmp_path / "models"


def test_publish(said: Said, make_saved, tmp_path: Path) -> None:
    folder = str(make_saved(1.0, record=True).folder)
    words = ("publish", folder, "models", "--to", "tf-serving", "--name", "m")
    code, out, err = said(*words, "--set", "base_path=/srv", "--set", "batching=yes")
    assert code == 0, err
    assert out == (
        "m/1: published in models\n  models/m/1/saved_model.pb\n".replace("/saved_model.pb", "")
        + "  models/models.config (written)\n"
    )
    assert said(*words)[1].startswith("m/1: already published, unchanged in models\n")
    assert (tmp_path / "models/batching.config").is_file()
    code, out, err = said("publish", "models/m", "models", "--to", "tf-serving", "--name", "other")
    assert code == 0, err
    assert "/srv/other" in (tmp_path / "models/models.config").read_text()
    code, _, err = said(*words, "--set", "max_batch_size=8")
    assert code == 2
    assert "has no option 'max_batch_size'" in err


def test_a_policy_that_keeps_another_version_is_told(said: Said, make_saved, three: Path) -> None:
    assert said("labels", "models", "m", "stable=3")[0] == 0
    code, _, err = said("publish", str(make_saved(1.0).folder), "models", "--to", "tf-serving", "--name", "m")
    assert code == 0
    assert "the version policy in models.config keeps another version in service" in err


def test_versions_rollback_and_labels(said: Said, three: Path) -> None:
    code, out, _ = said("versions", "models", "m")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines()[1:]][2] == ["3", "live"]
    code, out, err = said("labels", "models", "m", "stable=1", "canary=2")
    assert (code, out) == (
        0, "canary = 2\nstable = 1\nin service: 1, 2\nrequests that name no version go to 2\n",
    )  # fmt: skip
    assert err.startswith("warning: version 3 was in service before")
    code, _, err = said("labels", "models", "m", "stable=3")
    assert "'stable' moves from version 1 to 3, which was not in service" in err
    code, _, err = said("rollback", "models", "m")
    assert code == 8
    assert "has the label 'stable'" in err
    assert said("labels", "models", "m", "--remove", "stable", "--remove", "canary")[0] == 0
    code, out, _ = said("rollback", "models", "m", "--version", "1")
    assert code == 0
    assert out.startswith("m: version 1 is the newest again (it was 3)\n")
    for words in (("labels", "models/m", "m"), ("versions", "models/m/1", "m")):
        code, _, err = said(*words)
        assert code == 8
        assert "this is the folder of a model, or inside one: 'm'" in err
    assert said("labels", "models", "x")[0] == 2


def test_the_files_tell_the_layout(make_model, make_saved, tmp_path: Path) -> None:
    triton.publish(make_model(), tmp_path / "triton", "m")
    tf_serving.publish(make_saved(1.0), tmp_path / "tf", "m")
    assert layout_of(tmp_path / "triton") is triton
    assert layout_of(tmp_path / "tf") is tf_serving
    (tmp_path / "tf/models.config").unlink()  # as a server is started with MODEL_NAME
    assert layout_of(tmp_path / "tf") is tf_serving
    (tmp_path / "triton/m/config.pbtxt").unlink()  # the server makes a configuration itself
    assert layout_of(tmp_path / "triton") is triton
    assert layout_of(located("s3://bucket/models")).__name__.endswith("triton.remote")
    with pytest.raises(UsageError, match="is not a folder"):
        layout_of(tmp_path / "nothing")


def test_what_is_neither_and_what_is_both(make_model, make_saved, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain/notes.txt").touch()
    with pytest.raises(RepositoryInvalid, match="no repository of Triton Inference Server or TensorFlow Serving"):
        layout_of(tmp_path / "plain")
    triton.publish(make_model(), tmp_path / "both", "m")
    (tmp_path / "both/models.config").touch()
    with pytest.raises(RepositoryInvalid, match=r"Triton Inference Server .* and TensorFlow Serving \(models.config\)"):
        layout_of(tmp_path / "both")


def test_a_repository_of_another_server_is_not_published_to(
    said: Said, make_model, make_saved, three: Path, tmp_path: Path
) -> None:
    triton.publish(make_model(), tmp_path / "triton", "m")
    code, _, err = said("publish", str(make_saved(1.0).folder), "triton", "--to", "tf-serving", "--name", "m")
    assert code == 8
    assert "a repository of Triton Inference Server, not of TensorFlow Serving" in err
    code, _, err = said("publish", make_model().location, "models", "--to", "triton", "--name", "m")
    assert code == 8
    assert "publish --to tf-serving" in err
    code, _, err = said("publish", make_model().location, "models", "--to", "tf-serving", "--name", "m")
    assert code == 2
    assert "TensorFlow Serving takes saved-model" in err
    code, _, err = said(
        "publish", str(make_saved(1.0).folder), "s3://bucket/models", "--to", "tf-serving", "--name", "m"
    )
    assert code == 2
    assert "in an object store, where mlconvert has no repositories of TensorFlow Serving" in err


RECIPE = """\
model: small.onnx
targets:
  saved:
    steps: [saved-model]
    publish: {{to: tf-serving, name: m{repository}}}
"""
BESIDE = """\
  smaller:
    steps: [optimize]
    publish: {to: triton, name: m}
"""


@pytest.mark.parametrize(
    ("repository", "more", "words"),
    [
        (", repository: s3://bucket/models", "", "has no repositories of TensorFlow Serving"),
        ("", BESIDE, "a repository of TensorFlow Serving and of Triton Inference Server"),
        (", options: {instances: 2}", "", "has no option 'instances'"),
    ],
)
def test_a_recipe_is_checked_before_the_work(
    said: Said, small_onnx: Path, tmp_path: Path, repository: str, more: str, words: str
) -> None:
    shutil.copy(small_onnx, tmp_path / "small.onnx")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(repository=repository) + more)
    code, _, err = said("run", "recipe.yaml", "--dry-run")
    assert code == 2
    assert words in err
