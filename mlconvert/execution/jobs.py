"""Jobs: what runs in a child process of its own, and the parent's side of it.

A job is a folder with `request.json`; the child (`python -m mlconvert.worker request.json`) writes `result.json` and
whatever it makes under `out/`, its output goes to `log.txt`, and how far it has come to `progress.json`. So a step that
crashes, hangs or outgrows its memory is an error here and nothing more, and the same request can be run again by hand
or on another machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache as once
from pathlib import Path
from typing import Any, Protocol

from mlconvert.errors import ConversionFailed, MlconvertError, OutOfResources, UsageError, from_json
from mlconvert.execution import cache
from mlconvert.progress import FILENAME, Reader, Watcher, unwatched
from mlconvert.recipe import LimitsSpec

SCHEMA = "mlconvert.request/1"
POLL_SECONDS = 0.02
MEMORY_POLL_SECONDS = 0.1
NO_SPACE = 64 << 10  # bytes: with less than that left, a step that could not say why it ended had no place to say it
KEPT_FAILURES = 50  # folders of failed jobs that are kept for a look
HERE = "."  # hardware: that of the machine which the run was started on


@dataclass(frozen=True)
class Done:
    """`machine` is the digest of the machine that did it, where it is known and matters."""

    result: Mapping[str, Any]
    folder: Path  # the job's folder; what it made is under out/
    seconds: float
    peak_rss_bytes: int
    machine: str | None = None
    cached: bool = False  # it had been done before, by another run

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"


@dataclass(frozen=True)
class Terms:
    """Where a job may be done, and what its result is known by.

    `hardware`: a type of GPU, HERE, or None where any machine will do. `like`: the digest of the machine that made what
    the job is about, where it had better be done too. `parts` are what the result depends on; with `bound` it depends
    on the machine besides.
    """

    parts: Mapping[str, Any] = field(default_factory=dict)
    bound: bool = False
    hardware: str | None = None
    like: str | None = None

    def key(self, machine: str | None) -> str:
        """The key of the result on the machine with that digest."""
        return cache.content_key({**self.parts, "hardware": machine} if self.bound else self.parts)


ANYWHERE = Terms()


class Workers(Protocol):
    """Who does the jobs of a run: the child processes of this machine, or a cluster."""

    def machines(self, hardware: str | None) -> tuple[str, ...]:
        """The digests of the machines that may do what is bound to such hardware, always in one order; at least one."""

    def run(
        self,
        step: str,
        request: Mapping[str, Any],
        folder: Path,
        watch: Watcher = unwatched,
        terms: Terms = ANYWHERE,
    ) -> Done:
        """Do one request in the (new) folder and return its result; `watch` is told how far it has come."""

    def stop(self) -> None:
        """End everything. Safe to call more than once, from any thread."""


@once
def machine_digest() -> str:
    """The digest of this machine's hardware and drivers, which what is hardware-bound depends on."""
    from mlconvert.hardware.fingerprint import digest, take

    return digest(take())


class Cancelled(Exception):
    """The run was stopped while a job was running or waiting."""


