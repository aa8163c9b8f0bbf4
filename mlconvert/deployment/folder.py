"""Writing deployment files into a folder: all or none of what is there already is put at risk.

Each file's first line carries the SHA-256 of the rest. A file without that line, or that was changed since, belongs
to somebody: it is never overwritten and never removed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlconvert.errors import OutOfResources, UsageError

_HEAD = "# Written by `mlconvert deploy`; it writes this file again only while the lines below are as they were: "
_FIRST_LINE = re.compile(re.escape(_HEAD) + r"(?P<digest>[0-9a-f]{64})\n")


def sealed(text: str) -> str:
    """The text with the line at its head that says what it was."""
    return f"{_HEAD}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def is_ours(path: Path) -> bool:
    """Whether the file was written here and has not been changed since."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return False
    found = _FIRST_LINE.match(text)
    return found is not None and hashlib.sha256(text[found.end() :].encode()).hexdigest() == found["digest"]


def write_files(folder: Path, files: Mapping[str, str], possible: Iterable[str]) -> tuple[Path, ...]:
    """Write the files, and remove those of an earlier writing that are no longer wanted; the paths written.

    `possible` are the names that the target may write: no others are ever looked at.

    Raises UsageError when a file that is in the way was not written here or was changed since, or the folder cannot
    be written; OutOfResources when the disk is full. Nothing was replaced then.
    """
    wanted = {folder / name: sealed(text) for name, text in files.items()}
    staged: list[tuple[Path, Path]] = []
    try:
        stale = [path for name in possible if (path := folder / name) not in wanted and _is_stale(path)]
        _refuse_others(wanted)
        try:
            for path, text in wanted.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                staged.append((_staged(path, text), path))
            for temporary, path in staged:
                temporary.replace(path)
        finally:
            for temporary, _ in staged:
                temporary.unlink(missing_ok=True)
        for path in stale:
            path.unlink(missing_ok=True)
    except OSError as error:
        what = f"the deployment files cannot be written: {error.strerror}"
        where = str(error.filename or folder)
        if error.errno in _FULL:
            raise OutOfResources(what, where=where, hint="free some space and run it again") from error
        raise UsageError(what, where=where, hint="choose another folder with -o") from error
    return tuple(wanted)


_FULL = {errno.ENOSPC, errno.EDQUOT}


def _staged(path: Path, text: str) -> Path:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    Path(name).chmod(0o644)
    return Path(name)


def _refuse_others(wanted: Mapping[Path, str]) -> None:
    for path in wanted:
        if not path.exists() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_file() or not is_ours(path):
            raise UsageError(
                f"{path} was not written by `mlconvert deploy`, or was changed since, and is not overwritten",
                where=str(path),
                hint="choose another folder with -o, or move the file away and carry your changes over",
            )


def _is_stale(path: Path) -> bool:
    return not path.is_symlink() and path.is_file() and is_ours(path)
