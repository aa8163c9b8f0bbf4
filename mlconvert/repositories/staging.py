"""Staging: what goes into a repository is made whole beside it, under a lock, and renamed in.

`<parent>/.mlconvert-<repository's name>/` holds

    locks/<model>          one publisher of a model at a time; the kernel frees the lock of one that died
    staged/<model>/        what is being made; whatever is found there under the lock is of a publisher that died
    rolled-back/<model>/   versions that `rollback` took out: nothing is lost

It lies outside the repository because a server takes every folder in there for a model, and beside it because a
rename only moves within one filesystem. Empty folders and locks are removed again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from mlconvert.errors import OutOfResources, RepositoryInvalid, UsageError

FILE_MODE, FOLDER_MODE = 0o644, 0o755  # servers run as another user
CHUNK = 1 << 20  # bytes copied at a time
WAIT_SECONDS = 120.0  # for another publisher of the same model
POLL_SECONDS = 0.05
TICK_NS = 1_000_000  # a step in time that every filesystem's time stamps can show

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


def staging_folder(repository: Path) -> Path:
    return repository.parent / f".mlconvert-{repository.name}"


def rolled_back_folder(repository: Path, name: str) -> Path:
    return staging_folder(repository) / "rolled-back" / name


@contextlib.contextmanager
def disk_errors(what: str, repository: Path) -> Iterator[None]:
    """Turn an OSError of the block into OutOfResources (a full disk) or RepositoryInvalid (anything else)."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        where = str(error.filename) if error.filename else str(repository)
        if error.errno in _FULL:
            raise OutOfResources(f"{what}: {reason}", where=where, hint="free some space and run it again") from error
        if error.errno == errno.EXDEV:
            raise _other_filesystem(repository) from error
        hint = None
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            hint = f"{repository} and its parent folder must be writable: versions are staged beside it and renamed in"
        raise RepositoryInvalid(f"{what}: {reason}", where=where, hint=hint) from error


def _other_filesystem(repository: Path) -> RepositoryInvalid:
    return RepositoryInvalid(
        "the repository and its parent folder are on different filesystems, so a version cannot be renamed in",
        where=str(repository),
        hint=f"use a folder inside the mount, such as {repository / 'models'}",
    )


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


