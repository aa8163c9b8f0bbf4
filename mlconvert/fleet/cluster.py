"""Ray: the cluster that a fleet works on. Nothing else here knows it.

Ray's own retries are not used: a step that takes more memory than its machine has would be tried for ever
(https://docs.ray.io/en/latest/ray-core/scheduling/ray-oom-prevention.html), and nobody would hear of a lost machine.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Waited
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mlconvert import packages
from mlconvert.errors import ConversionFailed, MissingPackage, MlconvertError, OutOfResources, UsageError
from mlconvert.execution.jobs import Cancelled
from mlconvert.fleet import node
from mlconvert.fleet.addresses import HERE, host_and_port
from mlconvert.version import __version__

REACH_SECONDS = 10.0
CONNECT_SECONDS = 60.0  # a client server starts a process for each client, which a busy head is slow at
TYPE = "accelerator_type:"  # the prefix of the resource that Ray gives the machines with such a GPU
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_SILENT = logging.CRITICAL + 1
T = TypeVar("T")


class Lost(Exception):
    """A machine, or its process, was lost while it did a job. Never leaves `mlconvert.fleet`."""


@dataclass(frozen=True)
class Machine:
    """A node of the cluster. `types` are the accelerator types that Ray knows it by."""

    id: str
    host: str
    types: tuple[str, ...]
    cpus: float

    @property
    def name(self) -> str:
        return shown_node(self.host, self.id, self.types)


def shown_node(host: str, node: str, types: Sequence[str] = ()) -> str:
    return f"{host} ({', '.join((*types, node[:8]))})"


@dataclass(frozen=True)
class Sent:
    """A job on its way. `reference` is Ray's."""

    reference: Any
    answer: Future[str]

    def wait(self, seconds: float) -> str | None:
        """The answer; None after so long without one. Raises Lost, Cancelled, MissingPackage or OutOfResources."""
        try:
            return self.answer.result(seconds)
        except Waited:
            return None
        except Exception as error:  # Ray has thirty kinds
            raise _told(error) from error

    def cancel(self, *, force: bool) -> None:
        import ray

        with contextlib.suppress(Exception):  # it has ended, or the cluster has
            ray.cancel(self.reference, force=force)


class Board:
    """An actor of the cluster: machines write on it how far their jobs have come, and the run reads it."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []

    def tell(self, told: dict[str, Any]) -> None:
        self._told.append(told)

    def take(self) -> list[dict[str, Any]]:
        told, self._told = self._told, []
        return told


class Cluster:
    """A cluster that this process is connected to."""

    def __init__(self) -> None:
        import ray

        self._look = ray.remote(max_retries=0, max_calls=0)(look_there)
        self._work = ray.remote(max_retries=0, max_calls=0)(work_there)
        board: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=0)(Board)
        self._board = board.remote()

    def machines(self) -> list[Machine]:
        """Those that are alive and that jobs may go to."""
        import ray

        found = []
        for row in _asked(ray.nodes):
            resources = row.get("Resources", {})
            if row["Alive"] and resources.get("CPU", 0) >= 1:
                types = sorted(name.removeprefix(TYPE) for name in resources if name.startswith(TYPE))
                found.append(Machine(row["NodeID"], row["NodeManagerHostname"], tuple(types), resources["CPU"]))
        return found

    def look(self, order: str, machine: Machine, kind: str | None) -> Sent:
        """Ask one machine; with `kind` as a job sees it that was lent one of its GPUs of that type."""
        return _sent(self._look, (order,), kind, machine.id, cpus=0, soft=False)

    def work(self, order: str, kind: str | None, on: str | None) -> Sent:
        """Send a job to any machine, to one with a GPU of that type, rather to that one."""
        return _sent(self._work, (order, self._board), kind, on, cpus=1, soft=True)

    def told(self) -> list[dict[str, Any]]:
        """What was written on the board since it was read last; nothing where it cannot be reached just now."""
        import ray

        with contextlib.suppress(Exception):
            told: list[dict[str, Any]] = ray.get(self._board.take.remote(), timeout=5)
            return told
        return []


def look_there(order: str) -> str:
    return node.look(order)


def work_there(order: str, board: Any) -> str:
    import json

    import ray

    name = json.loads(order).get("name")
    here = ray.get_runtime_context().get_node_id()
    return node.work(order, here, lambda told: board.tell.remote({**told, "name": name}))


def _sent(function: Any, given: tuple[Any, ...], kind: str | None, on: str | None, *, cpus: int, soft: bool) -> Sent:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    options: dict[str, Any] = {"num_cpus": cpus}
    if kind is not None:
        options |= {"num_gpus": 1, "accelerator_type": kind}
    if on is not None:
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(on, soft=soft)
    reference = _asked(lambda: function.options(**options).remote(*given))
    return Sent(reference, reference.future())


def _asked(call: Callable[[], T]) -> T:
    try:
        return call()
    except (ConnectionError, RuntimeError) as error:
        raise _gone(error) from error


def _gone(error: Exception) -> MlconvertError:
    return OutOfResources(f"the cluster does not answer any more: {_first_line(error)}", hint="is its head still up?")


def _told(error: Exception) -> Exception:
    """What Ray's error means to a job that was sent."""
    from ray import exceptions

    text = str(error)
    if isinstance(error, exceptions.TaskCancelledError):
        return Cancelled()
    if isinstance(error, exceptions.OutOfMemoryError):
        return OutOfResources(
            "it took more memory than its machine had left, and Ray ended it",
            hint="give the machines more memory, or let fewer steps run at once: --jobs N",
        )
    if isinstance(error, exceptions.RayTaskError):
        if "mlconvert" in text and any(
            word in text for word in ("ModuleNotFoundError", "ImportError", "AttributeError")
        ):
            return MissingPackage(
                "a machine of the cluster has no mlconvert, or another one than this",
                hint=f"on every machine of the cluster: pip install 'mlconvert[ray]=={__version__}'",
            )
        return ConversionFailed(f"a machine of the cluster could not begin the job: {_last_line(text)}")
    if isinstance(error, (exceptions.RayError, ConnectionError)):
        return Lost(_first_line(error))
    return error


