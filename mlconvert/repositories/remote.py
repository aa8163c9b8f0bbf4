"""Repositories in object stores: `s3://bucket/models` and `gs://bucket/models`.

There is no rename there and no lock. What there is: an object appears whole or not at all, and a write can ask that
the object does not exist yet, or is still the one that was read. `Bucket` has these and nothing else. The layer that
makes fsspec's file system of such a store drops those conditions without a word (obstore.fsspec, `mode`), keeps
whole files in memory, and lists folder by folder, so obstore, which lies below it, is used directly.

Credentials and endpoints come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …, GOOGLE_…), or from the
machine's own role; nothing of them is ever written.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from mlconvert import packages
from mlconvert.errors import MlconvertError, RepositoryInvalid, UsageError, suggest
from mlconvert.repositories import staging

SCHEMES = {"s3": "Amazon S3, and what speaks its protocol", "gs": "Google Cloud Storage"}
NOTES = ".mlconvert-"  # the prefix beside a repository where publishers keep their claims

# Seconds, not minutes, until an endpoint that is not there is an error; a long file may still take its time.
_CLIENT = {"connect_timeout": "5s", "read_timeout": "30s", "timeout": "2h"}
_RETRY = {"max_retries": 3, "retry_timeout": timedelta(seconds=15)}
_PART = 16 << 20  # bytes of a part of a long file
_PARTS_AT_ONCE = 4

Tag = Mapping[str, Any]  # what tells one content of an object from another
T = TypeVar("T")


class Changed(Exception):
    """An object is not (or no longer) what a conditional write expected. Never leaves `mlconvert.repositories`."""


@dataclass(frozen=True)
class RemoteRepository:
    scheme: str
    bucket: str
    prefix: str  # without slashes at its ends

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.prefix}"

    @property
    def notes(self) -> str:
        """The prefix of what publishers tell each other: beside the repository, where no server looks."""
        parent, _, name = self.prefix.rpartition("/")
        return f"{parent}/{NOTES}{name}".lstrip("/")


@dataclass(frozen=True)
class Found:
    """An object, as a listing shows it."""

    size: int
    modified: datetime


def located(text: str) -> Path | RemoteRepository:
    """Where a repository is: a folder (also as file://), or a place in an object store. Raises UsageError."""
    if "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise UsageError(f"{text} is not a folder of this machine", hint="file:///absolute/path")
        return Path(unquote(parts.path))
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in ("file", *SCHEMES))
        raise UsageError(
            f"no repository can be at {parts.scheme}://.{suggest(parts.scheme, SCHEMES)}", hint=f"a folder, or {known}"
        )
    prefix = parts.path.strip("/")
    segments = prefix.split("/")
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9._-]+", parts.netloc) or parts.query or parts.fragment:
        raise UsageError(f"{text} is not a bucket and a prefix in it", hint=f"{parts.scheme}://BUCKET/models")
    if not prefix or any(not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]*", segment) for segment in segments):
        what = "a prefix" if prefix else "a prefix: a bucket as a whole cannot be one, for notes are kept beside it"
        raise UsageError(f"{text} cannot be a repository, which needs {what}", hint=f"{parts.scheme}://BUCKET/models")
    return RemoteRepository(parts.scheme, parts.netloc, prefix)