class Children:
    """The child processes of one run: starts them, watches their limits, ends them all when the run is stopped."""

    def __init__(self, limits: LimitsSpec, jobs: int = 1) -> None:
        if limits.memory_bytes and not Path("/proc/self/status").exists():
            raise UsageError("a limit of memory can be held on Linux only", hint="remove limits.memory from the recipe")
        if jobs < 1:
            raise UsageError(f"jobs={jobs} is not valid: expected at least 1")
        self.limits = limits
        self._slots = threading.BoundedSemaphore(jobs)
        # The Popen objects are kept: one that is collected early is waited for by the next Popen, before us.
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """End every running child with its own children. Safe to call more than once, from any thread."""
        with self._lock:
            self._stopped = True
            for pid in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    def machines(self, hardware: str | None) -> tuple[str, ...]:  # noqa: ARG002 - whatever is asked for, it is this one
        return (machine_digest(),)

    def run(
        self,
        step: str,
        request: Mapping[str, Any],
        folder: Path,
        watch: Watcher = unwatched,
        terms: Terms = ANYWHERE,
    ) -> Done:
        """Run one request in the (new) folder and return its result; `watch` is told how far it has come.

        Raises what the worker raised; ConversionFailed when it died; OutOfResources when it passed a limit. The request
        and the log of what failed are kept, and the error says where.
        """
        try:
            done = self.attempt(step, request, folder, watch)
        except MlconvertError as error:
            raise kept_failure(error, step, folder) from error.__cause__
        return replace(done, machine=machine_digest()) if terms.bound else done

    def attempt(self, step: str, request: Mapping[str, Any], folder: Path, watch: Watcher = unwatched) -> Done:
        """`run`, of which nothing is kept when it fails."""
        with self._slots:
            path = write_request(step, request, folder)
            started = time.monotonic()
            with (folder / "log.txt").open("wb") as log:
                process = self._start(path, log.fileno(), request.get("cwd") or folder / "work")
                status, usage, passed = self._wait(process, started, Reader(folder / FILENAME, watch))
            seconds = time.monotonic() - started
            if passed is not None:
                raise passed
            try:
                told = json.loads((folder / "result.json").read_bytes())
            except (FileNotFoundError, ValueError):
                raise _death(step, status, folder) from None
            if "error" in told:
                raise from_json(told)
            # Where there is no /proc: ru_maxrss is KiB on Linux, bytes on macOS.
            peak = told["peak_rss_bytes"] or usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            return Done(told["result"], folder, seconds, peak)

    def _start(self, request: Path, log: int, cwd: str | Path) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise Cancelled
            process = subprocess.Popen(
                [sys.executable, "-m", "mlconvert.worker", str(request)],
                cwd=cwd,  # a folder of the job's own: some tools drop files where they stand
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that the step's own children end with it
            )
            self._running[process.pid] = process
        return process

    def _wait(
        self, process: subprocess.Popen[bytes], started: float, progress: Reader
    ) -> tuple[int, Any, MlconvertError | None]:
        pid = process.pid
        passed: MlconvertError | None = None
        checked, pause = started, 0.002
        try:
            while True:
                done, status, usage = os.wait4(pid, os.WNOHANG)
                if done:
                    process.returncode = os.waitstatus_to_exitcode(status)  # Popen has nothing more to wait for
                    break
                now = time.monotonic()
                if passed is None and self.limits.seconds is not None and now - started > self.limits.seconds:
                    passed = OutOfResources(f"took longer than its limit of {self.limits.seconds:g} s")
                elif passed is None and self.limits.memory_bytes and now - checked > MEMORY_POLL_SECONDS:
                    checked, used = now, _private_bytes(pid)
                    if used > self.limits.memory_bytes:
                        passed = OutOfResources(
                            f"used {used >> 20} MiB of memory, its limit is {self.limits.memory_bytes >> 20} MiB"
                        )
                if passed is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                progress.look()
                time.sleep(pause)
                pause = min(pause * 1.5, POLL_SECONDS)
        finally:
            with self._lock:
                del self._running[pid]
                stopped = self._stopped
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # what the step itself started and left running
            process.wait()  # at once, unless Ctrl-C came between
        if stopped:
            raise Cancelled
        return status, usage, passed


def child_environment() -> dict[str, str]:
    """What a child process of ours sees: quiet libraries, and a PYTHONPATH that holds in another folder too."""
    environment = dict(os.environ, ORT_DISABLE_TELEMETRY="1", PYTHONUNBUFFERED="1", TF_CPP_MIN_LOG_LEVEL="3")
    if path := environment.get("PYTHONPATH"):
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(entry) for entry in path.split(os.pathsep))  # noqa: PTH100
    return environment


def write_request(step: str, request: Mapping[str, Any], folder: Path) -> Path:
    """Make the folder of a job with its request in it."""
    (folder / "out").mkdir(parents=True)
    (folder / "work").mkdir()
    path = folder / "request.json"
    path.write_text(json.dumps({"schema": SCHEMA, "step": step, **request}, indent=1))
    return path


def kept_failure(error: MlconvertError, step: str, folder: Path, node: str | None = None) -> MlconvertError:
    """The error, with the step's name, the machine of a cluster, and the place where request and log are kept."""
    kept = _keep(step, folder)
    where = f"step '{step}'" + (f" on {node}" if node else "") + (f" ({error.where})" if error.where else "")
    if kept is not None:
        again = shlex.join([sys.executable, "-m", "mlconvert.worker", str(kept / "request.json")])
        where += f"\nlog: {kept / 'log.txt'}\nagain: {again}"
    error.where = where
    return error


def _death(step: str, status: int, folder: Path) -> MlconvertError:
    """Why a child ended without a result."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name
        if number == signal.SIGKILL:
            return OutOfResources(
                f"step '{step}' was killed ({name}); most often that is the kernel, out of memory",
                hint="free some memory, or give the machine more",
            )
        return ConversionFailed(f"step '{step}' crashed ({name}): the library that it calls could not bear this input")
    if os.WEXITSTATUS(status) == OutOfResources.exit_code or shutil.disk_usage(folder).free < NO_SPACE:
        return OutOfResources(
            f"no space is left for step '{step}' in {folder}", hint="free some disk space, or choose another -o"
        )
    return ConversionFailed(f"step '{step}' ended with status {os.WEXITSTATUS(status)} and without a result")


def _private_bytes(pid: int) -> int:
    """The anonymous resident memory of a process, from /proc; 0 where there is no /proc (the limit is not held)."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _keep(step: str, folder: Path) -> Path | None:
    """Copy a failed job's request and log to the cache's `failed/` folder; None when that cannot be written."""
    failed = cache.root_folder() / "failed"
    name = re.sub(r"[^\w.-]", "-", step)  # "verify onnx": a path without spaces is easier to paste
    kept = failed / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{folder.name}-{name}"
    try:
        kept.mkdir(parents=True)
        for name in ("request.json", "log.txt"):
            shutil.copyfile(folder / name, kept / name)
        for old in sorted(failed.iterdir())[:-KEPT_FAILURES]:
            shutil.rmtree(old, ignore_errors=True)
    except OSError:
        return None
    return kept
