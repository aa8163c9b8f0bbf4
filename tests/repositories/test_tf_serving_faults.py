"""Disks that are full or read-only, an interrupt, and publishers at once: in a TensorFlow Serving repository."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mlconvert.artifact import file_sha256
from mlconvert.errors import MlconvertError, OutOfResources, RepositoryInvalid
from mlconvert.repositories import staging
from mlconvert.repositories.tf_serving import label, models_config, publish, rollback, versions
from mlconvert.repositories.tf_serving.layout import entries_in

PROGRAM = Path(__file__).with_name("publisher_process.py")
FAULTS = [(errno.ENOSPC, OutOfResources), (errno.EROFS, RepositoryInvalid)]
CALLS = [
    "os.rename", "os.replace", "os.utime", "os.fsync", "os.fchmod", "mlconvert.repositories.staging.copy_file",
    "mlconvert.repositories.tf_serving.models_config.put",
]  # fmt: skip


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(("code", "expected"), FAULTS)
@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("function", CALLS)
def test_a_disk_that_fails_leaves_everything_as_it_was(
    make_saved,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    expected: type[MlconvertError],
    function: str,
    existing: bool,
) -> None:
    repository = tmp_path / "disk" / "models"
    options = {}
    if existing:
        publish(make_saved(1.0), repository, "m")
        options = {"version_policy": "latest:2", "monitoring": "yes"}
    source = make_saved(2.0)
    before = content(tmp_path)

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code), str(repository))

    with monkeypatch.context() as patch:
        patch.setattr(function, fail)
        with pytest.raises(expected) as caught:
            publish(source, repository, "m", options=options)
    assert os.strerror(code) in caught.value.message
    after = {name: digest for name, digest in content(tmp_path).items() if "rolled-back" not in name}
    assert after == before
    assert (
        {path.name for path in (tmp_path / "disk").iterdir()} <= {"models", ".mlconvert-models"} if existing else True
    )
    done = publish(source, repository, "m", options=options)
    assert entries_in(repository)["m"].policy.count == 1 + existing
    assert done.live


def test_a_failure_after_the_version_came_takes_it_out_again(
    make_saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third file of the server cannot be written: the first two are as they were, and so is the model."""
    repository = tmp_path / "models"
    publish(make_saved(1.0), repository, "m")
    before = content(repository)
    put = models_config.put

    def sometimes(path: Path, text: bytes, work: Path) -> None:
        if path.name == "batching.config":
            raise KeyboardInterrupt
        put(path, text, work)

    monkeypatch.setattr(models_config, "put", sometimes)
    with pytest.raises(KeyboardInterrupt):
        publish(
            make_saved(2.0),
            repository,
            "m",
            options={"version_policy": "all", "monitoring": "yes", "batching": "yes"},
        )
    assert content(repository) == before


def test_two_publishers_of_two_models_at_once(make_saved, tmp_path: Path) -> None:
    """models.config is one file for both: neither loses the other's entry."""
    repository = tmp_path / "models"
    sides = [[make_saved(float(side * 100 + n)).location for n in range(4)] for side in (1, 2, 3)]
    processes = [
        subprocess.Popen(
            [sys.executable, PROGRAM, "publish", repository, f"m{number}", *side], stdout=subprocess.PIPE, text=True
        )
        for number, side in enumerate(sides)
    ]
    numbers = [[int(line) for line in process.communicate(timeout=60)[0].split()] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert numbers == [[1, 2, 3, 4]] * 3
    assert entries_in(repository).keys() == {"m0", "m1", "m2"}
    assert not (tmp_path / ".mlconvert-models").exists()


def test_many_entries_at_once(make_saved, tmp_path: Path) -> None:
    repository = tmp_path / "models"
    source = make_saved(1.0)
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            publish(source, repository, name)
            label(repository, name, {"stable": 1})
        except BaseException as error:  # told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(f"m{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert {name: dict(entry.labels) for name, entry in entries_in(repository).items()} == {
        f"m{number}": {"stable": 1} for number in range(8)
    }


def test_one_at_a_time(make_saved, tmp_path: Path) -> None:
    """A publisher, a rollback and labels of one model wait for each other; entries of others do not wait long."""
    repository = tmp_path / "models"
    for scale in (1.0, 2.0):
        publish(make_saved(scale), repository, "m")
    with staging.exclusive(repository, "m", wait_seconds=0):
        for change in (
            lambda: publish(make_saved(3.0), repository, "m", wait_seconds=0.1),
            lambda: rollback(repository, "m", wait_seconds=0.1),
            lambda: label(repository, "m", {"a": 1}, wait_seconds=0.1),
        ):
            with pytest.raises(OutOfResources, match="another publisher"):
                change()
        assert publish(make_saved(3.0), repository, "n").version == 1
    assert [version.number for version in versions(repository, "m")] == [1, 2]
