from __future__ import annotations

import hashlib
import os

import pytest

from mlconvert import artifact
from mlconvert.artifact import combine_sha256, file_sha256


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact, "REMEMBERED_FROM", 100)
    monkeypatch.setattr(artifact, "_REMEMBERED", {})
    path = tmp_path / "model"
    path.write_bytes(b"a" * 200)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_large_file_is_read_once(model, monkeypatch):
    assert file_sha256(model) == sha256(b"a" * 200)
    monkeypatch.setattr(hashlib, "file_digest", None)  # reading it again would fail
    assert file_sha256(model) == sha256(b"a" * 200)


def test_a_change_is_seen(model):
    first = file_sha256(model)
    before = model.stat()
    model.write_bytes(b"b" * 200)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))  # a copy that keeps times: ctime tells
    assert file_sha256(model) == sha256(b"b" * 200) != first
    model.unlink()
    model.write_bytes(b"c" * 200)
    assert file_sha256(model) == sha256(b"c" * 200)


def test_small_files_are_always_read(model, monkeypatch):
    model.write_bytes(b"small")
    assert file_sha256(model) == sha256(b"small")
    monkeypatch.setattr(hashlib, "file_digest", None)
    with pytest.raises(TypeError):
        file_sha256(model)


def test_one_file_has_its_own_digest_and_several_that_of_their_list():
    assert combine_sha256([("a", "00")]) == "00"
    listed = hashlib.sha256(b"00  a\n11  b\n").hexdigest()
    assert combine_sha256([("b", "11"), ("a", "00")]) == combine_sha256([("a", "00"), ("b", "11")]) == listed
