"""Reading and writing a model in an object store: versions, records, and the one write that servers see."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.repositories import staging
from mlconvert.repositories.remote import Bucket, Changed, fetch
from mlconvert.repositories.trials import Server
from mlconvert.repositories.triton import config as cfg
from mlconvert.repositories.triton.history import check_fits
from mlconvert.repositories.triton.remote.state import RemoteModel, as_meant, is_beside, is_record, look
from mlconvert.repositories.versions import VersionFolder

_ATTEMPTS = 20  # of one write of config.pbtxt, against other publishers


def mirror(model: RemoteModel, scratch: Path, *, newest_too: bool) -> None:
    """A repository in a new folder, with all of the model but its versions; `newest_too`: with the newest in service.

    The others in service are empty folders there, for the version policy.
    """
    folder = scratch / model.name
    scratch.mkdir()
    if model.text is None:
        return
    folder.mkdir()
    staging.write_text(cfg.as_text(as_meant(model.config), cfg.comments_of(model.text)), folder / cfg.CONFIG)
    for path in model.objects:
        if not path[0].isdigit() and path != cfg.CONFIG:
            fetch(model.bucket, model.key(path), folder / path)
    for number in model.live:
        (folder / str(number)).mkdir()
    if newest_too and model.live:
        newest = max(model.live)
        for path in model.files(newest):
            fetch(model.bucket, model.key(f"{newest}/{path}"), folder / str(newest) / path)


def send_file(bucket: Bucket, path: Path, key: str) -> None:
    """Write a file, read it back and compare."""
    bucket.upload(key, path)
    if bucket.sha256(key) != (file_sha256(path), path.stat().st_size):
        raise RepositoryInvalid(
            "what is in the store is not what was sent there",
            where=f"{bucket.repository.scheme}://{bucket.repository.bucket}/{key}",
            hint="run it again; if it stays so, the store or the way to it is damaged",
        )


def write_config(
    model: RemoteModel, wanted: Callable[[RemoteModel], Any], *, comments: Sequence[str] | None = None
) -> tuple[RemoteModel, RemoteModel]:
    """Write config.pbtxt as `wanted` makes it of the model as it is at that moment; the model before and after.

    Whoever wrote meanwhile is not written over: `wanted` is asked again. Raises what `wanted` raises.
    """
    bucket, name = model.bucket, model.name
    for _ in range(_ATTEMPTS):
        current = look(bucket, name)
        heading = comments if comments is not None else cfg.comments_of(current.text or "")
        text = cfg.as_text(wanted(current), heading)
        if text == current.text:
            return current, current
        with contextlib.suppress(Changed):
            if current.tag is None:
                bucket.create(current.key(cfg.CONFIG), text.encode())
            else:
                bucket.replace(current.key(cfg.CONFIG), text.encode(), current.tag)
        after = look(bucket, name)
        if after.text == text:  # ours, also where the answer to the write was lost
            return current, after
    raise RepositoryInvalid(f"others write the configuration of '{name}' all the time", where=model.where)


def digests_of(model: RemoteModel, number: int, record: Mapping[str, Any] | None) -> dict[str, str]:
    """The digests of a version's files: the record's where it has them, else of what is read."""
    files = model.files(number)
    path = next((name for name in files if is_record(name)), "")
    folder = path.rpartition("/")[0]
    rows = record["files"] if record is not None else []
    known = {f"{folder}/{row['path']}".lstrip("/"): str(row["sha256"]) for row in rows}
    return {
        name: known.get(name) or model.bucket.sha256(model.key(f"{number}/{name}"))[0]
        for name in files
        if not is_beside(name)
    }


def record_of(model: RemoteModel, number: int) -> dict[str, Any] | None:
    path = next((name for name in sorted(model.files(number), key=len) if is_record(name)), None)
    found = model.bucket.read(model.key(f"{number}/{path}")) if path else None
    if found is None:
        return None
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
        copy = Path(scratch) / records.IN_FOLDER
        copy.write_bytes(found[0])
        return records.read(copy)


def check_version(model: RemoteModel, number: int, scratch: Path) -> None:
    """Raise RepositoryInvalid unless the version is what its record says, and the server would load it."""
    folder = scratch / str(number)
    came = {name: fetch(model.bucket, model.key(f"{number}/{name}"), folder / name) for name in model.files(number)}
    record = record_of(model, number)
    expected = digests_of(model, number, record)
    for name, digest in expected.items():
        if came[name] != digest:
            what = f"version {number} of '{model.name}' is damaged: {name} is not what was published"
            raise RepositoryInvalid(what, where=f"{model.where}/{number}/{name}")
    check_fits(as_meant(model.config), VersionFolder(number, folder, plain=True), model.name)


def refuse_server(server: Server | None) -> None:
    if server is not None:
        raise UsageError(
            "--load does not work with a repository in an object store",
            hint="do it without --load, then ask each server to load the model: curl -X POST "
            "HOST:8000/v2/repository/models/NAME/load",
        )
