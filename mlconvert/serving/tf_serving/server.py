"""A TensorFlow Serving of our own, the real one or the double: started, waited for, and stopped."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlconvert.errors import MissingPackage, MlconvertError, RepositoryInvalid, UsageError
from mlconvert.serving import processes
from mlconvert.serving.processes import ATTEMPTS, LOOPBACK, free_ports, tail
from mlconvert.serving.tf_serving.home import ModelServer

START_SECONDS = 120.0  # until the ports open, which they do when every model is loaded
STOP_SECONDS = 3.0
# In a server of our own nobody waits a minute between two attempts at a version that does not load.
_DEFAULTS = ("--max_num_load_retries=0", "--num_load_threads=2", "--file_system_poll_wait_seconds=1")


@dataclass(frozen=True)
class Server:
    """A server that answers: `rest` and `grpc` are `127.0.0.1:port`."""

    rest: str
    grpc: str
    process: subprocess.Popen[bytes]
    log: Path
    program: ModelServer

    def log_text(self) -> str:
        return self.log.read_text("utf-8", errors="replace")


@contextlib.contextmanager
def started(
    program: ModelServer,
    flags: Sequence[str],
    *,
    wait_seconds: float = START_SECONDS,
) -> Iterator[Server]:
    """The server with these flags of its own beside the ports', answering; it is stopped at the end.

    One of `--model_config_file=` and `--model_base_path=` has to be there. Call it from a thread that outlives the
    server. Raises RepositoryInvalid, with its reason, when the server ends by itself (a model that cannot be loaded, a
    configuration that it does not take) or does not answer in time, UsageError for a flag that it does not know,
    MissingPackage when it does not run on this machine.
    """
    with tempfile.TemporaryDirectory(prefix="mlconvert-tf-serving-") as scratch:
        log = Path(scratch) / "log"
        for _ in range(ATTEMPTS):
            rest_port, grpc_port = free_ports(2)
            said = {flag.partition("=")[0] for flag in flags}
            defaults = [flag for flag in _DEFAULTS if flag.partition("=")[0] not in said]
            ports = [f"--port={grpc_port}", f"--rest_api_port={rest_port}"]
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "1" if program.program else "3"}
            process = processes.start([*program.command, *ports, *defaults, *flags], log, environment)
            server = Server(f"{LOOPBACK}:{rest_port}", f"{LOOPBACK}:{grpc_port}", process, log, program)
            try:
                if _answers(server, wait_seconds):
                    yield server
                    return
            finally:
                processes.stop(process, seconds=STOP_SECONDS)
        raise RepositoryInvalid(f"no free port was found for the server in {ATTEMPTS} attempts")


def _answers(server: Server, wait_seconds: float) -> bool:
    """Wait until both ports answer; False when another process has one of them."""
    deadline = time.monotonic() + wait_seconds
    while server.process.poll() is None:
        if _is_open(server.rest) and _is_open(server.grpc):
            return True
        if "Failed to start HTTP Server" in server.log_text():
            return False
        if time.monotonic() > deadline:
            raise RepositoryInvalid(
                f"the server was started, and does not answer after {wait_seconds:g} seconds",
                where=tail(server.log_text()),
                hint="it answers when all its models are loaded; a base_path that is not there keeps it waiting",
            )
        time.sleep(0.05)
    text = server.log_text()
    if "Failed to BuildAndStart gRPC server" in text:
        return False
    raise _death(server, text)


def _is_open(address: str) -> bool:
    import socket

    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def _death(server: Server, text: str) -> MlconvertError:
    code = server.process.returncode
    if found := re.search(r"unknown argument: .*|Couldn't interpret value .*|.* has no --\w+", text):
        return UsageError(f"the server does not take its flags: {found[0]}")
    if found := re.search(r"Failed to start server\. Error: (.*)", text):
        return RepositoryInvalid(f"the server does not start: {found[1]}", where=server.program.title)
    if server.program.program and ": I " not in text:
        what = f"{server.program.program} does not run on this machine (exit status {code})"
        return MissingPackage(what, where=tail(text) or None, hint="leave it out: the double of mlconvert answers then")
    return RepositoryInvalid(f"the server ended by itself (exit status {code})", where=tail(text))
