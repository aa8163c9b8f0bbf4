"""Where results go: nothing of anybody else's is replaced, and no run leaves half of something."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.errors import OutOfResources, UsageError
from mlconvert.execution import outputs
from mlconvert.execution.outputs import Destination, check, claimed, place
from mlconvert.formats import format_named

ONNX = format_named("onnx")


def stage(scratch: Path, destination: Destination, content: dict[str, bytes]) -> Path:
    """What a run makes before it places it: the files and their record."""
    staged = scratch / "staged"
    staged.mkdir(parents=True)
    rows = []
    for name, data in content.items():
        (staged / name).write_bytes(data)
        rows.append({"path": name, "sha256": file_sha256(staged / name), "bytes": len(data)})
    record = {"schema": records.SCHEMA, "path": destination.main.name, "files": rows}
    records.write_json(staged / destination.record.name, record)
    return staged


def run(out: Path, data: bytes = b"model", extra: dict[str, bytes] | None = None) -> Destination:
    """A whole run into `out`."""
    destination = Destination.of(out, ONNX)
    with claimed(out) as scratch:
        check(destination)
        content = {destination.main.name: data, **(extra or {})}
        place(stage(scratch, destination, content), destination, scratch)
    return destination


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_suffix_makes_a_file_and_anything_else_a_folder(tmp_path):
    file = Destination.of(tmp_path / "m.onnx", ONNX)
    assert (file.main, file.record, file.whole) == (tmp_path / "m.onnx", tmp_path / "m.onnx.json", False)
    assert Destination.of(tmp_path / "M.ONNX", ONNX).main == tmp_path / "M.ONNX"
    folder = Destination.of(tmp_path / "m", ONNX)
    assert (folder.main, folder.record, folder.whole) == (
        tmp_path / "m" / "model.onnx", tmp_path / "m" / "record.json", True,
    )  # fmt: skip
    (tmp_path / "dir.onnx").mkdir()
    assert Destination.of(tmp_path / "dir.onnx", ONNX).main == tmp_path / "dir.onnx" / "model.onnx"


@pytest.mark.parametrize("name", ["m.onnx", "m"])
def test_a_result_is_placed_and_replaced_by_the_next(tmp_path, name):
    out = tmp_path / "deep" / "er" / name
    destination = run(out, b"first", {"m.onnx.data": b"old weights"})
    assert destination.main.read_bytes() == b"first"
    run(out, b"second", {"m.onnx.more": b"new weights"})
    assert destination.main.read_bytes() == b"second"
    assert not (destination.main.parent / "m.onnx.data").exists()
    assert records.read(destination.record) is not None
    left = names(tmp_path)
    assert len(left) == 3
    assert not any(".mlconvert" in name for name in left)


def test_a_run_that_fails_leaves_nothing_and_what_was_there_stays(tmp_path):
    out = tmp_path / "new" / "m"

    def interrupted():
        with claimed(out) as scratch:
            (scratch / "half").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert listed(tmp_path) == []
    run(out, b"first")
    with pytest.raises(ZeroDivisionError), claimed(out):
        raise ZeroDivisionError
    assert names(tmp_path) == ["new/m/model.onnx", "new/m/record.json"]


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="was not made by mlconvert") as caught:
        run(tmp_path / "m")
    assert caught.value.exit_code == 2
    assert names(tmp_path) == ["m/thesis.tex"]


def test_an_empty_folder_is_free(tmp_path):
    (tmp_path / "m").mkdir()
    assert run(tmp_path / "m").main.exists()


def test_a_foreign_file_among_ours_is_refused(tmp_path):
    run(tmp_path / "m")
    (tmp_path / "m" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"holds files that are not mlconvert's: notes\.txt"):
        run(tmp_path / "m", b"second")
    assert (tmp_path / "m" / "model.onnx").read_bytes() == b"model"


def test_a_foreign_link_among_ours_is_refused(tmp_path):
    run(tmp_path / "m")
    (tmp_path / "m" / "dangling").symlink_to("nowhere")
    with pytest.raises(UsageError, match="holds files that are not mlconvert's: dangling"):
        run(tmp_path / "m", b"second")
    assert (tmp_path / "m" / "dangling").is_symlink()


@pytest.mark.parametrize("present", ["m.onnx", "m.onnx.json"])
def test_a_foreign_file_in_the_place_of_a_file_is_refused(tmp_path, present):
    (tmp_path / present).write_text("{}")
    with pytest.raises(UsageError, match="was not made by mlconvert"):
        run(tmp_path / "m.onnx")
    assert names(tmp_path) == [present]


def test_foreign_external_data_is_refused_and_nothing_is_placed(tmp_path):
    (tmp_path / "m.onnx.data").write_text("mine")
    with pytest.raises(UsageError, match=r"m\.onnx\.data exists and is not mlconvert's"):
        run(tmp_path / "m.onnx", extra={"m.onnx.data": b"weights"})
    assert names(tmp_path) == ["m.onnx.data"]
    assert (tmp_path / "m.onnx.data").read_text() == "mine"


@pytest.mark.parametrize("name", ["m.onnx", "m"])
def test_a_result_of_ours_that_was_changed_is_not_lost(tmp_path, name):
    main = run(tmp_path / name).main
    main.write_bytes(b"edited by hand")
    with pytest.raises(UsageError, match="was changed after mlconvert wrote it; it would be lost"):
        run(tmp_path / name, b"second")
    assert main.read_bytes() == b"edited by hand"


def test_a_record_that_points_out_of_its_folder_removes_nothing(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "m.onnx").write_text("x")
    rows = [{"path": path, "sha256": file_sha256(folder / path)} for path in ("m.onnx", "../victim")]
    records.write_json(folder / "m.onnx.json", {"schema": records.SCHEMA, "path": "m.onnx", "files": rows})
    with pytest.raises(UsageError, match="was not made by mlconvert"):
        run(folder / "m.onnx")
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_what_is_no_folder_is_not_replaced_by_one(tmp_path, kind):
    if kind == "file":
        (tmp_path / "m").write_text("x")
    else:
        (tmp_path / "m").symlink_to("nowhere")
    with pytest.raises(UsageError, match="exists and is not a folder"):
        run(tmp_path / "m")
    assert listed(tmp_path) == ["m"]


def test_a_folder_is_replaced_in_one_rename(tmp_path, monkeypatch):
    """At every rename the output is the old result, the new one or (for a moment) not there; never a mixture."""
    out = tmp_path / "m"
    run(out, b"first", {"old.bin": b"1"})
    seen = []
    real = Path.rename

    def watched(self, target):
        done = real(self, target)
        seen.append(names(out) if out.exists() else None)
        return done

    monkeypatch.setattr(Path, "rename", watched)
    run(out, b"second", {"new.bin": b"2"})
    assert seen == [None, ["model.onnx", "new.bin", "record.json"]]


def test_a_rename_that_fails_puts_the_previous_result_back(tmp_path, monkeypatch):
    out = tmp_path / "m"
    run(out, b"first")
    real = Path.rename

    def failing(self, target):
        if self.name == "staged":
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutOfResources, match="no space is left"):
        run(out, b"second")
    assert (out / "model.onnx").read_bytes() == b"first"
    assert listed(tmp_path) == ["m"]


# --- two runs ---

HOLDING = """
import sys, time
from pathlib import Path
from mlconvert.execution.outputs import claimed
with claimed(Path(sys.argv[1])) as scratch:
    (scratch / "half").write_text("x")
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(out):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_told_of_the_first(tmp_path):
    out = tmp_path / "m"
    first = holder(out)
    with pytest.raises(UsageError, match=rf"another mlconvert \(process {first.pid}\) is writing to") as caught:
        run(out)
    assert caught.value.exit_code == 2
    run(tmp_path / "other")
    first.communicate()
    assert first.returncode == 0
    run(out)
    assert listed(tmp_path) == ["m", "other"]