@contextlib.contextmanager
def exclusive(repository: Path, name: str, *, wait_seconds: float) -> Iterator[Path]:
    """Hold the model's lock; yields a new, empty folder on the repository's filesystem, removed at the end.

    Leftovers of publishers that died are removed, those of other models too. Raises OutOfResources when another
    publisher keeps the lock for longer than `wait_seconds`, RepositoryInvalid when staging is impossible here.
    """
    if _nearest_existing(repository).stat().st_dev != _nearest_existing(repository.parent).stat().st_dev:
        raise _other_filesystem(repository)
    root = staging_folder(repository)
    new_folders = [folder for folder in (repository, *repository.parents) if not folder.exists()]
    try:
        make_folders(repository.parent)
        with _lock(root / "locks" / name, name, wait_seconds):
            work = root / "staged" / name
            try:
                _remove_dead(root)
                _remove_dead_locks(root)
                shutil.rmtree(work, ignore_errors=True)
                _make_folder(work)
                yield work
            finally:
                shutil.rmtree(work, ignore_errors=True)
    finally:
        # Only what is empty goes: rmdir leaves another publisher's work alone.
        for folder in (root / "staged", root / "locks", root / "rolled-back" / name, root / "rolled-back", root):
            with contextlib.suppress(OSError):
                folder.rmdir()
        for folder in new_folders:
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def holding(repository: Path, file: str, *, wait_seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock of a file that all models of the repository share, while it is read and replaced.

    For the time of a rename, and only by who holds a model's lock: so no two wait for each other.
    """
    with _lock(staging_folder(repository) / "locks" / file, file, wait_seconds):
        yield


@contextlib.contextmanager
def _lock(path: Path, name: str, wait_seconds: float) -> Iterator[None]:
    deadline = time.monotonic() + wait_seconds
    while (descriptor := _try_lock(path)) is None:
        if time.monotonic() >= deadline:
            holder = ""
            with contextlib.suppress(OSError, ValueError):
                holder = f" (process {int(path.read_text())})"
            raise OutOfResources(
                f"another publisher{holder} has held the lock of '{name}' for {wait_seconds:g} s",
                where=str(path),
                hint="wait until it is done and run this again; a lock goes away with its process",
            )
        time.sleep(POLL_SECONDS)
    try:
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: whoever opened it meanwhile sees that it is gone, and opens a new one
        os.close(descriptor)


def _try_lock(path: Path) -> int | None:
    """The descriptor of the locked file, or None when somebody else has it."""
    _make_folder(path.parent)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except FileNotFoundError:
        return None  # the folder was removed a moment ago by one that has finished
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass  # held by another, or unlinked by the one that held it
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _make_folder(path: Path) -> None:
    """Make the folder and its parents, whoever is removing them meanwhile because they are empty."""
    for _ in range(100):
        # FileExistsError: it was there when it was to be made, and gone when that was looked into.
        with contextlib.suppress(FileNotFoundError, FileExistsError):
            path.mkdir(parents=True, exist_ok=True)
            return
        time.sleep(0.001)
    path.mkdir(parents=True, exist_ok=True)


def _remove_dead(root: Path) -> None:
    """Remove what publishers of other models left staged, unless they are still at work."""
    try:
        left = list((root / "staged").iterdir())
    except FileNotFoundError:  # another publisher removes the folder whenever it is empty, at any moment
        return
    for entry in left:
        lock = root / "locks" / entry.name
        descriptor = _try_lock(lock)
        if descriptor is None:
            continue
        shutil.rmtree(entry, ignore_errors=True)
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(descriptor)


def _remove_dead_locks(root: Path) -> None:
    """Remove the locks of processes that died while they held them, which nobody may ever ask for again.

    The number may be of a process on another host: then its lock is held, and stays.
    """
    for lock in sorted((root / "locks").glob("*")):
        with contextlib.suppress(OSError, ValueError):
            if _is_alive(int(lock.read_text())):
                continue
            descriptor = _try_lock(lock)
            if descriptor is not None:
                lock.unlink(missing_ok=True)
                os.close(descriptor)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def check_space(folder: Path, needed: int) -> None:
    """Raise OutOfResources when the folder's filesystem has less than `needed` bytes left."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = f"the repository's disk has {free / 1e6:.0f} MB left, the model needs {needed / 1e6:.0f} MB"
        raise OutOfResources(what, where=str(folder.parent), hint="free some space and run it again")


# --- files that will still be there after a power cut ---


def copy_file(source: Path, target: Path) -> str:
    """Copy the bytes (never a link), readable by all; the SHA-256 of what was written.

    Raises UsageError when the source cannot be read; OSError when the target cannot be written.
    """
    try:
        reader = source.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read the model's file: {error.strerror}", where=str(source)) from error
    checksum = hashlib.sha256()
    with reader, target.open("xb") as writer:
        while chunk := reader.read(CHUNK):
            checksum.update(chunk)
            writer.write(chunk)
        os.fchmod(writer.fileno(), FILE_MODE)  # whatever the umask is
    return checksum.hexdigest()


def write_text(text: str, target: Path) -> None:
    write_bytes(text.encode(), target)


def write_bytes(content: bytes, target: Path) -> None:
    """Write a new file, readable by all."""
    with target.open("xb") as writer:
        writer.write(content)
        os.fchmod(writer.fileno(), FILE_MODE)


def make_folders(path: Path) -> None:
    """Make the folder and its missing parents, readable by all whatever the umask is."""
    for folder in reversed([folder for folder in (path, *path.parents) if not folder.exists()]):
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)


def sync(path: Path) -> None:
    """Put a file's bytes, or a folder's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def newest_mtime_ns(folder: Path) -> int:
    """The newest time stamp of anything below the folder or of itself; 0 when there is no such folder."""
    if not folder.exists():
        return 0
    return max(path.stat().st_mtime_ns for path in (folder, *folder.rglob("*")) if path.exists())


def stamp(folder: Path, after_ns: int) -> None:
    """Give everything in the folder, and itself, one time that is now and newer than `after_ns`; put it on the disk.

    A server that polls looks for a newer time than it saw: a clock that is behind must not hide a new version.
    """
    when = max(time.time_ns(), after_ns + TICK_NS)
    for path in sorted((folder, *folder.rglob("*")), reverse=True):  # what is inside first
        os.utime(path, ns=(when, when))
        sync(path)


def touch(folder: Path, after_ns: int) -> None:
    """Make sure that the folder's own time is newer than `after_ns`, where it is ours to set."""
    if folder.stat().st_mtime_ns <= after_ns:
        when = max(time.time_ns(), after_ns + TICK_NS)
        with contextlib.suppress(PermissionError):
            os.utime(folder, ns=(when, when))
