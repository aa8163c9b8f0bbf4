"""The run's side of a fleet: sends jobs to the cluster, waits for them, and sends again what was lost."""

from __future__ import annotations

import contextlib
import json
import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from mlconvert.artifact import file_sha256
from mlconvert.errors import HardwareMismatch, MlconvertError, OutOfResources, from_json
from mlconvert.execution.jobs import (
    ANYWHERE,
    HERE,
    Cancelled,
    Children,
    Done,
    Terms,
    kept_failure,
    machine_digest,
    write_request,
)
from mlconvert.execution.planned import PlannedRun
from mlconvert.execution.versions import versions_for
from mlconvert.fleet.addresses import cluster_address, store_place
from mlconvert.fleet.cluster import Cluster, Lost, Machine, Sent, connected, shown_node
from mlconvert.fleet.node import note_key
from mlconvert.fleet.requirements import require_packages, type_of
from mlconvert.fleet.shipments import inside, pack, rows_of, travels
from mlconvert.fleet.store import Store, open_store
from mlconvert.progress import Progress, Watcher, unwatched
from mlconvert.recipe import LimitsSpec

RETRIES = 3  # of a job whose machine was lost
POLL_SECONDS = 1.0
LOOK_SECONDS = 60.0  # a machine has to answer in, whose processes have to start first
BUSY_SECONDS = 15.0  # more, for one whose GPU others have; then it is not known what lies in the cache for it
GRACE_SECONDS = 10.0  # for jobs to clean up after themselves when the run is stopped


@contextlib.contextmanager
def fleet(planned: PlannedRun, on: str, store: str | None, jobs: int | None = None) -> Iterator[Fleet]:
    """The cluster that `--on` names, as the workers of a planned run.

    Every machine is asked first whether it has this mlconvert and sees the store. Raises UsageError, MissingPackage
    and HardwareMismatch.
    """
    address, place = cluster_address(on), store_place(store)
    require_packages(planned)
    kinds = dict.fromkeys(target.spec.hardware for target in planned.targets if target.spec.hardware)
    with connected(address) as cluster:
        machines = cluster.machines()
        types = {kind: type_of(kind, machines) for kind in kinds}
        kept = open_store(place, make=True)
        digests = _look_round(cluster, machines, kept, set(types.values()))
        slots = jobs or max(1, int(sum(machine.cpus for machine in machines)))
        workers = Fleet(cluster, kept, planned.recipe.limits, slots, jobs or 1, types, digests)
        try:
            yield workers
        finally:
            workers.stop()


def _look_round(cluster: Cluster, machines: Sequence[Machine], store: Store, types: set[str]) -> dict[str, str]:
    """The digest of each machine of those types that could be asked, by its id. Raises what one of them objects to."""
    probe = _probe(store)
    order = {"versions": versions_for(()).as_json(), "store": store.place, "probe": probe}
    asked: list[tuple[Machine, str | None, Sent]] = []
    for machine in machines:
        kind = next((name for name in machine.types if name in types), None)
        text = json.dumps({**order, "machine": kind is not None})
        asked.append((machine, kind, cluster.look(text, machine, kind)))
    digests = {}
    until = time.monotonic() + LOOK_SECONDS
    for machine, kind, sent in asked:
        try:
            text_back = sent.wait(max(0.1, until + (BUSY_SECONDS if kind else 0) - time.monotonic()))
        except Lost as error:
            raise OutOfResources(f"a machine was lost before it was asked: {error}", where=machine.name) from error
        except MlconvertError as error:
            error.where = machine.name
            raise
        if text_back is None:
            sent.cancel(force=True)
            if kind is None:
                told = f"a machine of the cluster gave no answer within {LOOK_SECONDS:.0f} seconds"
                raise OutOfResources(told, where=machine.name)
            continue  # its GPU is at work for others: the job waits for it, and says what is amiss then
        answer = json.loads(text_back)
        if "failed" in answer:
            objection = from_json(answer["failed"])
            objection.where = machine.name
            raise objection
        if answer["machine"] is not None:
            digests[machine.id] = answer["machine"]
    return digests


