"""A contestant as the parent sees it: a child process that is asked for turns, one line for one line."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mlconvert.errors import ConversionFailed, OutOfResources, ParityFailed, from_json
from mlconvert.execution.jobs import child_environment

Measure = Literal["one_row", "batch"]

CHILD = (sys.executable, "-m", "mlconvert.benchmarking.child")
ANSWER_SECONDS = 600.0  # for one turn, or for loading the model
END_SECONDS = 5.0
# What the libraries take as the number of their threads.
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


class Contestant:
    """One process of one model called in one way. `call`, `batches`, `in_batch` and `cold_seconds` are what it told."""

    def __init__(self, name: str, request: Mapping[str, Any], folder: Path) -> None:
        """Start it and wait for its first answer. Raises what it raised; OutOfResources when it hangs."""
        folder.mkdir(parents=True)
        self.name = name
        self._log = folder / "log.txt"
        path = folder / "request.json"
        path.write_text(json.dumps({**request, "started_ns": time.monotonic_ns()}))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*CHILD, str(path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=request.get("cwd") or folder,  # some tools drop files where they stand
                env=child_environment() | dict.fromkeys(THREADS, str(request["threads"])),
                start_new_session=True,  # so that a JVM of its own ends with it
            )
        try:
            told = self._read()
        except BaseException:
            self.kill()
            raise
        self.call: str = told["call"]
        self.batches: bool = told["batches"]
        self.in_batch: int = told["in_batch"]
        self.cold_seconds: float | None = told["cold_seconds"]

    def check(self) -> None:
        """Raise ParityFailed unless the calls that are timed answer as the source does."""
        differs = self._ask("check")["differs"]
        if differs:
            raise ParityFailed(f"what would be timed answers otherwise: {differs}", where=self.name)

    def warm(self, measure: Measure, seconds: float) -> float:
        """Call it for so long; the nanoseconds of a call at the end."""
        nanoseconds: float = self._ask(f"warm {measure} {seconds}")["nanoseconds"]
        return nanoseconds

    def turn(self, measure: Measure, calls: int) -> list[int]:
        """The nanoseconds of each of so many calls."""
        nanoseconds: list[int] = self._ask(f"{measure} {calls}")["nanoseconds"]
        return nanoseconds

    def peak_rss_bytes(self) -> int | None:
        """The peak of its memory up to now; None for a server's, which is not ours to see."""
        peak: int | None = self._ask("memory")["peak_rss_bytes"]
        return peak

    def end(self) -> None:
        """Let it end by itself, and end it and whatever it started where it does not."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it at once, with whatever it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        return self._read()

    def _read(self) -> Any:
        stream = self._process.stdout
        assert stream is not None
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            if not selector.select(ANSWER_SECONDS):
                what = f"it did not answer within {ANSWER_SECONDS:g} s"
                raise OutOfResources(what, where=self.name, hint="leave it out, or give a smaller --batch")
        line = stream.readline()
        if not line.endswith(b"\n"):
            raise self._death()
        told = json.loads(line)
        if "error" in told:
            error = from_json(told)
            error.where = f"{self.name}" + (f" ({error.where})" if error.where else "")
            raise error
        return told

    def _death(self) -> ConversionFailed | OutOfResources:
        status = self._process.wait()
        last = self._log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        told = f": {last[0][:200]}" if last else ""
        if status == -signal.SIGKILL:
            what = "its process was killed (SIGKILL); most often that is the kernel, out of memory"
            return OutOfResources(what, where=self.name, hint="bench fewer artifacts at once, or a smaller --batch")
        if status < 0:
            return ConversionFailed(f"its process crashed ({signal.Signals(-status).name}){told}", where=self.name)
        return ConversionFailed(f"its process ended with status {status}{told}", where=self.name)
