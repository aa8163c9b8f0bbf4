"""The cluster's side of a fleet: what mlconvert does on a machine that a question or a job is sent to.

What comes and goes is text, for it comes from another mlconvert, which may be an older or a newer one: versions are
compared before anything else is read. Nothing is raised; an error is an answer.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlconvert import packages, progress
from mlconvert.artifact import file_sha256
from mlconvert.errors import MlconvertError, UsageError
from mlconvert.execution import cache
from mlconvert.execution.jobs import Children, Terms
from mlconvert.execution.versions import Versions, require_same, versions_for
from mlconvert.fleet.addresses import store_place
from mlconvert.fleet.shipments import Shipment, rows_of, unpack
from mlconvert.fleet.store import Store, open_store
from mlconvert.recipe import LimitsSpec
from mlconvert.report.contents import environment

WHOSE = "the run"  # whose versions are wanted here
LOG_BYTES = 1 << 20  # of the end of a log that goes back
FEED_SECONDS = 0.5
SCRATCH = "mlconvert-fleet-"

Tell = Callable[[dict[str, Any]], None]


def look(text: str) -> str:
    """Whether this machine may take part in a run: its versions, whether it sees the store, and its digest."""

    def answer(order: Mapping[str, Any]) -> dict[str, Any]:
        store = _store(order["store"])
        if not store.has(order["probe"]):
            raise _unseen(order["store"])
        return {"machine": _machine(_visible()) if order["machine"] else None}

    return _answered(text, answer)


def work(text: str, node: str, tell: Tell) -> str:
    """Do one job; what it made is in the store afterwards, under the key that the answer names.

    `node` is this machine's name in the cluster; `tell` sends word of how far the job has come.
    """
    return _answered(text, lambda order: _work(order, node, tell), node)


def note_key(terms: Terms, request: Mapping[str, Any], machine: str | None) -> str:
    """The key of a job's result in the store. An answer of the user's own modules is that of these very modules."""
    key = terms.key(machine)
    depends = request.get("depends")
    return cache.content_key({"key": key, "depends": depends}) if depends else key


def _answered(text: str, answer: Callable[[Mapping[str, Any]], dict[str, Any]], node: str = "") -> str:
    told: dict[str, Any]
    try:
        order = json.loads(text)
        require_same(Versions.from_json(order["versions"] | {"packages": {}}), versions_for(()), WHOSE)
        told = answer(order)
    except MlconvertError as error:
        told = {"failed": error.as_json()}
    except Exception as error:  # noqa: BLE001 - told to the run, which ends with it
        told = {"failed": MlconvertError(f"{type(error).__name__}: {error}").as_json()}
    return json.dumps({"log": "", **told, "node": node, "host": socket.gethostname()})


def _work(order: Mapping[str, Any], node: str, tell: Tell) -> dict[str, Any]:
    shipment, terms = Shipment.from_json(order["shipment"]), Terms(**order["terms"])
    rows = rows_of(shipment.request)
    packages.require((package for row in rows for package in row.packages), f"step '{order['step']}'")
    rows[0].require()  # what does the step may need Java besides; what reads its result's signature does not
    require_same(Versions.from_json(order["versions"]), versions_for(rows), WHOSE)
    store = _store(order["store"])
    machine = _machine(_visible()) if terms.bound else None
    for name in dict.fromkeys((machine, *order["machines"])):  # one that was lost may have done it before
        key = note_key(terms, shipment.request, name)
        if store.note(key) is not None:
            return {"key": key}
    key = note_key(terms, shipment.request, machine)
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        folder = Path(scratch) / "job"
        request = unpack(shipment, store.fetch, Path(scratch))
        try:
            with _fed(folder, tell):
                done = Children(LimitsSpec(**order["limits"])).attempt(order["step"], request, folder)
        except MlconvertError as error:
            return {"failed": error.as_json(), "log": _log(folder)}
        files = {}
        for path in sorted(path for path in done.out.rglob("*") if path.is_file()):
            sha256 = files[path.relative_to(done.out).as_posix()] = file_sha256(path)
            store.put(path, sha256)
        note = {
            "result": {name: value for name, value in done.result.items() if name != "sha256"},
            "files": files,
            "seconds": done.seconds,
            "peak_rss_bytes": done.peak_rss_bytes,
            "machine": machine,
            "node": node,
            "host": socket.gethostname(),
            "environment": environment(rows),
        }
        store.keep_note(key, note)
        return {"key": key, "log": _log(folder)}


def _store(text: str) -> Store:
    place = store_place(text)
    if isinstance(place, Path) and not place.is_dir():
        raise _unseen(text)
    return open_store(place, make=False)


def _unseen(text: str) -> UsageError:
    return UsageError(
        f"the store {text} is not seen from this machine: another folder is there, or none",
        hint="--store FOLDER that all machines share, or --store s3://BUCKET/PREFIX",
    )


def _visible() -> str:
    """Which GPUs this process sees: a machine of several lends one to each job."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")


@functools.lru_cache(maxsize=8)
def _machine(visible: str) -> str:  # noqa: ARG001 - what the fingerprint depends on
    from mlconvert.hardware.fingerprint import digest, take

    return digest(take())


@contextlib.contextmanager
def _fed(folder: Path, tell: Tell) -> Iterator[None]:
    """Tell, while the job in that folder runs, what its log gains and how far it says that it is."""
    over = threading.Event()

    def follow() -> None:
        at, last = 0, None
        while not over.wait(FEED_SECONDS):
            said = progress.read(folder / progress.FILENAME)
            gained = b""
            with contextlib.suppress(OSError), (folder / "log.txt").open("rb") as log:
                log.seek(at)
                gained = log.read(LOG_BYTES)
            if gained or said != last:
                at, last = at + len(gained), said
                with contextlib.suppress(Exception):  # word that does not come through harms no job
                    tell({"progress": asdict(said) if said else None, "log": gained.decode(errors="replace")})

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _log(folder: Path) -> str:
    with contextlib.suppress(OSError), (folder / "log.txt").open("rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - LOG_BYTES))
        return log.read().decode(errors="replace")
    return ""