def _probe(store: Store) -> str:
    """A file that nobody else can have put there."""
    text = secrets.token_bytes(16)
    digest = sha256(text).hexdigest()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe"
        path.write_bytes(text)
        store.put(path, digest)
    return digest


@dataclass
class _Underway:
    sent: Sent
    folder: Path
    watch: Watcher


class Fleet:
    """The workers of a run on a cluster. What needs the user's own modules, or this machine, is done here."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        limits: LimitsSpec,
        slots: int,
        local: int,
        types: Mapping[str, str],
        digests: Mapping[str, str],
    ) -> None:
        self.cluster, self.store, self.limits = cluster, store, limits
        self._children = Children(limits, local)
        self._types, self._digests = types, digests
        self._slots = threading.BoundedSemaphore(slots)
        self._lock = threading.Lock()
        self._underway: dict[str, _Underway] = {}
        self._stopped = threading.Event()
        self._placed: Counter[str] = Counter()
        self._seen: tuple[float, list[Machine]] = (0.0, [])
        self._machines = {machine.id: machine for machine in self._alive()}
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def machines(self, hardware: str | None) -> tuple[str, ...]:
        if hardware is None or hardware == HERE:
            return (machine_digest(),)
        kind = self._types[hardware]
        digests = {self._digests.get(one.id) for one in self._machines.values() if kind in one.types}
        return tuple(sorted(digest for digest in digests if digest)) or (kind,)

    def run(
        self,
        step: str,
        request: Mapping[str, Any],
        folder: Path,
        watch: Watcher = unwatched,
        terms: Terms = ANYWHERE,
    ) -> Done:
        """Do one request on a machine of the cluster; what it made is brought into the (new) folder.

        Raises what the worker raised; OutOfResources when machines were lost four times; HardwareMismatch when the last
        one with the hardware was.
        """
        if terms.hardware == HERE or not travels(request):
            return self._children.run(step, request, folder, watch, terms)
        with self._slots:
            if self._stopped.is_set():
                raise Cancelled
            write_request(step, request, folder)
            (folder / "log.txt").touch()
            try:
                return self._bring(self._note(step, request, folder, watch, terms), folder)
            except _Refused as refused:
                raise kept_failure(refused.error, step, folder, refused.node) from None
            except MlconvertError as error:
                raise kept_failure(error, step, folder) from error.__cause__

    def stop(self) -> None:
        """End everything: what runs in the cluster is asked to clean up, and is ended when it does not."""
        self._stopped.set()
        self._children.stop()
        with self._lock:
            left = [one.sent for one in self._underway.values()]
        for sent in left:
            sent.cancel(force=False)
        until = time.monotonic() + GRACE_SECONDS
        for sent in left:
            while not sent.answer.done() and time.monotonic() < until:
                time.sleep(0.05)
        for sent in left:
            if not sent.answer.done():
                sent.cancel(force=True)

    # --- one job ---

    def _note(
        self, step: str, request: Mapping[str, Any], folder: Path, watch: Watcher, terms: Terms
    ) -> tuple[dict[str, Any], bool]:
        """What the job gave, as the store has it, and whether it was there already."""
        machines: tuple[str | None, ...] = self.machines(terms.hardware) if terms.bound else (None,)
        for machine in machines:
            if (note := self.store.note(note_key(terms, request, machine))) is not None:
                return note, True
        order = {
            "name": folder.name,
            "step": step,
            "store": self.store.place,
            "versions": versions_for(rows_of(request)).as_json(),
            "shipment": pack(request, self._put).as_json(),
            "terms": asdict(replace(terms, parts=dict(terms.parts))),
            "machines": list(machines),
            "limits": asdict(self.limits),
        }
        answer = self._answer(json.dumps(order), folder, watch, terms)
        (folder / "log.txt").write_text(answer["log"], encoding="utf-8")
        found = self.store.note(answer["key"])
        if found is None:
            raise OutOfResources("the step was done, and the store has lost what it gave", where=self.store.place)
        return found, False

    def _answer(self, order: str, folder: Path, watch: Watcher, terms: Terms) -> dict[str, Any]:
        """Send the job until a machine has answered. Raises _Refused with what that could not do."""
        kind = self._types[terms.hardware] if terms.hardware else None
        lost: list[str] = []
        while True:
            try:
                text = self._wait(order, folder, watch, kind, terms.like)
            except Lost as error:
                lost.append(str(error))
                if len(lost) > RETRIES:
                    raise OutOfResources(
                        f"{len(lost)} times the machine that did it was lost; the last time: {lost[-1]}",
                        hint="ray status tells of the machines; a step that takes all memory of one ends like this too",
                    ) from error
                watch(Progress(None, f"its machine was lost; sent again ({len(lost)} of {RETRIES})"))
                continue
            answer: dict[str, Any] = json.loads(text)
            if "failed" in answer:
                (folder / "log.txt").write_text(answer["log"], encoding="utf-8")
                raise _Refused(from_json(answer["failed"]), self._name(answer))
            return answer

    def _wait(self, order: str, folder: Path, watch: Watcher, kind: str | None, like: str | None) -> str:
        with self._lock:
            if self._stopped.is_set():
                raise Cancelled
            on = self._such(like)
            sent = self.cluster.work(order, kind, on)
            self._underway[folder.name] = _Underway(sent, folder, watch)
        try:
            while (text := sent.wait(POLL_SECONDS)) is None:
                if kind is not None and not any(kind in machine.types for machine in self._alive()):
                    sent.cancel(force=True)
                    raise HardwareMismatch(
                        f"the cluster has no machine with an accelerator of the type {kind} any more",
                        hint="start one, and run it again: what was done is kept",
                    )
            return text
        finally:
            with self._lock:
                del self._underway[folder.name]

    def _such(self, digest: str | None) -> str | None:
        """The machine with that digest that was sent the fewest jobs, for they are equally good."""
        if digest is None:
            return None
        alive = {machine.id for machine in self._alive()}
        such = [name for name, found in self._digests.items() if found == digest and name in alive]
        chosen = min(such, key=lambda name: self._placed[name], default=None)
        if chosen is not None:
            self._placed[chosen] += 1
        return chosen

    def _bring(self, found: tuple[dict[str, Any], bool], folder: Path) -> Done:
        """What the note tells, with its files out of the store."""
        note, cached = found
        for name, digest in note["files"].items():
            self.store.fetch(digest, folder / "out" / inside(name))
        ran = {"node": self._name(note), "environment": note["environment"]}
        result = {**note["result"], "ran": ran, "sha256": note["files"]}
        return Done(result, folder, note["seconds"], note["peak_rss_bytes"], note["machine"], cached=cached)

    def _put(self, path: Path) -> str:
        digest = file_sha256(path)
        self.store.put(path, digest)
        return digest

    # --- the cluster ---

    def _alive(self) -> list[Machine]:
        at, found = self._seen
        if time.monotonic() - at > POLL_SECONDS:
            found = self.cluster.machines()
            self._seen = (time.monotonic(), found)
        return found

    def _name(self, told: Mapping[str, Any]) -> str:
        machine = self._machines.get(told.get("node", ""))
        return machine.name if machine else shown_node(told["host"], told.get("node", ""))

    def _listen(self) -> None:
        """Hand on what the machines tell: to the watcher of the job, and into its log."""
        while not self._stopped.wait(POLL_SECONDS / 2):
            with self._lock:
                underway = dict(self._underway)
            for told in self.cluster.told() if underway else ():
                one = underway.get(told["name"])
                if one is None:
                    continue
                if told["log"]:
                    with contextlib.suppress(OSError), (one.folder / "log.txt").open("a", encoding="utf-8") as log:
                        log.write(told["log"])
                if told["progress"]:
                    one.watch(Progress(**told["progress"]))


class _Refused(Exception):
    """What a machine could not do, and the machine's name."""

    def __init__(self, error: MlconvertError, node: str) -> None:
        super().__init__(error.message)
        self.error, self.node = error, node
