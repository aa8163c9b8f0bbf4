"""Publishers that die, disks that are full or read-only, two publishers at once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlconvert.artifact import file_sha256
from mlconvert.errors import MlconvertError, OutOfResources, RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton import publication, publish, rollback, versions
from mlconvert.repositories.triton.backends import onnxruntime

PROGRAM = Path(__file__).with_name("publisher_process.py")
POINTS = ["before", "half", *(name for name, _ in publication.STEPS)]


def kill(cases: list[dict]) -> None:
    done = subprocess.run([sys.executable, PROGRAM, "die", json.dumps(cases)], capture_output=True, text=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [-9] * len(cases), done.stderr


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_would_load(model_folder: Path) -> None:
    """Every version is complete and fits the configuration."""
    config = cfg.read(model_folder / "config.pbtxt")
    for path in model_folder.iterdir():
        if path.is_dir():
            signature = onnxruntime.published_signature(path)
            assert signature is not None
            assert onnxruntime.misfits(config, signature, model_folder.name) == []


@pytest.mark.parametrize("scenario", ["new model", "new version", "new version and configuration"])
def test_killed_at_every_step(make_model, tmp_path: Path, scenario: str) -> None:
    first, second = make_model("first.onnx"), make_model("second.onnx", scale=3.0)
    options = {"max_batch_size": 8} if "configuration" in scenario else {}
    start, goal = tmp_path / "start" / "models", tmp_path / "goal" / "models"
    (tmp_path / "start").mkdir()
    if scenario != "new model":
        publish(first, start, "m")
        shutil.copytree(start, goal)
    publish(second, goal, "m", options=options)
    was, should_be = content(start), content(goal)
    allowed = [was, should_be]
    if "configuration" in scenario:  # a new configuration may precede its version: it does for the old one, too
        allowed.insert(1, {**was, "m/config.pbtxt": should_be["m/config.pbtxt"]})

    cases = []
    for point in POINTS:
        shutil.copytree(tmp_path / "start", tmp_path / point)
        repository = tmp_path / point / "models"
        cases.append(
            {"action": "publish", "repository": str(repository), "name": "m", "model": second.location,
             "options": options, "die": point}
        )  # fmt: skip
    kill(cases)

    seen = []
    for point in POINTS:
        repository = tmp_path / point / "models"
        now = content(repository)
        assert now in allowed, point
        seen.append(allowed.index(now))
        if now:
            assert_would_load(repository / "m")
        done = publish(second, repository, "m", options=options)
        assert content(repository) == should_be, point
        assert done.live
        assert [path.name for path in repository.parent.iterdir()] == ["models"], point  # no leftovers
    assert seen == sorted(seen)
    assert set(seen) == set(range(len(allowed)))  # before and after (and between) were all met


def test_a_killed_rollback_keeps_serving_the_newest(make_model, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    for scale in (2.0, 3.0, 4.0):
        publish(make_model(scale=scale), repository, "m")
    kill([{"action": "rollback", "repository": str(repository), "name": "m", "die": "rename"}])
    assert [(version.number, version.live) for version in versions(repository, "m")] == [(1, False), (3, True)]
    assert rollback(repository, "m").version == 1


FAULTS = [(errno.ENOSPC, OutOfResources), (errno.EDQUOT, OutOfResources), (errno.EROFS, RepositoryInvalid)]


CALLS = ["os.rename", "os.utime", "os.fsync", "os.fchmod", "mlconvert.repositories.staging.copy_file"]


@pytest.mark.parametrize(("code", "expected"), FAULTS)
@pytest.mark.parametrize(
    ("existing", "function"),
    [(False, call) for call in CALLS] + [(True, call) for call in (*CALLS, "os.replace")],
)
def test_a_disk_that_fails_leaves_everything_as_it_was(
    make_model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    expected: type,
    function: str,
    existing: bool,
) -> None:
    repository = tmp_path / "disk" / "models"
    options = {}
    if existing:
        publish(make_model(), repository, "m")
        options = {"max_batch_size": 8}
    before = content(tmp_path)
    source = make_model("second.onnx", scale=3.0)
    before["artifacts/second.onnx"] = file_sha256(source.path)

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code), str(repository))

    with monkeypatch.context() as patch:
        patch.setattr(function, fail)
        with pytest.raises(expected) as caught:
            publish(source, repository, "m", options=options)
    assert os.strerror(code) in caught.value.message
    after = content(tmp_path)
    if existing and function == "os.rename":  # the step before has put the new configuration in place, which fits
        assert_would_load(repository / "m")
        after.pop("disk/models/m/config.pbtxt"), before.pop("disk/models/m/config.pbtxt")
    assert after == before
    assert not (tmp_path / "disk/.mlconvert-models").exists()
    assert (tmp_path / "disk").exists() == existing
    assert publish(source, repository, "m", options=options).version == (2 if existing else 1)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_parent_that_cannot_be_written(
    make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    source = make_model()

    def fail(path: Path, *args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(RepositoryInvalid, match=os.strerror(code)) as caught:
        publish(source, tmp_path / "models", "m")
    assert "must be writable" in (caught.value.hint or "")


def test_a_disk_that_is_too_small_is_seen_before_anything_is_copied(
    make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_model()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    monkeypatch.setattr(staging, "copy_file", lambda *args: pytest.fail("copied"))
    with pytest.raises(OutOfResources, match="0 MB left"):
        publish(source, tmp_path / "models", "m")
    assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]


def test_a_repository_on_a_mount_of_its_own(make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_model()

    def fail(*args: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr("os.rename", fail)
    with pytest.raises(RepositoryInvalid, match="different filesystems") as caught:
        publish(source, tmp_path / "models", "m")
    assert "inside the mount" in (caught.value.hint or "")


@pytest.mark.skipif(not Path("/dev/shm").is_mount(), reason="needs /dev/shm as a mount of its own")
def test_a_mount_point_is_refused_before_anything_is_written(make_model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlconvert.repositories.triton.publishing.check_repository", lambda repository: None)
    before = sorted(Path("/dev").iterdir())
    with pytest.raises(RepositoryInvalid, match="different filesystems"):
        publish(make_model(), Path("/dev/shm"), "m")
    assert sorted(Path("/dev").iterdir()) == before


def test_a_source_that_changes_while_it_is_copied(make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_model()
    copy = staging.copy_file

    def changed(file: Path, target: Path) -> str:
        make_model(scale=7.0)
        return copy(file, target)

    monkeypatch.setattr(staging, "copy_file", changed)
    with pytest.raises(RepositoryInvalid, match="changed while it was being published"):
        publish(source, tmp_path / "models", "m")
    assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]


def test_an_interrupt_leaves_nothing(make_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_model()

    def interrupt(*args: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(staging, "copy_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(source, tmp_path / "deep" / "down" / "models", "m")
    assert [path.name for path in tmp_path.iterdir()] == ["artifacts"]


def test_two_publishers_at_once(make_model, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    sides = [[make_model(f"{side}{n}.onnx", scale=float(side * 100 + n)).location for n in range(8)] for side in (1, 2)]
    processes = [
        subprocess.Popen(
            [sys.executable, PROGRAM, "publish", repository, "m", *side], stdout=subprocess.PIPE, text=True
        )
        for side in sides
    ]
    numbers = [[int(line) for line in process.communicate(timeout=60)[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(numbers[0] + numbers[1]) == list(range(1, 17))
    published = {version.number: version.sha256 for version in versions(repository, "m")}
    for side, given in zip(sides, numbers, strict=True):
        assert [published[number] for number in given] == [file_sha256(Path(model)) for model in side]
    assert_would_load(repository / "m")
    assert not (tmp_path / ".mlconvert-models").exists()


def test_a_publisher_that_takes_too_long_is_named(make_model, tmp_path: Path) -> None:
    with (
        staging.exclusive(tmp_path / "models", "m", wait_seconds=0),
        pytest.raises(MlconvertError, match="another publisher") as caught,
    ):
        publish(make_model(), tmp_path / "models", "m", wait_seconds=0.1)
    assert caught.value.exit_code == 9
    assert publish(make_model(), tmp_path / "models", "m").version == 1