def test_what_a_killed_run_left_is_cleaned_up(tmp_path):
    out = tmp_path / "m"
    first = holder(out)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert listed(tmp_path) == [".mlconvert-m", ".mlconvert-m.lock"]
    run(out)
    assert listed(tmp_path) == ["m"]


KILLED_BETWEEN = """
import os, signal, sys
from pathlib import Path
from mlconvert.execution import outputs
from mlconvert.formats import format_named
real = Path.rename
def rename(self, target):
    if self.name == "staged":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, target)
Path.rename = rename
base = Path(sys.argv[1])
destination = outputs.Destination.of(base / sys.argv[2], format_named("onnx"))
with outputs.claimed(base) as scratch:
    (scratch / "staged").mkdir()
    outputs.place(scratch / "staged", destination, scratch)
"""


@pytest.mark.parametrize("name", ["m", "таргет-" * 8, "50%2F off"], ids=["plain", "long and not ASCII", "percent"])
def test_a_run_killed_between_two_renames_loses_nothing(tmp_path, name):
    """The previous result was moved aside and the new one not yet in its place: the next run puts it back."""
    base = tmp_path / "build"
    run(base / name, b"first")
    done = subprocess.run([sys.executable, "-c", KILLED_BETWEEN, str(base), name])
    assert done.returncode == -signal.SIGKILL
    assert not (base / name).exists()
    with claimed(base) as scratch:
        assert (base / name / "model.onnx").read_bytes() == b"first"
        assert list(scratch.iterdir()) == []
    assert listed(tmp_path) == ["build"]


