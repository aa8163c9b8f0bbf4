from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import OutOfResources, RepositoryInvalid, UsageError
from mlconvert.repositories import repository_named, staging
from mlconvert.repositories.versions import VersionFolder, choose_version, plain_versions, version_folders


def test_names_of_versions(tmp_path: Path) -> None:
    for name in ["1", "2", "10", "02", "0", "7.tmp", "configs", ".8", "x9"]:
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file is no version")
    assert [folder.number for folder in plain_versions(tmp_path)] == [1, 2, 10]
    assert [folder.path.name for folder in version_folders(tmp_path)] == ["0", "1", "02", "2", "7.tmp", "10"]
    assert choose_version(None, version_folders(tmp_path)) == 11
    with pytest.raises(RepositoryInvalid, match=r"'7.tmp' is taken for version 7"):
        choose_version(7, version_folders(tmp_path))


def test_no_folder_no_versions(tmp_path: Path) -> None:
    assert version_folders(tmp_path / "missing") == []
    assert choose_version(None, []) == 1


@given(numbers=st.sets(st.integers(1, 10**18)), retired=st.sets(st.integers(1, 10**18)))
def test_the_next_number_is_higher_than_any_there_was(numbers: set[int], retired: set[int]) -> None:
    folders = [VersionFolder(number, Path(str(number)), plain=True) for number in numbers]
    following = choose_version(None, folders, retired)
    assert following == max(numbers | retired, default=0) + 1
    assert choose_version(following, folders) == following
    for number in numbers:
        with pytest.raises(RepositoryInvalid, match="never overwritten"):
            choose_version(number, folders)


@pytest.mark.parametrize("asked", [0, -1, 1 << 63])
def test_numbers_that_are_none(asked: int) -> None:
    with pytest.raises(UsageError, match="not a version number"):
        choose_version(asked, [])


def test_the_largest_number_has_no_next() -> None:
    with pytest.raises(RepositoryInvalid, match="no version number is left"):
        choose_version(None, [VersionFolder((1 << 63) - 1, Path("x"), plain=True)])


def test_unknown_layout() -> None:
    with pytest.raises(UsageError, match="Did you mean 'triton'"):
        repository_named("tritn")


# --- staging ---


def test_a_held_lock_is_waited_for_and_then_reported(tmp_path: Path) -> None:
    repository = tmp_path / "models"
    with staging.exclusive(repository, "m", wait_seconds=1):
        with (
            pytest.raises(OutOfResources, match=rf"another publisher \(process {os.getpid()}\)"),
            staging.exclusive(repository, "m", wait_seconds=0.1),
        ):
            pass
        with staging.exclusive(repository, "other", wait_seconds=0):  # another model has a lock of its own
            pass
    assert list(tmp_path.iterdir()) == []


def test_the_second_one_gets_the_lock_when_the_first_is_done(tmp_path: Path) -> None:
    order: list[str] = []
    inside = threading.Event()

    def first() -> None:
        with staging.exclusive(tmp_path / "models", "m", wait_seconds=0):
            inside.set()
            time.sleep(0.3)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(5)
    with staging.exclusive(tmp_path / "models", "m", wait_seconds=5) as work:
        order.append("second")
        assert list(work.iterdir()) == []
    thread.join()
    assert order == ["first", "second"]


def test_many_threads_one_at_a_time(tmp_path: Path) -> None:
    """The lock's file and the staging folder come and go; nobody may ever be inside together."""
    inside: list[int] = []
    clashes: list[int] = []

    def work() -> None:
        for _ in range(20):
            with staging.exclusive(tmp_path / "models", "m", wait_seconds=60):
                inside.append(1)
                clashes.append(len(inside))
                time.sleep(0.0005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(clashes) == 80
    assert set(clashes) == {1}
    assert list(tmp_path.iterdir()) == []


def test_the_dead_free_their_lock_and_their_leftovers_go(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from mlconvert.repositories import staging\n"
        "with staging.exclusive(Path(sys.argv[1]), sys.argv[2], wait_seconds=1) as work:\n"
        "    (work / 'half').write_text('x'); os._exit(9)\n"
    )
    repository = tmp_path / "models"
    for name in ("m", "other"):
        assert subprocess.run([sys.executable, "-c", code, str(repository), name]).returncode == 9
    assert (tmp_path / ".mlconvert-models/staged/m/half").exists() or (
        tmp_path / ".mlconvert-models/staged/other/half"
    ).exists()
    with staging.exclusive(repository, "third", wait_seconds=0):
        assert [path.name for path in (tmp_path / ".mlconvert-models/staged").iterdir()] == ["third"]
    assert list(tmp_path.iterdir()) == []


def test_time_stamps_are_newer_even_when_the_clock_is_behind(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/file").write_text("x")
    future = time.time_ns() + 10**15
    staging.stamp(tmp_path, future)
    assert all(path.stat().st_mtime_ns > future for path in (tmp_path, *tmp_path.rglob("*")))
    staging.touch(tmp_path, future * 2)
    assert tmp_path.stat().st_mtime_ns > future * 2
