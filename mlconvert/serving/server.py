"""A tritonserver of our own on loopback: started, waited for, and stopped, with nothing left behind.

It never completes configurations by itself, so that what is checked is what was written.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlconvert.errors import MissingPackage, MlconvertError, RepositoryInvalid, UsageError
from mlconvert.serving import processes
from mlconvert.serving.home import ServerHome, how_to_get_one
from mlconvert.serving.overlay import assemble_backends, make_environment
from mlconvert.serving.processes import ATTEMPTS, LINES, LOOPBACK, free_ports, tail

STOP_SECONDS = 0.5  # to end by itself; it takes a second for each model in Python, and nobody waits for those
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where the kernel has it

__all__ = ["Server", "error_lines", "free_ports", "started"]

Mode = Literal["explicit", "poll", "none"]


@dataclass(frozen=True)
class Server:
    """A server that is live: `http` and `grpc` are `127.0.0.1:port`, `standins` the backends that are stood in for."""

    http: str
    grpc: str
    process: subprocess.Popen[bytes]
    log: Path
    home: ServerHome
    standins: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        return self.process.pid

    def log_text(self) -> str:
        return self.log.read_text("utf-8", errors="replace")


@contextlib.contextmanager
def started(
    home: ServerHome,
    repository: Path,
    *,
    mode: Mode = "explicit",
    arguments: Sequence[str] = (),
    backends: Path | None = None,
    limits: Mapping[str, Mapping[str, Any]] | None = None,
    wait_seconds: float = 60,
) -> Iterator[Server]:
    """A tritonserver on that repository, live; it is stopped at the end.

    `mode` is the server's model control: `explicit` loads nothing until it is asked, `none` loads all at its start (and
    ends, when one cannot be loaded), `poll` looks for changes every second. `arguments` are further ones of the
    server's own. `backends` is a folder of backends that come before the server's own; `limits` are for stand-ins (see
    `assemble_backends`). Call it from a thread that outlives the server.

    Raises MissingPackage when the server does not run on this machine, RepositoryInvalid, with the lines of its log
    that tell why, when it ends by itself or is not live within `wait_seconds`, UsageError for an unknown argument.
    """
    with tempfile.TemporaryDirectory(prefix="mlconvert-server-") as scratch:
        work = Path(scratch)
        made = assemble_backends(home, work / "backends", more=backends, limits=limits)
        environment = make_environment(home, work / "python")
        in_python = ["python", *sorted(place.parent.name for place in work.glob("backends/*/model.py"))]
        for attempt in range(ATTEMPTS):
            shared = f"mlconvert_{os.getpid()}_{work.name.rpartition('-')[2]}_{attempt}_"
            http_port, grpc_port = free_ports(2)
            command = [
                str(home.binary),
                f"--model-repository={repository}",
                f"--backend-directory={work / 'backends'}",
                f"--http-address={LOOPBACK}",
                f"--http-port={http_port}",
                f"--grpc-address={LOOPBACK}",
                f"--grpc-port={grpc_port}",
                f"--model-control-mode={mode}",
                *(["--repository-poll-secs=1"] if mode == "poll" else []),
                "--disable-auto-complete-config",
                *(f"--backend-config={name},shm-region-prefix-name={shared}{name}_" for name in in_python),
                *([] if any("metrics" in word for word in arguments) else ["--allow-metrics=false"]),
                *([] if any("exit-timeout" in word for word in arguments) else ["--exit-timeout-secs=3"]),
                *arguments,
            ]
            log = work / "log"
            process = processes.start(command, log, environment)
            server = Server(f"{LOOPBACK}:{http_port}", f"{LOOPBACK}:{grpc_port}", process, log, home, made)
            try:
                if _is_live(server, wait_seconds):
                    yield server
                    return
            finally:
                _stop(process, shared)
        raise RepositoryInvalid(f"no free port was found for the server in {ATTEMPTS} attempts")


def _is_live(server: Server, wait_seconds: float) -> bool:
    """Wait until the server is live; False when another process has one of its ports."""
    deadline = time.monotonic() + wait_seconds
    while server.process.poll() is None:
        if _answers(server.http):
            return True
        if time.monotonic() > deadline:
            raise RepositoryInvalid(
                f"the server was started, and is not live after {wait_seconds:g} seconds",
                where=tail(server.log_text()),
                hint="its models may take long to load: in the mode 'explicit' they are loaded one by one",
            )
        time.sleep(0.02)
    text = server.log_text()
    if "already in use" in text:
        return False
    raise _death(server, text)


def _answers(address: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/v2/health/live")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _death(server: Server, text: str) -> MlconvertError:
    code = server.process.returncode
    told = error_lines(text)
    if "Usage: tritonserver" in text:
        return UsageError("the server does not take its arguments", where=text.partition("Usage:")[0].strip() or None)
    if not re.search(r"^[IWE]\d{4} ", text, re.MULTILINE) and "error:" not in text:
        # Not a line of its own: the loader, or the kernel, did not get as far as the server.
        what = f"the tritonserver in {server.home.folder} does not run on this machine (exit status {code})"
        return MissingPackage(what, where=tail(text) or None, hint=how_to_get_one())
    return RepositoryInvalid(
        f"the server ended by itself (exit status {code})", where="\n".join(told[-LINES:]) or tail(text)
    )


def error_lines(text: str) -> list[str]:
    """The lines of a log that tell of errors, without their time and place."""
    lines = []
    for line in text.splitlines():
        found = re.match(r"(?:[EF]\d{4} [\d:.]+\s+\d+ \S+\] |error: )(.*)", line)
        if found:
            lines.append(found[1].strip().strip('"').strip())
        elif "error while loading" in line:
            lines.append(line)
    return lines


def _stop(process: subprocess.Popen[bytes], shared: str) -> None:
    """End the server and what it started, and remove the shared memory that it would leave behind."""
    try:
        processes.stop(process, seconds=STOP_SECONDS)
    finally:
        for region in SHARED_MEMORY.glob(f"{shared}*"):
            region.unlink(missing_ok=True)