@dataclass(frozen=True)
class Bucket:
    """What a repository's object store can do. Keys are whole: they start with the repository's prefix."""

    repository: RemoteRepository
    store: Any

    def list(self, prefix: str) -> dict[str, Found]:
        """All objects below the prefix, in the order of their keys; without those that only stand for a folder."""
        import obstore

        rows = self._ask("list", prefix, lambda: [row for part in obstore.list(self.store, prefix) for row in part])
        found = {row["path"]: Found(row["size"], row["last_modified"]) for row in sorted(rows, key=lambda r: r["path"])}
        folders = {"/".join(key.split("/")[:end]) for key in found for end in range(key.count("/") + 1)}
        below = {key: one for key, one in found.items() if key.startswith(f"{prefix}/" if prefix else "")}
        return {key: one for key, one in below.items() if one.size or key not in folders}

    def read(self, key: str) -> tuple[bytes, Tag] | None:
        """A small object and its tag; None when there is none."""
        import obstore

        def get() -> tuple[bytes, Tag] | None:
            try:
                found = obstore.get(self.store, key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None
            return found.bytes().to_bytes(), _tag(found.meta)

        return self._ask("read", key, get)

    def has(self, key: str) -> bool:
        import obstore

        def head() -> bool:
            try:
                obstore.head(self.store, key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return False
            return True

        return self._ask("read", key, head)

    def chunks(self, key: str) -> Iterator[bytes]:
        """A long object, piece by piece. Raises RepositoryInvalid when it is not there."""
        import obstore

        stream: Any = self._ask("read", key, lambda: iter(obstore.get(self.store, key).stream(min_chunk_size=1 << 20)))

        def following() -> bytes | None:
            chunk = next(stream, None)
            return None if chunk is None else bytes(chunk)

        while (chunk := self._ask("read", key, following)) is not None:
            yield chunk

    def sha256(self, key: str) -> tuple[str, int]:
        """The digest and the size of what is in the store."""
        digest, size = hashlib.sha256(), 0
        for chunk in self.chunks(key):
            digest.update(chunk)
            size += len(chunk)
        return digest.hexdigest(), size

    def create(self, key: str, data: bytes) -> Tag:
        """Write an object that is not there yet; Changed when it is."""
        return self._put(key, data, "create")

    def replace(self, key: str, data: bytes, tag: Tag) -> Tag:
        """Write over the object with that tag; Changed when it is another one by now."""
        return self._put(key, data, dict(tag))

    def upload(self, key: str, path: Path) -> None:
        """Write a file, in parts where it is long; it appears whole."""
        import obstore

        def put() -> None:
            obstore.put(self.store, key, path, chunk_size=_PART, max_concurrency=_PARTS_AT_ONCE)

        self._change("write", key, put)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects one by one, in this order; those that are not there are no error."""
        import obstore

        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                self._change("remove", key, functools.partial(obstore.delete, self.store, key))

    def _put(self, key: str, data: bytes, mode: Any) -> Tag:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        def put() -> Tag:
            try:
                done = obstore.put(self.store, key, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError) as error:
                raise Changed(key) from error
            return _tag(done)

        return self._change("write", key, put)

    def _change(self, what: str, key: str, call: Callable[[], T]) -> T:
        """Everything that changes the store goes through here."""
        return self._ask(what, key, call)

    def _ask(self, what: str, key: str, call: Callable[[], T]) -> T:
        try:
            return call()
        except (Changed, MlconvertError):
            raise
        except Exception as error:
            raise _told(error, f"cannot {what} {self.repository.scheme}://{self.repository.bucket}/{key}") from error


def connect(repository: RemoteRepository) -> Bucket:
    """The repository's store; nothing is sent yet. Raises MissingPackage, and UsageError for a wrong setting."""
    packages.require((packages.OBSTORE,), f"a repository at {repository.scheme}://")
    from obstore.store import from_url

    options: dict[str, Any] = dict(_CLIENT)
    if _endpoint(repository.scheme).startswith("http://"):  # named by the user, in the environment
        options["allow_http"] = True
    try:
        url = f"{repository.scheme}://{repository.bucket}"
        return Bucket(repository, from_url(url, client_options=options, retry_config=_RETRY))
    except Exception as error:
        raise UsageError(f"cannot use {repository}: {_first_line(error)}", where=str(repository)) from error


@contextlib.contextmanager
def downloaded(repository: RemoteRepository, names: Iterable[str] = ()) -> Iterator[Path]:
    """A copy of the repository (or of those models) in a scratch folder, which is removed at the end.

    Raises RepositoryInvalid when nothing is there or it cannot be read, OutOfResources when the disk is too small.
    """
    bucket = connect(repository)
    wanted = list(names)
    found = bucket.list(repository.prefix)
    with tempfile.TemporaryDirectory(prefix="mlconvert-") as scratch:
        folder = Path(scratch) / repository.prefix.rpartition("/")[2]
        folder.mkdir()
        keys = [key for key in found if not wanted or _below(repository, key).partition("/")[0] in wanted]
        if not keys:
            raise RepositoryInvalid("there is no repository, or nothing in it", where=str(repository))
        staging.check_space(folder, sum(found[key].size for key in keys))
        for key in keys:
            if not found[key].size and key.rpartition("/")[2].isdigit():
                (folder / _below(repository, key)).mkdir(parents=True)  # it stands for an empty version folder
            else:
                fetch(bucket, key, folder / _below(repository, key))
        yield folder


def fetch(bucket: Bucket, key: str, path: Path) -> str:
    """Copy an object into a file; the SHA-256 of what came."""
    if ".." in path.parts:
        raise RepositoryInvalid("an object's name leads out of the repository", where=key)
    digest = hashlib.sha256()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            for chunk in bucket.chunks(key):
                digest.update(chunk)
                stream.write(chunk)
    except OSError as error:
        with staging.disk_errors("cannot copy from the repository", path.parent):
            raise error from None
    return digest.hexdigest()


def _tag(found: Any) -> Tag:
    """Raises RepositoryInvalid for a store without tags: a write could not ask what is there."""
    tag = {name: found[name] for name in ("e_tag", "version") if found[name] is not None}
    if not tag:
        raise RepositoryInvalid("the store gives its objects no tags, so two publishers could not be kept apart")
    return tag


def _below(repository: RemoteRepository, key: str) -> str:
    return key.removeprefix(f"{repository.prefix}/")


def _endpoint(scheme: str) -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT") if scheme == "s3" else ()
    return next((value for name in names if (value := os.environ.get(name))), "")


# --- errors ---

_HINTS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION; AWS_ENDPOINT_URL for a store that is not "
    "Amazon's)",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the file with your service account's key",
}
_METADATA = (
    "/latest/api/token",
    "/latest/meta-data",
    "169.254.169.254",
    "metadata.google.internal",
    "metadata.google",
    "169.254.170.2",
)


def _told(error: Exception, what: str) -> MlconvertError:
    """The store's error in our words."""
    text = str(error).partition("Debug source:")[0]
    scheme = "gs" if " gs://" in what else "s3"
    code = re.search(r"<Code>([A-Za-z]+)</Code>", text)
    name = type(error).__name__
    if any(host in text for host in _METADATA):
        return UsageError(f"{what}: there are no credentials in the environment", hint=_HINTS[scheme])
    if "NoSuchBucket" in text:
        return RepositoryInvalid(f"{what}: there is no such bucket", hint="make the bucket first, or mend its name")
    if code and code[1] in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"):
        return RepositoryInvalid(f"{what}: the store does not know these credentials ({code[1]})", hint=_HINTS[scheme])
    if name in ("PermissionDeniedError", "UnauthenticatedError") or re.search(r"status code: 40[13]\b", text):
        said = f" ({code[1]})" if code else ""
        return RepositoryInvalid(
            f"{what}: access denied{said}",
            hint="publishing needs the rights to list, read, write and remove objects there",
        )
    if isinstance(error, FileNotFoundError):
        return RepositoryInvalid(f"{what}: there is no such object")
    if code is None and re.search(r"error sending request|timed? ?out|connect|dns", text, re.IGNORECASE):
        hint = f"is {_endpoint(scheme)} the right endpoint?" if _endpoint(scheme) else None
        return RepositoryInvalid(f"{what}: the store cannot be reached", hint=hint)
    return RepositoryInvalid(f"{what}: {f'the store says {code[1]}' if code else _first_line(error)}")


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line[:300]
