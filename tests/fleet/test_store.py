"""The store of a fleet: whole or not there, never changed, checked as it is read; in a folder and in a bucket."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import os
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlconvert.errors import OutOfResources, RepositoryInvalid, UsageError
from mlconvert.fleet import store as stores
from mlconvert.fleet.addresses import store_place
from mlconvert.fleet.store import Folder, Store, open_store

_BUCKETS = itertools.count(1)
KEY = "ab" * 32


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path, monkeypatch) -> Store:
    if request.param == "folder":
        return open_store(store_place(str(tmp_path / "store")), make=True)
    address = request.getfixturevalue("endpoint")
    given = {"AWS_ACCESS_KEY_ID": "t", "AWS_SECRET_ACCESS_KEY": "t", "AWS_REGION": "us-east-1"}
    for name, value in {**given, "AWS_ENDPOINT_URL": address}.items():
        monkeypatch.setenv(name, value)
    bucket = f"fleet-{next(_BUCKETS)}"
    with urllib.request.urlopen(urllib.request.Request(f"{address}/{bucket}", method="PUT")):
        pass
    return open_store(store_place(f"s3://{bucket}/team/fleet"), make=True)


def kept(store: Store, folder: Path, data: bytes = b"weights") -> str:
    path = folder / "file"
    path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    store.put(path, digest)
    return digest


def note(**files: str) -> dict[str, object]:
    return {"result": {"a": 1}, "files": files, "seconds": 1.0}


def test_a_file_comes_back_as_it_was(store, tmp_path):
    digest = kept(store, tmp_path)
    assert store.has(digest)
    store.fetch(digest, tmp_path / "deep" / "copy")
    assert (tmp_path / "deep" / "copy").read_bytes() == b"weights"
    assert kept(store, tmp_path) == digest  # once more is no matter


def test_a_result_counts_while_its_files_are_there_and_the_first_stays(store, tmp_path):
    digest = kept(store, tmp_path)
    assert store.note(KEY) is None
    store.keep_note(KEY, note(model=digest))
    store.keep_note(KEY, {**note(model=digest), "seconds": 2.0})
    assert store.note(KEY)["seconds"] == 1.0
    other = "cd" * 32
    store.keep_note(other, note(model="0" * 64))
    assert store.note(other) is None


@pytest.mark.parametrize("data", [b"weight", b"weights and more", b"WEIGHTS", b""])
def test_what_was_changed_or_cut_short_is_refused_by_name(store, tmp_path, data):
    digest = kept(store, tmp_path)
    (tmp_path / "other").write_bytes(data)
    store.shelf.upload(f"blobs/{digest[:2]}/{digest}", tmp_path / "other")
    with pytest.raises(RepositoryInvalid, match="not what its name says") as caught:
        store.fetch(digest, tmp_path / "copy")
    assert caught.value.where.endswith(digest)
    assert not (tmp_path / "copy").exists()


def test_what_is_lost_is_told(store, tmp_path):
    with pytest.raises(RepositoryInvalid, match=f"has lost the file {'0' * 64}"):
        store.fetch("0" * 64, tmp_path / "copy")


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", json.dumps({**note(), "key": "other"}).encode(), b'{"files": {"m": "../x"}, "result": {}}'],
)
def test_a_damaged_result_is_refused_by_name(store, data):
    store.shelf.create(f"done/{KEY[:2]}/{KEY}.json", data)
    with pytest.raises(RepositoryInvalid, match="damaged") as caught:
        store.note(KEY)
    assert KEY in caught.value.where


def test_of_many_writers_one_wins_and_nothing_else_is_left(tmp_path):
    store = open_store(tmp_path / "store", make=True)
    digest = kept(store, tmp_path)
    threads = [
        threading.Thread(
            target=lambda n=n: Store("s", Folder(tmp_path / "store")).keep_note(KEY, note(**{f"f{n}": digest}))
        )
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.note(KEY)["files"]) == 1
    assert len([path for path in (tmp_path / "store").rglob("*") if path.is_file()]) == 2


def test_a_file_system_without_links_will_do(tmp_path, monkeypatch):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    store = open_store(tmp_path / "store", make=True)
    store.keep_note(KEY, note())
    assert store.note(KEY) is not None


@pytest.mark.parametrize(("number", "error"), [(28, OutOfResources), (13, RepositoryInvalid)])
def test_a_disk_that_fails_is_told_and_leaves_no_half_file(tmp_path, monkeypatch, number, error):
    store = open_store(tmp_path / "store", make=True)

    def fails(stream):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(stores, "_flush", fails)
    with pytest.raises(error, match="cannot write to the store"):
        kept(store, tmp_path)
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not a folder"):
        store_place(str(tmp_path / "file"))
    with pytest.raises(UsageError, match="cannot be made"):
        open_store(tmp_path / "file" / "below", make=True)
    with pytest.raises(UsageError, match="no repository can be at s4://"):
        store_place("s4://bucket/fleet")
