"""The cache: what is kept, what is dropped, and that it is never in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.artifact import file_sha256
from mlconvert.errors import UsageError
from mlconvert.execution import cache

KEY = cache.content_key({"job": "test"})


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made(tmp_path):
    folder = tmp_path / "made"
    (folder / "inner").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"model")
    (folder / "inner" / "data").write_bytes(b"data" * 100)
    return folder


def store(made, key=KEY, result=None, **more):
    return cache.store(key, result or {"a": [1, 2]}, made, seconds=1.5, peak_rss_bytes=7, **more)


def test_what_is_stored_is_found(made, tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("said")
    stored = store(made, log=log)
    entry = cache.lookup(KEY)
    assert entry == stored
    assert entry is not None
    assert (entry.result, entry.seconds, entry.peak_rss_bytes) == ({"a": [1, 2]}, 1.5, 7)
    assert entry.files == {name: file_sha256(made / name) for name in ("inner/data", "model.onnx")}
    assert entry.folder is not None
    assert (entry.folder / "inner" / "data").read_bytes() == b"data" * 100
    assert (entry.folder.parent / "log.txt").read_text() == "said"
    # A copy: neither a link to what the step made nor its only place.
    assert (entry.folder / "model.onnx").stat().st_nlink == 1
    assert (made / "model.onnx").exists()


def test_another_key_is_a_miss(made):
    store(made)
    assert cache.lookup(cache.content_key({"job": "other"})) is None


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.none()), st.randoms(use_true_random=False))
def test_keys_do_not_hang_on_order(parts, random):
    items = list(parts.items())
    random.shuffle(items)
    assert cache.content_key(dict(items)) == cache.content_key(parts)
    assert cache.content_key({**parts, "more": 1}) != cache.content_key({**parts, "more": 2})


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "files" / "model.onnx").write_bytes(b"modeI"),
        lambda folder: (folder / "files" / "inner" / "data").unlink(),
        lambda folder: (folder / "files" / "stray").write_text("x"),
        lambda folder: (folder / "entry.json").write_text(f'{{"schema": "{cache.SCHEMA}"'),
        lambda folder: (folder / "entry.json").write_text(f'{{"schema": "{cache.SCHEMA}"}}'),
        lambda folder: (folder / "entry.json").write_text("[]"),
        lambda folder: (folder / "entry.json").write_bytes(b"\xff\xfe"),
    ],
    ids=["bit flipped", "file gone", "file added", "entry truncated", "entry without keys", "entry a list", "no text"],
)
def test_a_damaged_entry_is_dropped_and_can_be_stored_again(made, damage):
    entry = store(made)
    assert entry.folder is not None
    damage(entry.folder.parent)
    assert cache.lookup(KEY) is None
    assert not entry.folder.exists()
    store(made)
    assert cache.lookup(KEY) is not None


def test_an_entry_of_another_schema_is_a_miss(made):
    entry = store(made)
    assert entry.folder is not None
    path = entry.folder.parent / "entry.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": "mlconvert.cache/2"}))
    assert cache.lookup(KEY) is None
    assert path.exists()


def test_a_changed_module_of_the_user_is_a_miss(made, tmp_path):
    module = tmp_path / "nets.py"
    module.write_text("WIDTH = 3\n")
    store(made, result={"depends": {str(module): file_sha256(module)}})
    assert cache.lookup(KEY) is not None
    module.write_text("WIDTH = 4\n")
    assert cache.lookup(KEY) is None
    module.write_text("WIDTH = 3\n")
    assert cache.lookup(KEY) is not None
    module.unlink()
    assert cache.lookup(KEY) is None


def test_what_is_too_large_is_known_but_not_copied(made, monkeypatch):
    monkeypatch.setattr(cache, "LARGE", 100)
    entry = store(made, placed=True)
    assert entry.folder is None
    found = cache.lookup(KEY)
    assert found == entry
    assert not list(cache.root_folder().rglob("model.onnx"))


def test_what_a_later_step_needs_is_copied_though_it_is_large(made, monkeypatch):
    monkeypatch.setattr(cache, "LARGE", 100)
    assert store(made, placed=False).folder is not None
    monkeypatch.setenv("MLCONVERT_CACHE_BYTES", "800")
    assert store(made, placed=False).folder is None, "more than half of what the cache may hold"


def test_a_cache_that_cannot_be_written_keeps_nothing(made, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLCONVERT_CACHE", str(tmp_path / "file" / "cache"))
    entry = store(made)
    assert entry.folder is None
    assert entry.files == cache.file_digests(made)
    assert cache.lookup(KEY) is None
    cache.prune()


def test_a_full_disk_leaves_no_half_entry(made, root, monkeypatch):
    def full(*args, **kwargs):
        Path(args[1]).mkdir()
        (Path(args[1]) / "half").write_text("x")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.shutil, "copytree", full)
    assert store(made).folder is None
    assert cache.lookup(KEY) is None
    assert [path for path in root.rglob("*") if path.is_file()] == []


def aged(made, name, seconds):
    entry = store(made, cache.content_key({"name": name}))
    assert entry.folder is not None
    then = time.time() - seconds
    os.utime(entry.folder.parent / "entry.json", (then, then))
    return entry.folder.parent


def test_pruning_drops_what_was_used_longest_ago_and_keeps_the_bound(made):
    folders = [aged(made, index, 10_000 - index) for index in range(4)]
    size = sum(path.stat().st_size for path in folders[0].rglob("*") if path.is_file())
    cache.prune(2 * size)
    assert [folder.exists() for folder in folders] == [False, False, True, True]
    cache.prune(2 * size)
    assert [folder.exists() for folder in folders] == [False, False, True, True]


def test_pruning_keeps_what_may_be_in_use(made):
    old, recent = aged(made, "old", 10_000), aged(made, "recent", 10)
    cache.prune(0)
    assert (old.exists(), recent.exists()) == (False, True)


def test_what_is_looked_up_counts_as_used(made):
    folder = aged(made, "x", 10_000)
    assert cache.lookup(cache.content_key({"name": "x"})) is not None
    cache.prune(0)
    assert folder.exists()


def test_pruning_clears_what_killed_runs_left_half_stored(root):
    old, new = root / "staged" / "old", root / "staged" / "new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    cache.prune(0)
    assert (old.exists(), new.exists()) == (False, True)


def test_the_bound_comes_from_the_environment(made, monkeypatch):
    folder = aged(made, "x", 10_000)
    monkeypatch.setenv("MLCONVERT_CACHE_BYTES", "1000000")
    cache.prune()
    assert folder.exists()
    monkeypatch.setenv("MLCONVERT_CACHE_BYTES", "1")
    cache.prune()
    assert not folder.exists()
    monkeypatch.setenv("MLCONVERT_CACHE_BYTES", "20 GiB")
    with pytest.raises(UsageError, match="MLCONVERT_CACHE_BYTES=20 GiB is not a number of bytes"):
        cache.prune()


def test_the_root_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("MLCONVERT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root_folder() == tmp_path / "xdg" / "mlconvert"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root_folder() == tmp_path / ".cache" / "mlconvert"


def test_without_a_home_the_variable_to_set_is_named(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("MLCONVERT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache.Path, "home", no_home)
    with pytest.raises(UsageError, match="no place for the cache") as caught:
        cache.root_folder()
    assert "MLCONVERT_CACHE" in (caught.value.hint or "")


STORING = """
import sys
from pathlib import Path
from mlconvert.execution import cache
made = Path(sys.argv[1])
for index in range(60):
    entry = cache.store(sys.argv[2], {"a": 1}, made, seconds=0, peak_rss_bytes=0)
    folder = entry.folder or made
    found = cache.lookup(sys.argv[2])
    assert found is None or found.files == entry.files, found
print("done")
"""


def test_two_processes_may_store_one_key_at_once(made, root):
    runs = [
        subprocess.Popen([sys.executable, "-c", STORING, str(made), KEY], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [run.communicate()[0] for run in runs]
    assert told == ["done\n", "done\n"]
    entry = cache.lookup(KEY)
    assert entry is not None
    assert entry.folder is not None
    assert cache.file_digests(entry.folder) == cache.file_digests(made)
    assert not list((root / "staged").iterdir())
