"""An artifact: the files of one model in one format."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mlconvert.signature import Signature

REMEMBERED_FROM = 64 << 20  # bytes from which on hashing a file again is felt


@dataclass(frozen=True)
class Artifact:
    """A model on disk (or, for the format `torch`, the Python factory that builds one).

    `location` is the path of the main file or folder, or `package.module:factory`. `files` are all the files
    that belong to it, the main file first: external data of an ONNX model, the weights of a factory.
    `renamed` maps names of the source model's tensors to this artifact's, where they differ. `trusted` says that
    the user allowed to load what can run code (a pickle). `facts` are the converter's own remarks for the record.
    """

    format: str
    location: str
    files: tuple[Path, ...]
    signature: Signature | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)
    trusted: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The main file or folder."""
        return Path(self.location)

    @property
    def folder(self) -> Path:
        """The folder that the files' names in records are relative to."""
        return self.path if self.path.is_dir() else self.path.parent

    def as_json(self) -> dict[str, Any]:
        return {
            "format": self.format,
            "location": self.location,
            "files": [str(path) for path in self.files],
            "signature": self.signature.as_json() if self.signature else None,
            "renamed": dict(self.renamed),
            "trusted": self.trusted,
            "facts": dict(self.facts),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Artifact:
        return Artifact(
            format=data["format"],
            location=data["location"],
            files=tuple(Path(path) for path in data["files"]),
            signature=Signature.from_json(data["signature"]) if data.get("signature") else None,
            renamed=data.get("renamed", {}),
            trusted=data.get("trusted", False),
            facts=data.get("facts", {}),
        )


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal; read in chunks, so that any size will do.

    A run asks several times for the digest of a large file: within one process it is remembered for as long as the
    file's identity, size and times are the same.
    """
    with path.open("rb") as stream:
        before = _identity(stream.fileno())
        if before.size >= REMEMBERED_FROM and before in _REMEMBERED:
            return _REMEMBERED[before]
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if before.size >= REMEMBERED_FROM and _identity(stream.fileno()) == before:  # not written to meanwhile
            _REMEMBERED[before] = digest
        return digest


class _Identity(NamedTuple):
    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


_REMEMBERED: dict[_Identity, str] = {}


def _identity(descriptor: int) -> _Identity:
    status = os.fstat(descriptor)
    return _Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def combine_sha256(digests: Iterable[tuple[str, str]]) -> str:
    """One digest for several (name, sha256) pairs: of a single file its own, else of the sorted list of pairs.

    The list has the form that `sha256sum` prints, so that the figure can be checked by hand.
    """
    pairs = sorted(digests)
    if len(pairs) == 1:
        return pairs[0][1]
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in pairs).encode()).hexdigest()
