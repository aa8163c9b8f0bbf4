"""A jar's own program, asked over its standard streams: see `java/Main.java` for what is said there.

One JVM answers any number of requests. Whoever starts it, ends it: `Stream` is a context manager.
"""

from __future__ import annotations

import contextlib
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from mlconvert.readers.jvm import death

GREETING = 0x4D4C4A31
AT_ONCE = 8 << 20  # bytes of rows in a request
PATIENCE = 5.0  # seconds for a JVM to end
OPTIONS = ("-XX:+UseSerialGC", "-Xshare:auto")


@dataclass(frozen=True)
class Timing:
    """Nanoseconds of calls with one row, int64 [calls], and of calls with all rows, int64 [batches]."""

    single: np.ndarray
    whole: np.ndarray


class Stream:
    """A running JVM: `features` doubles make a row, `width` an answer, `texts` is the number of columns of text."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes], where: str) -> None:
        self.process = process
        self._log = log
        self._where = where
        with self._told():
            greeting, self.features, self.width, self.texts = struct.unpack(">iiii", self._read(16))
            if greeting != GREETING:
                raise _Broken("it does not speak as a jar of mlconvert does")

    def answers(self, rows: np.ndarray, texts: Sequence[Sequence[str | None]] = ()) -> np.ndarray:
        """What the model answers to rows [n, features]: float64 [n, width]. `texts`: each column's, None if missing.

        Raises ConversionFailed with the JVM's own words, OutOfResources where it has no memory left.
        """
        rows = np.ascontiguousarray(rows, ">f8")
        assert rows.ndim == 2
        assert rows.shape[1] == self.features
        assert len(texts) == self.texts
        found = np.empty((len(rows), self.width))
        step = max(1, AT_ONCE // (8 * max(1, self.features)))
        with self._told():
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                self._write(struct.pack(">i", len(part)), part.tobytes())
                for column in texts:
                    self._write(*_texts(column[start : start + step]))
                self._flush()
                self._expect(len(part))
                data = self._read(8 * len(part) * self.width)
                found[start : start + step] = np.frombuffer(data, ">f8").reshape(len(part), self.width)
        return found

    def bench(self, rows: np.ndarray, calls: int, batches: int, texts: Sequence[Sequence[str | None]] = ()) -> Timing:
        """How long the model takes; only of a stream that was opened with `bench`."""
        rows = np.ascontiguousarray(rows, ">f8")
        with self._told():
            self._write(struct.pack(">i", len(rows)), rows.tobytes())
            for column in texts:
                self._write(*_texts(column))
            self._write(struct.pack(">ii", calls, batches))
            self._flush()
            self._expect(calls)
            single = np.frombuffer(self._read(8 * calls), ">i8").astype(np.int64)
            self._expect(batches)
            whole = np.frombuffer(self._read(8 * batches), ">i8").astype(np.int64)
        return Timing(single, whole)

    def close(self) -> None:
        """End the JVM: in its own way if it listens, else at once."""
        with contextlib.suppress(OSError):
            self._write(struct.pack(">i", 0))
            self._flush()
        try:
            self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self._log):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    # --- bytes ---

    def _write(self, *pieces: bytes) -> None:
        assert self.process.stdin is not None
        for piece in pieces:
            self.process.stdin.write(piece)

    def _flush(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.flush()

    def _read(self, count: int) -> bytes:
        assert self.process.stdout is not None
        data = self.process.stdout.read(count)
        if len(data) < count:
            raise _Broken
        return data

    def _expect(self, count: int) -> None:
        (said,) = struct.unpack(">i", self._read(4))
        if said == -1:
            (length,) = struct.unpack(">i", self._read(4))
            raise _Broken(self._read(length).decode("utf-8", "replace"))
        if said != count:
            raise _Broken(f"it answered {said} rows of {count}")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn a JVM that does not answer into an error that says what it said."""
        try:
            yield
        except (_Broken, OSError) as error:
            words = [str(error) if isinstance(error, _Broken) else self._left()]
            code = self._ended()
            self._log.seek(0)
            words.append(self._log.read().decode("utf-8", "replace").strip())
            raise death(code, "\n".join(filter(None, words)), "the jar's program", where=self._where) from error

    def _left(self) -> str:
        """What a JVM said that no longer listens: it says why before it ends."""
        try:
            self._expect(0)
        except (_Broken, OSError) as error:
            return str(error) if isinstance(error, _Broken) else ""
        return ""

    def _ended(self) -> int:
        """The status of a JVM that said that it cannot go on; one that does not end is ended, which is no death."""
        try:
            return self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return 1


class _Broken(Exception):
    pass


def _texts(column: Iterable[str | None]) -> list[bytes]:
    pieces = []
    for text in column:
        data = b"" if text is None else str(text).encode()
        pieces += [struct.pack(">i", -1 if text is None else len(data)), data]
    return pieces


def open_stream(java: str | Path, jar: Path, *, bench: bool = False) -> contextlib.AbstractContextManager[Stream]:
    """Start a JVM on a jar that mlconvert made; it ends with the block."""
    mode = "--bench" if bench else "--stream"
    return stream_of([str(java), *OPTIONS, "-jar", str(jar), mode], str(jar))


@contextlib.contextmanager
def stream_of(words: Sequence[str], where: str) -> Iterator[Stream]:
    """Start a program that speaks as `java/Main.java` does; it ends with the block. `where` is told in errors."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        try:
            stream = Stream(process, log, where)
            try:
                yield stream
            finally:
                stream.close()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
