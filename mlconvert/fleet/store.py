"""The store of a fleet: files by their digest, results of steps by their key, in a folder or a bucket that all see.

    blobs/ab/ab12…        a file, under the SHA-256 of its bytes
    done/cd/cd34….json    what a step gave, under its key, with the digests of its files

What is written appears whole or not at all, and is never changed. A file's digest is checked as it is read.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlconvert.errors import OutOfResources, RepositoryInvalid, UsageError
from mlconvert.repositories.remote import Bucket, Changed, RemoteRepository, connect

CHUNK = 1 << 20


class Shelf(Protocol):
    """What a store needs of the place that it is in."""

    def has(self, key: str) -> bool: ...

    def read(self, key: str) -> bytes | None: ...

    def chunks(self, key: str) -> Iterator[bytes]: ...

    def upload(self, key: str, path: Path) -> None: ...

    def create(self, key: str, data: bytes) -> None:
        """Nothing where the key is there already."""


@dataclass(frozen=True)
class Folder:
    path: Path

    def has(self, key: str) -> bool:
        return (self.path / key).is_file()

    def read(self, key: str) -> bytes | None:
        try:
            return (self.path / key).read_bytes()
        except FileNotFoundError:
            return None

    def chunks(self, key: str) -> Iterator[bytes]:
        with (self.path / key).open("rb") as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    def upload(self, key: str, path: Path) -> None:
        with self._staged(key) as staged:
            with path.open("rb") as source, staged.open("wb") as target:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                _flush(target)
            staged.replace(self.path / key)

    def create(self, key: str, data: bytes) -> None:
        with self._staged(key) as staged:
            with staged.open("wb") as target:
                target.write(data)
                _flush(target)
            try:
                (self.path / key).hardlink_to(staged)
            except FileExistsError:
                return
            except OSError:  # a file system without links: the later of two equal results stays
                staged.replace(self.path / key)

    @contextlib.contextmanager
    def _staged(self, key: str) -> Iterator[Path]:
        """A file beside the place of the key; what is left of it at the end is removed."""
        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        staged = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            yield staged
        finally:
            staged.unlink(missing_ok=True)


def _flush(stream: Any) -> None:
    """Other machines read it through a server of files, which has it when this returns."""
    stream.flush()
    os.fsync(stream.fileno())


@dataclass(frozen=True)
class InBucket:
    bucket: Bucket

    def has(self, key: str) -> bool:
        return self.bucket.has(self._whole(key))

    def read(self, key: str) -> bytes | None:
        found = self.bucket.read(self._whole(key))
        return found[0] if found else None

    def chunks(self, key: str) -> Iterator[bytes]:
        return self.bucket.chunks(self._whole(key))

    def upload(self, key: str, path: Path) -> None:
        self.bucket.upload(self._whole(key), path)

    def create(self, key: str, data: bytes) -> None:
        with contextlib.suppress(Changed):
            self.bucket.create(self._whole(key), data)

    def _whole(self, key: str) -> str:
        return f"{self.bucket.repository.prefix}/{key}"


@dataclass(frozen=True)
class Store:
    """Raises RepositoryInvalid (exit 8) for what is damaged or cannot be reached, OutOfResources for a full disk."""

    place: str  # as every machine is told it
    shelf: Shelf
    _known: set[str] = field(default_factory=set)  # blobs that were seen there

    def put(self, path: Path, sha256: str) -> None:
        """Keep a file under its digest, unless it is there."""
        if sha256 in self._known:
            return
        with self._errors("write to"):
            if not self.shelf.has(_blob(sha256)):
                self.shelf.upload(_blob(sha256), path)
        self._known.add(sha256)

    def has(self, sha256: str) -> bool:
        with self._errors("read from"):
            return self.shelf.has(_blob(sha256))

    def fetch(self, sha256: str, path: Path) -> None:
        """Copy a file out of the store; its digest holds, or there is an error that names it and no file."""
        digest = hashlib.sha256()
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors("read from"):
            if not self.shelf.has(_blob(sha256)):
                raise RepositoryInvalid(f"the store {self.place} has lost the file {sha256}", hint="run it again")
            with path.open("wb") as target:
                for chunk in self.shelf.chunks(_blob(sha256)):
                    digest.update(chunk)
                    target.write(chunk)
        if digest.hexdigest() != sha256:
            path.unlink()
            raise RepositoryInvalid(
                "a file in the store is not what its name says: it was changed or cut short",
                where=f"{self.place}/{_blob(sha256)}",
                hint="find out who writes there, remove that file, and run it again",
            )

    def note(self, key: str) -> dict[str, Any] | None:
        """What a step with that key gave; None where none did, or files of it are gone."""
        with self._errors("read from"):
            data = self.shelf.read(_note(key))
        if data is None:
            return None
        try:
            told = json.loads(data)
            files = told["files"]
            sound = told["key"] == key and isinstance(told["result"], dict) and all(map(_is_digest, files.values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise RepositoryInvalid(
                "a result in the store is damaged",
                where=f"{self.place}/{_note(key)}",
                hint="remove that file, and run it again",
            )
        return told if all(self.has(sha256) for sha256 in files.values()) else None

    def keep_note(self, key: str, told: Mapping[str, Any]) -> None:
        """Keep what a step gave; of two the first stays."""
        with self._errors("write to"):
            self.shelf.create(_note(key), json.dumps({**told, "key": key}, allow_nan=False).encode())

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            told = f"cannot {what} the store {self.place}: {error.strerror or error}"
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OutOfResources(told, hint="free some space there") from error
            raise RepositoryInvalid(told, hint="--store FOLDER, one that this user may write to") from error


def open_store(place: Path | RemoteRepository, *, make: bool) -> Store:
    """The store at that place. `make`: the folder is made where there is none. Raises UsageError, MissingPackage."""
    if isinstance(place, RemoteRepository):
        return Store(str(place), InBucket(connect(place)))
    if make:
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the store {place} cannot be made: {error.strerror}", hint="--store FOLDER") from error
    return Store(str(place), Folder(place))


def _blob(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"


def _note(key: str) -> str:
    return f"done/{key[:2]}/{key}.json"


def _is_digest(text: Any) -> bool:
    return isinstance(text, str) and len(text) == 64 and set(text) <= set("0123456789abcdef")
