"""Archives: what is written is read again, and nothing else is, to the byte."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.bundles import archive
from mlconvert.errors import OutOfResources, UsageError

SCHEMA = "mlconvert.bundle/1"
CONTENT = {"recipe.yaml": b"{}\n", "models/a.onnx": b"\x08\x07" * 20, "samples/empty.npz": b""}


def _files(folder: Path, content: dict[str, bytes]) -> dict[str, Path]:
    files = {}
    for number, (name, data) in enumerate(content.items()):
        files[name] = folder / f"file{number}"
        files[name].write_bytes(data)
    return files


def _written(folder: Path, content: dict[str, bytes], schema: str = SCHEMA) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / "job.tar"
    path.unlink(missing_ok=True)
    archive.write(path, {"schema": schema}, _files(folder, content))
    return path


def _unpack(path: Path, **options):
    """The files of an archive, unpacked into a folder that is gone afterwards."""
    folder = path.parent / "unpacked"
    folder.mkdir()
    try:
        manifest, digest = archive.unpack(path, folder, schema=SCHEMA, **options)
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        assert sorted(found) == [row["path"] for row in manifest["files"]]
        return found
    finally:
        shutil.rmtree(folder)


def _refused(path: Path, error: type = UsageError, **options) -> str:
    with pytest.raises(error) as caught:
        _unpack(path, **options)
    return f"{caught.value.message}\n{caught.value.hint}"


@pytest.fixture
def small(tmp_path):
    return _written(tmp_path / "small", CONTENT)


# --- what is written ---


def test_what_is_written_is_read(small):
    assert _unpack(small) == CONTENT


def test_any_tar_program_unpacks_it(small, tmp_path):
    with tarfile.open(small, "r:") as tar:
        members = tar.getmembers()
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", small, "-C", tmp_path / "out"], check=True)
    assert [each.name for each in members] == [archive.MANIFEST, archive.DIGEST, *sorted(CONTENT)]
    assert {(each.mtime, each.uid, each.gid, each.mode, each.type) for each in members} == {
        (0, 0, 0, 0o644, tarfile.REGTYPE)
    }
    assert {name: (tmp_path / "out" / name).read_bytes() for name in CONTENT} == CONTENT
    manifest = (tmp_path / "out" / archive.MANIFEST).read_bytes()
    line = (tmp_path / "out" / archive.DIGEST).read_text()
    assert line == f"{hashlib.sha256(manifest).hexdigest()}  {archive.MANIFEST}\n"  # as sha256sum -c reads it


def test_equal_content_gives_equal_bytes(tmp_path):
    first = _written(tmp_path / "first", CONTENT)
    second = _written(tmp_path / "second", dict(reversed(CONTENT.items())))
    assert first.read_bytes() == second.read_bytes()


UNPRINTABLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs")
LETTERS = st.just(" ") | st.characters(exclude_characters="/", exclude_categories=UNPRINTABLE)
PARTS = st.text(LETTERS, min_size=1, max_size=60).filter(lambda part: part not in (".", ".."))
NAMES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(NAMES, st.binary(max_size=1100), min_size=1, max_size=4))
def test_names_and_sizes_of_any_kind(tmp_path_factory, content):
    if archive._clash(sorted(content)) or any(len(part.encode()) > 250 for name in content for part in name.split("/")):
        return
    folder = tmp_path_factory.mktemp("drawn")
    try:
        assert _unpack(_written(folder, content)) == content
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("size", [0, 511, 512, (8 << 30) - 1, 8 << 30, 1 << 45])
def test_sizes_are_as_tar_writes_them(size, tmp_path):
    (tmp_path / "head.tar").write_bytes(archive._header("models/a.onnx", size) + bytes(1024))
    with tarfile.open(tmp_path / "head.tar", "r:") as tar:
        assert tar.next().size == size


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../up", "a/../b", "a//b", "./a", "a/", "", "a\0b", "a\x1b[2J", "a\nb", "\ud800"]
)
def test_names_that_are_not_written(name, tmp_path):
    with pytest.raises(UsageError, match="cannot be the name of a file"):
        _written(tmp_path, {name: b""})


@pytest.mark.parametrize("names", [("manifest.json",), ("manifest.json/a",), ("a", "a/b")])
def test_names_that_clash_are_not_written(names, tmp_path):
    with pytest.raises(UsageError, match="twice"):
        _written(tmp_path, dict.fromkeys(names, b""))


def test_a_file_that_changes_while_it_is_bundled(tmp_path, monkeypatch):
    files = _files(tmp_path, CONTENT)
    plain = archive.file_sha256
    monkeypatch.setattr(archive, "file_sha256", lambda path: (plain(path), path.write_bytes(b"other"))[0])
    with pytest.raises(UsageError, match="was changed while it was bundled"):
        archive.write(tmp_path / "job.tar", {"schema": SCHEMA}, files)


# --- what is refused ---


def test_any_byte_that_is_flipped_is_refused(small):
    """A bit of each byte; of the zeros, which are most of a small tar, one in eight."""
    data = small.read_bytes()
    folder = small.parent / "unpacked"
    for place in (place for place, byte in enumerate(data) if byte or place % 8 == 0):
        folder.mkdir(exist_ok=True)
        with small.open("r+b") as stream:
            stream.seek(place)
            stream.write(bytes([data[place] ^ (1 << place % 8)]))
        with pytest.raises(UsageError):
            archive.unpack(small, folder, schema=SCHEMA)
        with small.open("r+b") as stream:
            stream.seek(place)
            stream.write(data[place : place + 1])
        if any(folder.iterdir()):
            shutil.rmtree(folder)
    shutil.rmtree(folder, ignore_errors=True)
    assert small.read_bytes() == data
    assert _unpack(small) == CONTENT


@given(st.data())
def test_any_bytes_that_are_changed_are_refused(tmp_path_factory, data):
    path = _written(tmp_path_factory.mktemp("changed"), CONTENT)
    whole = path.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(start + 600, len(whole))))
    changed = whole[:start] + data.draw(st.binary(max_size=600)) + whole[end:]
    path.write_bytes(changed)
    if changed == whole:
        assert _unpack(path) == CONTENT
    else:
        _refused(path)


def test_any_truncation_is_refused(small):
    data = small.read_bytes()
    for size in range(0, len(data), 15):
        small.write_bytes(data[:size])
        _refused(small)
    small.write_bytes(data[: len(data) - 512])
    assert f"was cut off: {len(data) - 512} bytes, its manifest makes it {len(data)}" in _refused(small)


def test_what_stands_behind_the_end_is_refused(small):
    size = small.stat().st_size
    small.write_bytes(small.read_bytes() + bytes(10240 - size % 10240))  # as tar pads
    assert "has something behind its end" in _refused(small)


def test_a_member_that_was_changed_is_named(small):
    data = small.read_bytes()
    small.write_bytes(data.replace(b"\x08\x07" * 20, b"\x08\x07" * 19 + b"\x08\x06"))
    assert "models/a.onnx in the bundle was changed" in _refused(small)


def _forged(path: Path, rows, extra: bytes = b"", schema=SCHEMA) -> Path:
    """An archive whose manifest is rewritten to match, as somebody would who knows the form."""
    manifest = json.dumps({"schema": schema, "files": rows}).encode()
    with path.open("wb") as out:
        for name, data in ((archive.MANIFEST, manifest), (archive.DIGEST, archive._digest_line(manifest))):
            out.write(archive._header(name, len(data)) + data + archive._padding(len(data)))
        out.write(extra + archive.END)
    return path


EMPTY = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    "rows",
    [
        None,
        {},
        ["recipe.yaml"],
        [{"path": "a", "sha256": EMPTY}],
        [{"path": "a", "sha256": EMPTY, "bytes": -1}],
        [{"path": "a", "sha256": EMPTY, "bytes": True}],
        [{"path": "a", "sha256": EMPTY, "bytes": 1 << 70}],
        [{"path": "a", "sha256": None, "bytes": 0}],
        [{"path": "/etc/cron.d/a", "sha256": EMPTY, "bytes": 0}],
        [{"path": "../../a", "sha256": EMPTY, "bytes": 0}],
        [{"path": "a/../../b", "sha256": EMPTY, "bytes": 0}],
        [{"path": "a\0b", "sha256": EMPTY, "bytes": 0}],
        [{"path": "a", "sha256": EMPTY, "bytes": 0}] * 2,
        [{"path": "a", "sha256": EMPTY, "bytes": 0}, {"path": "a/b", "sha256": EMPTY, "bytes": 0}],
        [{"path": "manifest.json", "sha256": EMPTY, "bytes": 0}],
    ],
)
def test_a_manifest_of_anything_but_files_inside_is_refused(rows, tmp_path):
    path = _forged(tmp_path / "job.tar", rows, archive._header("a", 0))
    assert "names something else than files inside" in _refused(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_are_refused(kind, tmp_path):
    member = tarfile.TarInfo("a")
    member.type, member.linkname = kind, "/etc/passwd"
    path = _forged(tmp_path / "job.tar", [{"path": "a", "sha256": EMPTY, "bytes": 0}], member.tobuf(tarfile.PAX_FORMAT))
    _refused(path)


def test_a_size_that_the_file_does_not_have_is_refused_before_anything_is_written(tmp_path):
    rows = [{"path": "a", "sha256": EMPTY, "bytes": 1 << 50}]
    assert "was cut off" in _refused(_forged(tmp_path / "job.tar", rows, archive._header("a", 1 << 50)))


def test_no_room_is_told_before_anything_is_written(small, monkeypatch):
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    assert "no space is left" in _refused(small, OutOfResources)


def test_a_name_that_no_file_here_can_have(tmp_path):
    name = "a" * 300
    header = archive._header(name, 0)
    path = _forged(tmp_path / "job.tar", [{"path": name, "sha256": EMPTY, "bytes": 0}], header)
    assert "cannot be a file here" in _refused(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a bundle"),
        (b"\x80\x04K\x01.", "not a bundle"),
        (b"PK\x03\x04" + bytes(600), "not a bundle"),
        (bytes(10240), "not a bundle"),
        (gzip.compress(b"x" * 600, mtime=0), "compressed"),
    ],
)
def test_foreign_files(data, said, tmp_path):
    (tmp_path / "job.tar").write_bytes(data)
    assert said in _refused(tmp_path / "job.tar")


def test_places_without_a_file(tmp_path):
    assert "does not exist" in _refused(tmp_path / "job.tar")
    (tmp_path / "folder").mkdir()
    assert "is not a file" in _refused(tmp_path / "folder")


def test_another_schema_is_refused(tmp_path):
    told = _refused(_written(tmp_path, CONTENT, "mlconvert.bundle/2"))
    assert "(mlconvert.bundle/1): it says 'mlconvert.bundle/2'" in told


def test_a_tar_of_the_right_names_by_somebody_else_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": SCHEMA, "files": []}))
    with tarfile.open(tmp_path / "job.tar", "w:") as tar:
        member = tarfile.TarInfo("manifest.json")
        member.size, member.mtime = (tmp_path / "manifest.json").stat().st_size, 1
        tar.addfile(member, io.BytesIO((tmp_path / "manifest.json").read_bytes()))
    assert "was changed: the header of its manifest" in _refused(tmp_path / "job.tar")


# --- pinned ---


def test_a_pinned_file(small, tmp_path):
    digest = hashlib.sha256(small.read_bytes()).hexdigest()
    assert _unpack(small, sha256=digest) == CONTENT
    assert _unpack(small, sha256=digest.upper()) == CONTENT
    other = _written(tmp_path / "other", {**CONTENT, "recipe.yaml": b"{ }\n"})
    assert _unpack(other)  # sound in itself, and another
    assert "not the bundle that --sha256 names" in _refused(other, sha256=digest)


def test_a_pinned_file_that_is_exchanged_while_it_is_read(small, tmp_path, monkeypatch):
    other = _written(tmp_path / "other", {**CONTENT, "recipe.yaml": b"[]\n"}).read_bytes()
    digest = hashlib.sha256(small.read_bytes()).hexdigest()
    assert len(other) == small.stat().st_size
    plain = archive._check_pin

    def exchanged(stream, sha256, path):
        plain(stream, sha256, path)
        path.write_bytes(other)

    monkeypatch.setattr(archive, "_check_pin", exchanged)
    assert "not the bundle that --sha256 names" in _refused(small, sha256=digest)


# --- what may be replaced ---


def test_what_may_be_replaced(small, tmp_path):
    assert archive.is_archive(small)
    built = tmp_path / "built.tar"
    archive.write(built, {"schema": "mlconvert.built/1"}, _files(tmp_path, CONTENT), top="built")
    assert archive.is_archive(built)
    assert "it is what build-bundle has built" in _refused(built)
    for data in (b"", b"text", bytes(1024), b"\x1f\x8b" + bytes(600)):
        (tmp_path / "other.tar").write_bytes(data)
        assert not archive.is_archive(tmp_path / "other.tar")
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3}')
    with tarfile.open(tmp_path / "extension.tar", "w:") as tar:
        tar.add(tmp_path / "manifest.json", "extension/manifest.json")
    assert not archive.is_archive(tmp_path / "extension.tar")
    assert not archive.is_archive(tmp_path / "nothing.tar")
