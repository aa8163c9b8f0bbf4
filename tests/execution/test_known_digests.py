"""What a step hashed while it wrote: nobody reads it again for its digest."""

from __future__ import annotations

import hashlib

import pytest

from mlconvert.artifact import Artifact
from mlconvert.execution import cache
from mlconvert.execution.cached_jobs import CachedJobs, unwatched
from mlconvert.execution.jobs import Children
from mlconvert.recipe import LimitsSpec


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def lowered(small_onnx, tmp_path):
    """A function that makes an older model of a small one, as a job of a run."""
    (tmp_path / "scratch").mkdir()
    request = {
        "job": "convert",
        "converter": "onnx:lower",
        "options": {"opset": 17},
        "source": Artifact("onnx", str(small_onnx), (small_onnx,)).as_json(),
        "samples": None,
        "filename": "model.onnx",
    }
    jobs = CachedJobs(Children(LimitsSpec()), tmp_path / "scratch", unwatched)
    return lambda **key: jobs.get("target", "lower", {"test": 1, **key}, lambda: request)


def test_what_the_step_wrote_is_not_read_again(lowered, monkeypatch):
    def read(path):
        pytest.fail(f"{path} was read for its digest")

    monkeypatch.setattr(cache, "file_sha256", read)
    made = lowered()
    monkeypatch.undo()
    content = (made.folder / "model.onnx").read_bytes()
    assert made.files == {"model.onnx": hashlib.sha256(content).hexdigest()}
    assert "sha256" not in made.result, "the files are told of once"


def test_what_was_made_just_now_lies_where_it_can_be_renamed(lowered, tmp_path):
    made = lowered()
    assert made.fresh is not None
    assert (tmp_path / "scratch") in made.fresh.parents
    assert (made.fresh / "model.onnx").read_bytes() == (made.folder / "model.onnx").read_bytes()


def test_known_digests_are_taken_as_they_are_and_the_rest_is_hashed(tmp_path):
    for name in ("known", "other"):
        (tmp_path / name).write_bytes(name.encode())
    found = cache.file_digests(tmp_path, {"known": "told", "gone": "never asked for"})
    assert found == {"known": "told", "other": hashlib.sha256(b"other").hexdigest()}
