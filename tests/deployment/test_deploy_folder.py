"""Files that were not written here, or were changed since, are never overwritten and never removed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from mlconvert.deployment.folder import is_ours, write_files
from mlconvert.errors import OutOfResources, UsageError

NAMES = ("a.yaml", "sub/b.yaml", "c.txt")


def texts(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(errors="replace")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_are_written_and_written_again(tmp_path):
    write_files(tmp_path, {"a.yaml": "one\n", "sub/b.yaml": "two\n"}, NAMES)
    assert all(is_ours(tmp_path / name) for name in ("a.yaml", "sub/b.yaml"))
    first = texts(tmp_path)
    write_files(tmp_path, {"a.yaml": "one\n", "sub/b.yaml": "two\n"}, NAMES)
    assert texts(tmp_path) == first
    write_files(tmp_path, {"a.yaml": "other\n", "sub/b.yaml": "two\n"}, NAMES)
    assert texts(tmp_path)["a.yaml"].endswith("\nother\n")


def test_what_is_no_longer_wanted_goes_if_it_is_ours(tmp_path):
    write_files(tmp_path, {"a.yaml": "one\n", "c.txt": "three\n"}, NAMES)
    (tmp_path / "others.yaml").write_text("mine")
    write_files(tmp_path, {"a.yaml": "one\n"}, NAMES)
    assert sorted(texts(tmp_path)) == ["a.yaml", "others.yaml"]
    write_files(tmp_path, {"c.txt": "three\n"}, ("c.txt",))
    assert "a.yaml" in texts(tmp_path), "not one of the target's files"


@pytest.mark.parametrize("change", ["edited", "foreign", "binary", "folder", "link", "truncated"])
def test_what_is_not_ours_stays(tmp_path, change):
    write_files(tmp_path, {"a.yaml": "one\n", "c.txt": "three\n"}, NAMES)
    path = tmp_path / "c.txt"
    text = path.read_text()
    path.unlink()
    if change == "edited":
        path.write_text(text + "more\n")
    elif change == "foreign":
        path.write_text("three\n")
    elif change == "binary":
        path.write_bytes(b"\xff\xfe")
    elif change == "folder":
        path.mkdir()
    elif change == "link":
        (tmp_path / "elsewhere").write_text(text)
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text(text[:-1])
    before = texts(tmp_path)
    with pytest.raises(UsageError, match=r"c\.txt was not written by") as caught:
        write_files(tmp_path, {"a.yaml": "new\n", "c.txt": "new\n"}, NAMES)
    assert caught.value.hint
    assert texts(tmp_path) == before
    write_files(tmp_path, {"a.yaml": "new\n"}, NAMES)  # and it is not removed as something of ours either
    assert path.exists()
    assert path.is_dir() or texts(tmp_path)["c.txt"] == before["c.txt"]


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, OutOfResources), (errno.EROFS, UsageError)])
def test_a_disk_that_fails_leaves_the_old_files(tmp_path, monkeypatch, number, kind):
    write_files(tmp_path, {"a.yaml": "one\n", "c.txt": "three\n"}, NAMES)
    before = texts(tmp_path)

    def fail(path: Path, text: str) -> Path:
        if path.name == "c.txt":
            raise OSError(number, "no", str(path))
        return staged(path, text)

    from mlconvert.deployment import folder

    staged = folder._staged
    monkeypatch.setattr(folder, "_staged", fail)
    with pytest.raises(kind):
        write_files(tmp_path, {"a.yaml": "new\n", "c.txt": "new\n"}, NAMES)
    assert texts(tmp_path) == before


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_files(tmp_path / "out", {"a.yaml": "one\n"}, NAMES)
