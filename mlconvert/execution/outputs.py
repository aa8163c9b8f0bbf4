"""Where results go: claimed for one run, staged beside it, renamed into place; never over anything that is not ours.

While a run works, its destination is locked and everything it makes lies in `.mlconvert-<name>` in the same folder, or
in `.mlconvert` inside of a folder of several outputs: on the same filesystem, where renaming is atomic. Both are gone
when it ends, however it ends; what a run that was killed left behind is cleaned up by the next one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.errors import OutOfResources, UsageError
from mlconvert.formats import Format

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV)
INSIDE = "choose a folder inside of it: {}/model"
PREVIOUS = "previous"  # inside the scratch folder: the result that is being replaced


@dataclass(frozen=True)
class Destination:
    """An output: the main file and its record, in a folder that is wholly ours (`whole`) or shared with other files."""

    out: Path
    main: Path
    record: Path
    whole: bool

    @staticmethod
    def of(out: Path, form: Format) -> Destination:
        """OUT with the format's suffix is a file; otherwise a folder with the model under its conventional name."""
        out = out.absolute()
        if out.suffix.lower() in form.suffixes and not out.is_dir():
            return Destination(out, out, records.path_beside(out), whole=False)
        return Destination(out, out / form.filename, out / records.IN_FOLDER, whole=True)


def check(destination: Destination) -> None:
    """Raise UsageError unless the destination is free, or holds an unchanged earlier result of ours."""
    out = destination.out
    if destination.whole and (out.exists() or out.is_symlink()):
        if not out.is_dir():
            raise UsageError(f"{out} exists and is not a folder", hint="choose another -o")
        if out.is_symlink() or out.is_mount():  # the folder is replaced as one
            kind = "a link" if out.is_symlink() else "a mount point"
            raise UsageError(f"{out} is {kind}, which cannot be replaced by a folder", hint=INSIDE.format(out))
    if destination.whole:
        present = sorted(path for path in out.rglob("*") if path.is_symlink() or not path.is_dir())
    else:
        present = [path for path in (destination.main, destination.record) if path.exists()]
    if not present:
        return
    record = records.read(destination.record)
    if record is None:
        raise UsageError(
            f"{out} exists and was not made by mlconvert (it has no record)", hint="choose another -o, or move it away"
        )
    folder = destination.record.parent
    ours = {folder / row["path"]: row["sha256"] for row in record["files"]} | {destination.record: None}
    foreign = [path for path in present if path not in ours]
    if foreign:
        raise UsageError(
            f"{out} holds files that are not mlconvert's: {foreign[0].name}",
            hint="choose another -o, or move them away",
        )
    for path, digest in ours.items():
        if digest is not None and path.is_file() and file_sha256(path) != digest:
            raise UsageError(
                f"{path} was changed after mlconvert wrote it; it would be lost",
                hint="choose another -o, or move it away",
            )


@contextlib.contextmanager
def claimed(out: Path, *, inside: bool = False) -> Iterator[Path]:
    """Hold the output for this run; gives the empty scratch folder, which is removed at the end.

    It lies beside the output; `inside`: in it, which is then a folder of outputs and may be a filesystem of its own.
    Raises UsageError when another run holds the output, or when the folder cannot be written.
    """
    out = out.absolute()
    folder, name = (out, ".mlconvert") if inside else (out.parent, f".mlconvert-{out.name}")
    made = _make_parents(folder)
    lock, scratch = folder / f"{name}.lock", folder / name
    descriptor = _lock(lock, out)
    try:
        _recover(scratch)
        scratch.mkdir()
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise unwritable(error, Path(error.filename) if isinstance(error.filename, str) else out) from error
        raise
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)
        for path in reversed(made):  # only those that are still empty
            with contextlib.suppress(OSError):
                path.rmdir()


def place(staged: Path, destination: Destination, scratch: Path) -> None:
    """Rename a staged folder (the model's files and its record) into place; what stood there of ours is replaced."""
    if destination.whole:
        previous = scratch / PREVIOUS / _quoted(destination.out, scratch)
        if destination.out.exists():
            previous.parent.mkdir(exist_ok=True)
            destination.out.rename(previous)
        destination.out.parent.mkdir(parents=True, exist_ok=True)
        try:
            staged.rename(destination.out)
        except OSError:
            if previous.exists():
                previous.rename(destination.out)
            raise
        shutil.rmtree(previous, ignore_errors=True)
        return
    folder = destination.out.parent
    old = records.read(destination.record)
    ours = {row["path"] for row in old["files"]} if old else set()
    new = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
    for name in new:
        if (folder / name).exists() and name not in ours and folder / name != destination.record:
            raise UsageError(f"{folder / name} exists and is not mlconvert's", hint="choose another -o")
    # The record goes last: until then its digests tell a reader that the set is not complete.
    for name in sorted(new, key=lambda name: folder / name == destination.record):
        (staged / name).replace(folder / name)
    for name in ours - set(new):
        (folder / name).unlink(missing_ok=True)


def unwritable(error: OSError, out: Path) -> UsageError | OutOfResources:
    """An operating-system error while writing results, as an error for the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutOfResources(f"no space is left to write {out}", hint="free some disk space, or choose another -o")
    hint = "choose another -o"
    if error.errno in (errno.EBUSY, errno.EXDEV):  # a folder that is mounted, which is_mount does not always see
        hint = INSIDE.format(out)
    return UsageError(f"{out} cannot be written: {error.strerror or error}", hint=hint)


def _quoted(out: Path, scratch: Path) -> str:
    """A destination's path, relative to where the scratch folder lies, as the name of one folder."""
    # As unquote undoes it. No more is quoted than must be: a name may be 255 bytes long, and not all are UTF-8.
    return out.relative_to(scratch.parent).as_posix().replace("%", "%25").replace("/", "%2F")


def _make_parents(folder: Path) -> list[Path]:
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    made = []
    for path in reversed(missing):
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(error, path) from error
        made.append(path)
    return made


def _lock(path: Path, out: Path) -> int:
    """An exclusive lock on the file, which is made for it and removed by the holder; its descriptor."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise unwritable(error, out) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise UsageError(
                f"another mlconvert (process {holder or 'unknown'}) is writing to {out}",
                hint="wait for it, or choose another -o",
            ) from None
        except OSError as error:  # a filesystem without locks
            os.close(descriptor)
            raise unwritable(error, out) from error
        try:
            if os.stat(path).st_ino == os.fstat(descriptor).st_ino:  # noqa: PTH116 - not removed by its last holder
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def _recover(scratch: Path) -> None:
    """Clean up after a run that was killed; if it fell between two renames, the earlier result goes back."""
    for previous in (scratch / PREVIOUS).glob("*"):
        place_of = scratch.parent / unquote(previous.name)
        if not place_of.exists():
            previous.rename(place_of)
    if scratch.exists():
        shutil.rmtree(scratch)
