"""Timing caches: what TensorRT measured while it built, kept in a folder, a file for each fingerprint.

A build with a cache that has all it needs measures nothing: it is quicker, and gives the same engine again.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlconvert.artifact import file_sha256
from mlconvert.errors import UsageError


@dataclass(frozen=True)
class Timings:
    """One file of timings. Its name is the digest of the machine, TensorRT included: timings hold nowhere else."""

    path: Path

    @staticmethod
    def at(folder: str | None, digest: str) -> Timings | None:
        """The file in that folder, which is made where it is not there; None without a folder.

        Raises UsageError for a path that is not absolute, or is no folder.
        """
        if folder is None:
            return None
        if not Path(folder).is_absolute():
            what = f"option timing_cache: {folder} is no absolute path, and steps run in folders of their own"
            raise UsageError(what, hint=f'--set tensorrt.timing_cache="$PWD/{folder}"')
        try:
            Path(folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"option timing_cache: {folder} cannot be a folder: {error.strerror}") from error
        return Timings(Path(folder) / f"{digest}.timings")

    def read(self) -> bytes:
        """What is in it; nothing where no build has filled it yet."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            return b""

    def write(self, timings: bytes) -> None:
        """Replace it as a whole, so that a build beside this one reads the old one or the new one."""
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=".timings-")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(timings)
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def sha256(self) -> str:
        return file_sha256(self.path)
