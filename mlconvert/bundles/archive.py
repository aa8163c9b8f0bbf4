"""An archive: an ordinary uncompressed tar of which every byte is decided by its manifest.

manifest.json          what is in it: each file's path, sha256 and size, among whatever else its writer wants to say
manifest.json.sha256   the manifest's digest, in sha256sum's form
…                      the files, in the manifest's order

Equal content gives equal bytes. Reading it therefore needs no reader of tar: what the manifest does not account for to
the byte is refused. So there are no links, devices, absolute or double names to be found by rules, for no header but
the one of a plain file is accepted. Any tar program unpacks it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from mlconvert.artifact import file_sha256
from mlconvert.errors import OutOfResources, UsageError
from mlconvert.execution.outputs import UNWRITABLE

MANIFEST = "manifest.json"
DIGEST = MANIFEST + ".sha256"
MOST_MANIFEST = 16 << 20  # bytes: some 100,000 files
CHUNK = 1 << 20
END = bytes(2 * tarfile.BLOCKSIZE)
AGAIN = "bring the file over again, or make the bundle again"


def write(path: Path, about: Mapping[str, Any], files: Mapping[str, Path], *, top: str = "") -> str:
    """Write an archive of the files (name in it -> file); its sha256. `top`: the folder that tar unpacks it into.

    Raises UsageError for a name that no archive may hold, and for a file that changes meanwhile.
    """
    rows: list[dict[str, Any]] = []
    for name in sorted(files):
        if not _is_sound(name):
            raise UsageError(f"'{name!r:.80}' cannot be the name of a file in a bundle", hint="rename the file")
        rows.append({"path": name, "sha256": file_sha256(files[name]), "bytes": files[name].stat().st_size})
    if clash := _clash([row["path"] for row in rows]):
        raise UsageError(f"'{clash}' would be there twice in the bundle", hint="give it another name")
    manifest = (json.dumps({**about, "files": rows}, indent=1, allow_nan=False) + "\n").encode()
    prefix = f"{top}/" if top else ""
    with path.open("xb") as stream:
        out = _Hashed(stream)
        for name, data in ((MANIFEST, manifest), (DIGEST, _digest_line(manifest))):
            out.write(_header(prefix + name, len(data)) + data + _padding(len(data)))
        for row in rows:
            out.write(_header(prefix + row["path"], row["bytes"]))
            _copy(files[row["path"]], row, out)
            out.write(_padding(row["bytes"]))
        out.write(END)
    return out.sha256


def unpack(path: Path, folder: Path, *, schema: str, sha256: str | None = None) -> tuple[dict[str, Any], str]:
    """Unpack an archive into an empty folder, checked to the last byte; its manifest and its own sha256.

    `sha256` pins the file as a whole: who changed it could have rewritten the manifest to match. Raises UsageError for
    what is no archive, is none of that schema, was cut off or was changed; OutOfResources where it does not fit.
    """
    with _opened(path) as stream:
        source = _Checked(stream, path)
        if sha256 is not None:
            _check_pin(stream, sha256, path)
        manifest = _read_manifest(source, schema)
        rows = manifest["files"]
        expected = source.seen + len(END) + sum(_length(row["path"], row["bytes"]) for row in rows)
        size = os.fstat(stream.fileno()).st_size
        if size != expected:
            state = "was cut off" if size < expected else "has something behind its end"
            what = f"the bundle {state}: {size} bytes, its manifest makes it {expected}"
            raise UsageError(what, where=str(path), hint=AGAIN)
        if shutil.disk_usage(folder).free < expected:
            raise OutOfResources(f"no space is left to unpack {path} ({expected >> 20} MiB) into {folder}")
        for row in rows:
            source.expect(_header(row["path"], row["bytes"]), f"the header of {row['path']}")
            with _created(folder / row["path"], path) as out:
                found = source.copy(row["bytes"], out)
            if found != row["sha256"]:
                what = f"{row['path']} in the bundle was changed: its sha256 is {found[:12]}…"
                told = f"the manifest says {row['sha256'][:12]}…"
                raise UsageError(f"{what}, {told}", where=str(path), hint=AGAIN)
            source.expect(_padding(row["bytes"]), f"what follows {row['path']}")
        source.expect(END, "its end")
    if sha256 is not None and source.sha256 != sha256.lower():  # it was written to between the two readings
        raise _not_pinned(source.sha256, sha256, path)
    return manifest, source.sha256


def is_archive(path: Path) -> bool:
    """Whether a file begins as those that `write` writes: it may be replaced by another of them."""
    try:
        with path.open("rb") as stream:
            member = tarfile.TarInfo.frombuf(stream.read(tarfile.BLOCKSIZE), "utf-8", "strict")
            if PurePosixPath(member.name).name != MANIFEST or member.size > MOST_MANIFEST:
                return False
            manifest = json.loads(stream.read(member.size))
    except (OSError, tarfile.HeaderError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and str(manifest.get("schema")).startswith("mlconvert.")


@dataclass
class _Hashed:
    """A file that is written once from its beginning, with the digest of what was written."""

    stream: BinaryIO
    _digest: Any = field(default_factory=hashlib.sha256)

    def write(self, data: bytes) -> None:
        self.stream.write(data)
        self._digest.update(data)

    @property
    def sha256(self) -> str:
        return str(self._digest.hexdigest())


@dataclass
class _Checked:
    """A file that is read once from its beginning and has to be what is expected, with the digest of what was read."""

    stream: BinaryIO
    path: Path
    seen: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def take(self, count: int) -> bytes:
        data = self.stream.read(count)
        if len(data) != count:
            raise UsageError("the bundle was cut off", where=str(self.path), hint=AGAIN)
        self.seen += count
        self._digest.update(data)
        return data

    def expect(self, data: bytes, what: str) -> None:
        if self.take(len(data)) != data:
            raise UsageError(f"the bundle was changed: {what} is not as it was", where=str(self.path), hint=AGAIN)

    def copy(self, count: int, out: BinaryIO) -> str:
        """Copy so many bytes; the digest of them."""
        digest = hashlib.sha256()
        for data in (self.take(min(CHUNK, count - start)) for start in range(0, count, CHUNK)):
            out.write(data)
            digest.update(data)
        return digest.hexdigest()

    @property
    def sha256(self) -> str:
        return str(self._digest.hexdigest())


def _opened(path: Path) -> BufferedReader:
    if not path.is_file():
        what = f"{path} is not a file" if path.exists() else f"{path} does not exist"
        raise UsageError(what, hint="mlconvert bundle RECIPE -o job.tar")
    try:
        return path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _created(target: Path, path: Path) -> BinaryIO:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("xb")
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise
        what = f"'{target.name}' of the bundle cannot be a file here: {error.strerror}"
        raise UsageError(what, where=str(path), hint="unpack it on another filesystem: -o FOLDER/built.tar") from error


def _check_pin(stream: BufferedReader, sha256: str, path: Path) -> None:
    found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256.lower():
        raise _not_pinned(found, sha256, path)
    stream.seek(0)


def _not_pinned(found: str, sha256: str, path: Path) -> UsageError:
    what = f"this is not the bundle that --sha256 names: its sha256 is {found}, not {sha256}"
    return UsageError(what, where=str(path), hint="ask for the file, and for what `mlconvert bundle` printed with it")


def _read_manifest(source: _Checked, schema: str) -> dict[str, Any]:
    """The manifest, when it is what its digest says and names nothing but files inside. Raises UsageError."""
    head = source.stream.read(tarfile.BLOCKSIZE)
    size = _size_in(head)
    if size is None:
        raise _foreign(head, source.path)
    source.stream.seek(0)
    source.expect(_header(MANIFEST, size), "the header of its manifest")
    text = source.take(size)
    source.expect(_padding(size), "what follows its manifest")
    line = _digest_line(text)
    source.expect(_header(DIGEST, len(line)), "the header of the manifest's digest")
    source.expect(line, "the manifest, or its digest,")
    source.expect(_padding(len(line)), "what follows the manifest's digest")
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        manifest = None
    found = manifest.get("schema") if isinstance(manifest, dict) else None
    if found != schema:
        told = f"it says '{found}'" if isinstance(found, str) else "it does not say what it is"
        what = f"not a bundle that this mlconvert builds ({schema}): {told}"
        raise UsageError(what, where=str(source.path), hint="mlconvert bundle RECIPE -o job.tar")
    rows = manifest.get("files")
    if not isinstance(rows, list) or not all(_is_row(row) for row in rows) or _clash([row["path"] for row in rows]):
        what = "the bundle's manifest names something else than files inside of it"
        raise UsageError(what, where=str(source.path), hint=AGAIN)
    return dict(manifest)


def _size_in(head: bytes) -> int | None:
    """The size of the manifest that this block is the header of; None for any other block."""
    if head[:100].rstrip(b"\0") != MANIFEST.encode():
        return None
    try:
        size = tarfile.TarInfo.frombuf(head, "utf-8", "strict").size
    except (tarfile.HeaderError, ValueError):
        return None
    return size if 0 <= size <= MOST_MANIFEST else None


def _foreign(head: bytes, path: Path) -> UsageError:
    told, hint = "", "mlconvert bundle RECIPE -o job.tar"
    if head[:2] == b"\x1f\x8b":
        told, hint = ": it is compressed", f"gunzip < {path} > job.tar"
    elif head.partition(b"\0")[0].endswith(b"/" + MANIFEST.encode()):
        told, hint = ": it is what build-bundle has built", f"tar xf {path}"
    return UsageError(f"not a bundle of mlconvert{told}", where=str(path), hint=hint)


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("path"), str)
        and _is_sound(row["path"])
        and isinstance(row.get("sha256"), str)
        and type(row.get("bytes")) is int
        and 0 <= row["bytes"] < 1 << 62
    )


def _is_sound(name: str) -> bool:
    """Whether that is the path of a file inside, in its one spelling, that can be shown on a terminal."""
    return name.isprintable() and all(part not in ("", ".", "..") for part in name.split("/"))


def _clash(names: list[str]) -> str | None:
    """A name that is there twice, is one of the archive's own, or would have to be a folder and a file."""
    taken = {MANIFEST, DIGEST}
    for name in names:
        if name in taken:
            return name
        taken.add(name)
    return next((name for name in names for above in _above(name) if above in taken), None)


def _above(name: str) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _copy(path: Path, row: Mapping[str, Any], out: _Hashed) -> None:
    digest, left = hashlib.sha256(), row["bytes"]
    with path.open("rb") as stream:
        while left and (data := stream.read(min(CHUNK, left))):
            out.write(data)
            digest.update(data)
            left -= len(data)
        if left or digest.hexdigest() != row["sha256"] or stream.read(1):
            raise UsageError(f"{path} was changed while it was bundled", hint="bundle again, when nothing writes to it")


def _header(name: str, size: int) -> bytes:
    """The header of a plain file: no owner, no time, readable by all."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def _length(name: str, size: int) -> int:
    return len(_header(name, size)) + size + len(_padding(size))


def _digest_line(data: bytes) -> bytes:
    return f"{hashlib.sha256(data).hexdigest()}  {MANIFEST}\n".encode()