@contextlib.contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """A connection to the cluster at that address, ended at the end; the cluster's own programs stay as they are.

    Raises MissingPackage without Ray, or where the cluster has another version of it or of Python, and UsageError
    where nobody answers: at once where nothing listens, within a minute where something does.
    """
    packages.require((packages.RAY,), "--on")
    if address != HERE:
        _reach(address)
    for name, value in QUIET.items():  # before Ray is imported
        os.environ.setdefault(name, value)
    import ray

    _silence()
    with _hushed():
        _within(CONNECT_SECONDS, address, lambda: _init(address))
    try:
        yield Cluster()
    finally:
        with contextlib.suppress(Exception, SystemExit):  # the run has ended: nothing of Ray's may take its place
            ray.shutdown()


def _silence() -> None:
    """Ray tells of lost machines on stdout, whatever its options say; we tell of them ourselves."""
    from ray._private import worker

    for name in ("ray", "ray.util.client", "ray._private"):
        logging.getLogger(name).setLevel(_SILENT)
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep what Ray's native code writes to stderr, before it has read its log level, out of our own words."""
    sys.stderr.flush()
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _init(address: str) -> None:
    import ray

    ray.init(address=address, log_to_driver=False, logging_level=_SILENT, configure_logging=False)


def _reach(address: str) -> None:
    """Refuse at once what does not even take a connection."""
    host, port = host_and_port(address)
    try:
        socket.create_connection((host, port), timeout=REACH_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"no cluster answers at {address}: {error.strerror or error}",
            hint="is it up, and is that the port that its head was given (ray start --head --ray-client-server-port)?",
        ) from error


def _within(seconds: float, address: str, call: Callable[[], None]) -> None:
    """Call it in a thread that is left behind when it takes longer: Ray's own patience is minutes."""
    done: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised below
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    where = "on this machine (--on ray)" if address == HERE else f"at {address}"
    hint = "ray status, on a machine of the cluster, tells whether it is up"
    try:
        done.result(seconds)
    except Waited:
        raise UsageError(f"no cluster answers {where} within {seconds:.0f} seconds", hint=hint) from None
    except (ConnectionError, ValueError) as error:
        raise UsageError(f"no cluster answers {where}: {_first_line(error)}", hint=hint) from error
    except RuntimeError as error:
        text = str(error)
        if "ersion mismatch" in text:
            told = " ".join(text.split())
            raise MissingPackage(
                f"the cluster has another Ray or Python than this machine: {told[:300]}",
                hint="pip install 'ray[client]==VERSION OF THE CLUSTER', with the cluster's Python",
            ) from error
        raise UsageError(f"no cluster answers {where}: {_first_line(error)}", hint=hint) from error


def _first_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0].strip()[:300]


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return (lines or [""])[-1].strip()[:300]