@given(st.lists(st.text("ab%2F. ü", min_size=1, max_size=5), min_size=1, max_size=3).map("/".join))
def test_the_name_of_a_set_aside_folder_tells_where_it_was(relative):
    scratch = Path("/x/.mlconvert-y")
    out = scratch.parent / relative
    quoted = outputs._quoted(out, scratch)
    assert "/" not in quoted
    assert scratch.parent / outputs.unquote(quoted) == out


# --- places that cannot be written ---


def test_a_file_in_the_way_of_a_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file" / "m", tmp_path / "file" / "deep" / "m.onnx"):
        with pytest.raises(UsageError, match="cannot be written: Not a directory"):
            run(out)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_place_that_may_not_be_written_is_told(tmp_path, monkeypatch, number):
    # As root no mode bits stop us, so the refusal is made up here.
    def refused(path, *args, **kwargs):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(outputs.os, "open", refused)
    with pytest.raises(UsageError, match=f"cannot be written: {os.strerror(number)}") as caught:
        run(tmp_path / "m")
    assert caught.value.hint == "choose another -o"
    assert listed(tmp_path) == []


def test_a_filesystem_without_locks_is_told(tmp_path, monkeypatch):
    def refused(*args):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(outputs.fcntl, "flock", refused)
    with pytest.raises(UsageError, match="cannot be written: No locks available"):
        run(tmp_path / "m")


def test_an_error_about_another_file_names_that_file(tmp_path):
    with pytest.raises(UsageError, match=r"/elsewhere/model\.txt cannot be"), claimed(tmp_path / "m"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/model.txt")


def test_a_full_disk_is_out_of_resources_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a tmpfs (root, or CAP_SYS_ADMIN)")
    try:
        run(disk / "m", b"first")
        with pytest.raises(OutOfResources, match="no space is left to write") as caught:
            run(disk / "m", b"x" * 100_000)
        assert caught.value.exit_code == 9
        assert names(disk) == ["m/model.onnx", "m/record.json"]
        assert (disk / "m" / "model.onnx").read_bytes() == b"first"
        assert listed(disk) == ["m"]
    finally:
        subprocess.run(["umount", disk], check=True)
