"""The cache: results of steps under a key of everything that they depend on.

An entry is a folder `<root>/<key[:2]>/<key>/` with `entry.json` (the result, what it cost, the sha256 of each file)
and `files/`. Entries are made aside and renamed in, so that a reader never sees half of one, and their digests are
checked when they are read: a damaged entry is dropped and the step runs again. Nothing here is ever handed out as a
hard link (onnx refuses external data with more than one link) nor changed in place.

The root is $MLCONVERT_CACHE, else mlconvert's folder in the user's cache folder. $MLCONVERT_CACHE_BYTES (20 GiB)
bounds it: the entries that were used longest ago go first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlconvert.artifact import file_sha256
from mlconvert.errors import UsageError

SCHEMA = "mlconvert.cache/1"
DEFAULT_BYTES = 20 << 30
IN_USE_SECONDS = 600.0
ABANDONED_SECONDS = 86400.0
LARGE = 1 << 28  # outputs above it are not copied here: only what is known of them is kept


def root_folder() -> Path:
    if given := os.environ.get("MLCONVERT_CACHE"):
        return Path(given).absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "mlconvert"
    try:
        return Path.home() / ".cache" / "mlconvert"
    except RuntimeError as error:  # a container's user without a home
        raise UsageError(f"there is no place for the cache: {error}", hint="set MLCONVERT_CACHE to a folder") from error


def content_key(parts: Mapping[str, Any]) -> str:
    """The SHA-256 of the parts as canonical JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digests(folder: Path, known: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """The sha256 of every file below the folder, by its path relative to it; those that are known are not read."""
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: known.get(name) or file_sha256(path) for name, path in paths.items()}


@dataclass(frozen=True)
class Entry:
    """What a step gave: `result` as its worker said it, `files` (relative path -> sha256), `folder` where they lie.

    `folder` is None when the files were too large to keep here.
    """

    result: Mapping[str, Any]
    files: Mapping[str, str]
    seconds: float
    peak_rss_bytes: int
    folder: Path | None


def lookup(key: str) -> Entry | None:
    """The entry with that key, or None. The digests of its files hold; a damaged entry is removed."""
    folder = _entry_folder(key)
    try:
        data = json.loads((folder / "entry.json").read_bytes())
        if data["schema"] != SCHEMA:
            return None
        kept = folder / "files" if data["kept"] else None
        entry = Entry(data["result"], data["files"], data["seconds"], data["peak_rss_bytes"], kept)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        shutil.rmtree(folder, ignore_errors=True)
        return None
    # The user's own modules that the step imported: known only after it ran, so they are not part of the key.
    depends = entry.result.get("depends", {})
    try:
        if any(not Path(path).is_file() or file_sha256(Path(path)) != digest for path, digest in depends.items()):
            return None
        sound = kept is None or file_digests(kept) == entry.files
    except OSError:  # removed or replaced by another run just now
        return None
    if not sound:
        shutil.rmtree(folder, ignore_errors=True)
        return None
    with contextlib.suppress(OSError):
        os.utime(folder / "entry.json")  # "used now", for the pruning
    return entry


def store(
    key: str,
    result: Mapping[str, Any],
    source: Path,
    *,
    seconds: float,
    peak_rss_bytes: int,
    log: Path | None = None,
    placed: bool = False,
    known: Mapping[str, str] = MappingProxyType({}),
) -> Entry:
    """Keep the files below `source` and the result under the key; the entry, its `folder` None if nothing was copied.

    `placed`: the files will lie in the user's output as well, so that large ones need no second copy here. `known`:
    the sha256 of files that were hashed while they were written, by their paths relative to `source`. A cache
    that cannot be written (no space, no permission) keeps nothing: it only ever spares time.
    """
    files = file_digests(source, known)
    size = sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    keep = size <= (LARGE if placed else _bound() // 2)
    data = {
        "schema": SCHEMA,
        "result": dict(result),
        "files": files,
        "seconds": seconds,
        "peak_rss_bytes": peak_rss_bytes,
        "kept": keep,
    }
    folder = _entry_folder(key)
    staged = root_folder() / "staged" / uuid.uuid4().hex
    try:
        staged.mkdir(parents=True)
        if keep:
            shutil.copytree(source, staged / "files")
        if log is not None and log.is_file():
            shutil.copyfile(log, staged / "log.txt")
        (staged / "entry.json").write_text(json.dumps(data, indent=1))
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rename(staged / "replaced")
        staged.rename(folder)
        shutil.rmtree(folder / "replaced", ignore_errors=True)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)
        return Entry(result, files, seconds, peak_rss_bytes, None)
    return Entry(result, files, seconds, peak_rss_bytes, folder / "files" if keep else None)


def prune(limit: int | None = None) -> None:
    """Remove the entries that were used longest ago until what is left fits the bound, in bytes.

    Those of the last ten minutes stay: a run that goes on beside this one may be about to read them.
    """
    if limit is None:
        limit = _bound()
    for left in root_folder().glob("staged/*"):  # by runs that were killed while they stored something
        with contextlib.suppress(OSError):
            if left.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                shutil.rmtree(left, ignore_errors=True)
    entries = []
    for path in root_folder().glob("??/*/entry.json"):
        with contextlib.suppress(OSError):
            used = path.stat().st_mtime
            size = sum(file.stat().st_size for file in path.parent.rglob("*") if file.is_file())
            entries.append((used, size, path.parent))
    total = sum(size for _, size, _ in entries)
    for used, size, folder in sorted(entries):
        if total <= limit or used > time.time() - IN_USE_SECONDS:
            break
        shutil.rmtree(folder, ignore_errors=True)
        total -= size


def _bound() -> int:
    text = os.environ.get("MLCONVERT_CACHE_BYTES") or str(DEFAULT_BYTES)
    if not text.strip().isdecimal():
        raise UsageError(f"MLCONVERT_CACHE_BYTES={text} is not a number of bytes")
    return int(text)


def _entry_folder(key: str) -> Path:
    return root_folder() / key[:2] / key
