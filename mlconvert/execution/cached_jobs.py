"""Jobs of one run, each done once: taken from this run, else from the cache, else from a child process."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cache as once
from pathlib import Path
from typing import Any, Literal

from mlconvert import packages
from mlconvert.artifact import Artifact, combine_sha256, file_sha256
from mlconvert.converter import Converter, Runner
from mlconvert.ensembles.chain import formats_in
from mlconvert.errors import MlconvertError
from mlconvert.execution import cache
from mlconvert.execution.jobs import Terms, Workers
from mlconvert.progress import Progress


@dataclass(frozen=True)
class Event:
    """What a watcher of the run is told."""

    kind: Literal["start", "progress", "done", "failed"]
    target: str
    step: str
    seconds: float = 0.0
    peak_rss_bytes: int = 0
    cached: bool = False
    note: str = ""
    fraction: float | None = None  # of what the note names, while it is under way; None: not known


Observer = Callable[[Event], None]


def unwatched(event: Event) -> None:
    """The observer of a caller that does not want to watch."""


@dataclass(frozen=True)
class Made:
    """What a job gave: its result, its files (relative path -> sha256) and where they lie.

    `folder` outlasts the run where it is the cache's, so that a request that names it can be run again. `fresh` is
    where a job of this run left its files, which may be moved from there. `machine` is the digest of the machine that
    a hardware-bound result was made on.
    """

    result: Mapping[str, Any]
    files: Mapping[str, str]
    folder: Path
    seconds: float
    peak_rss_bytes: int
    cached: bool
    fresh: Path | None = None
    machine: str | None = None

    @property
    def sha256(self) -> str:
        return combine_sha256(self.files.items())

    def artifact(self) -> Artifact:
        """The artifact that a convert job made, where its files lie now."""
        described = Artifact.from_json(self.result["artifact"])
        return replace(
            described,
            location=str(self.folder / described.location),
            files=tuple(self.folder / path for path in described.files),
        )


@dataclass
class CachedJobs:
    """The jobs of one run. Safe to use from several threads: a job that two of them ask for runs once."""

    workers: Workers
    scratch: Path
    observer: Observer
    _futures: dict[str, Future[Made]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(
        self,
        target: str,
        label: str,
        key: Mapping[str, Any],
        request: Callable[[], Mapping[str, Any]],
        lying_at: Callable[[Mapping[str, str]], Path | None] | None = None,
        *,
        bound: bool = False,
        hardware: str | None = None,
        like: str | None = None,
    ) -> Made:
        """The result of the job with this key; a step of `target` that a watcher sees as `label`.

        `request` is called only when the job has to run, so that what only it needs is not made for nothing.
        `lying_at` says where files lie that were too large for the cache, if they are still there. `bound`, `hardware`
        and `like` are the job's terms.
        """
        terms = Terms({**key, "mlconvert": own_sha256(), "python": sys.version}, bound, hardware, like)
        machines = self.workers.machines(hardware) if bound else (None,)
        digest = terms.key(machines[0])
        with self._lock:
            waiting = self._futures.get(digest)
            if waiting is None:
                mine = self._futures[digest] = Future[Made]()
        if waiting is not None:
            return replace(waiting.result(), cached=True)
        try:
            cached = (self._from_cache(terms, machine, lying_at) for machine in machines)
            made = next((one for one in cached if one is not None), None) or self._run(
                target, label, digest, request(), terms, placed=lying_at is not None
            )
        except BaseException as error:
            mine.set_exception(error)
            raise
        mine.set_result(made)
        self.observer(Event("done", target, label, made.seconds, made.peak_rss_bytes, made.cached))
        return made

    def _from_cache(
        self, terms: Terms, machine: str | None, lying_at: Callable[[Mapping[str, str]], Path | None] | None
    ) -> Made | None:
        entry = cache.lookup(terms.key(machine))
        if entry is None:
            return None
        folder = entry.folder or (lying_at(entry.files) if lying_at else None)
        if folder is None:
            return None
        seconds, peak = entry.seconds, entry.peak_rss_bytes
        return Made(entry.result, entry.files, folder, seconds, peak, cached=True, machine=machine)

    def _run(
        self, target: str, label: str, name: str, request: Mapping[str, Any], terms: Terms, *, placed: bool
    ) -> Made:
        def watch(told: Progress) -> None:
            self.observer(Event("progress", target, label, note=told.note, fraction=told.fraction))

        self.observer(Event("start", target, label))
        try:
            done = self.workers.run(label, request, self.scratch / name[:16], watch, terms)
        except MlconvertError as error:
            self.observer(Event("failed", target, label, note=error.message))
            raise
        result = dict(done.result)
        known = result.pop("sha256", {})
        entry = cache.store(
            terms.key(done.machine),
            result,
            done.out,
            seconds=done.seconds,
            peak_rss_bytes=done.peak_rss_bytes,
            log=done.log,
            placed=placed,
            known=known,
        )
        folder = entry.folder or done.out
        return Made(
            result,
            entry.files,
            folder,
            done.seconds,
            done.peak_rss_bytes,
            cached=done.cached,
            fresh=done.out,
            machine=done.machine,
        )


def surroundings(source: Artifact) -> dict[str, Any]:
    """What a request adds when it runs the user's own factory: it finds modules and files as in the user's shell."""
    if "torch" not in formats_in(source):
        return {}
    here = os.getcwd()  # noqa: PTH109
    return {"sys_path": [here], "cwd": here}


def code_versions(row: Converter | Runner) -> dict[str, str]:
    """The versions of what a step's answer depends on besides mlconvert: its packages, and a plug-in's own code."""
    versions = packages.versions(row.packages)
    top = row.module.partition(".")[0]
    if top != "mlconvert":
        versions[f"plug-in {top}"] = _module_sha256(top)
    return versions


@once
def _module_sha256(name: str) -> str:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        return ""
    origin = Path(spec.origin)
    files = sorted(origin.parent.rglob("*.py")) if spec.submodule_search_locations else [origin]
    return combine_sha256((str(path.relative_to(origin.parent)), file_sha256(path)) for path in files)


@once
def own_sha256() -> str:
    """The digest of mlconvert's own code: another version of it may answer otherwise, so it is part of every key."""
    folder = Path(__file__).parents[1]
    return combine_sha256((str(path.relative_to(folder)), file_sha256(path)) for path in folder.rglob("*.py"))
