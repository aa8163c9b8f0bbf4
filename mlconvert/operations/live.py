"""A running Triton server that takes a change of its repository: loads it, waits for it, answers as the record says.

The server must be in explicit mode, where nothing is loaded that it was not asked for. What it served before the
change it serves until the new version is ready, so no request is refused on the way, nor on the way back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ParityFailed, RepositoryInvalid
from mlconvert.operations.trial_rows import listed, require_rows

if TYPE_CHECKING:
    from mlconvert.repositories.trials import Change
    from mlconvert.serving.client import Client, ModelState

WAIT_SECONDS = 120.0
POLL_SECONDS = 0.02
PROBE = "mlconvert.no-such-model"  # a server in explicit mode unloads it gladly, any other refuses
IN_USE = ("READY", "LOADING", "UNLOADING")
_NOT_EXPLICIT = "explicit model load / unload is not allowed"
_UNLOADED = "unloaded"  # the reason of a version that went as it should
_NOT_THERE = "failed to poll from model repository"
_NO_VERSIONS = "has no available versions"
_GRACE = 2.0  # seconds in which a server that is not at work may become ready all the same
_REASON = 700  # characters of a reason that are shown


class LiveServer:
    """The server at a URL (`triton://host:port`), as `repositories.trials.Server` wants it.

    `wait_seconds` limits each step that waits. Without `verify`, answers are not compared.
    """

    def __init__(self, client: Client, url: str, *, wait_seconds: float = WAIT_SECONDS, verify: bool = True) -> None:
        self._client, self._url, self._wait, self._verify = client, url, wait_seconds, verify
        self._before: frozenset[int] = frozenset()
        self._loaded = False
        self.rows: dict[int, int] = {}  # how many rows each version answered rightly

    @property
    def before(self) -> frozenset[int]:
        return self._before

    @property
    def loaded(self) -> bool:
        return self._loaded

    def look(self, change: Change) -> None:
        """Raise RepositoryInvalid or NotVerified, before anything is changed, where the change could not be taken."""
        for number in change.checked if self._verify else ():
            require_rows(change, number)
        self._wait_until_ready(change.name)
        self._require_explicit()
        states = self._client.index()
        self._before = _in_state(states, change.name, ("READY",))
        known = any(state.name == change.name for state in states)
        strangers = sorted(self._before - change.there)
        if strangers or (change.there and not known):
            saw = f"it serves version {strangers[0]} of it" if strangers else "it does not know of it"
            raise self._other_repository(change.name, saw)

    def take(self, change: Change) -> None:
        """Load the model; return when all of `served` is ready and `checked` has answered rightly."""
        self._load(change.name)
        self._loaded = True
        self._wait_for(change.name, change.served)
        for number in change.checked if self._verify else ():
            self._check(change, number)

    def give_back(self, change: Change) -> str:
        """Have the server serve what it served before, and make sure of it; a sentence that says so."""
        name = change.name
        if not self._before:
            self._client.unload(name)
            return f"The server has unloaded '{name}': it served none of it before."
        # Where the folder was ahead of the server already (published without --load), the server can only follow it.
        goal = self._before if change.back is None else change.back
        if goal != self._before and not self._loaded:
            return f"The server still serves version {listed(self._before)}."
        self.load(name, goal)
        self._wait_until_gone(name, change.served - goal)
        told = []
        for number in sorted(goal):
            again = "serves again" if number in self._before else "serves now, as the repository says,"
            if self._verify and _has_rows(change.record_of(number)):
                self._check(change, number)
                told.append(f"version {number} {again} and answers {self.rows[number]} rows as it should")
            else:
                told.append(f"version {number} {again} (ready; its answers were not compared)")
        return f"On the server {'; '.join(told)}."

    def load(self, name: str, versions: Collection[int]) -> None:
        """Have the server load the model, and wait until these versions are ready."""
        self._load(name)
        self._wait_for(name, versions)

    def failed(self, name: str) -> frozenset[int]:
        """The versions that the server could not load, and remembers: for as long as it does, it is not ready."""
        rows = [row for row in self._client.index() if row.name == name and row.reason != _UNLOADED]
        return _in_state(rows, name, ("UNAVAILABLE",))

    def is_ready(self, seconds: float) -> bool:
        """Whether the server is ready, or becomes so in that time."""
        begun = time.monotonic()
        while not self._client.ready():
            passed = time.monotonic() - begun
            if passed > seconds or (passed > _GRACE and not _busy(self._client.index())):
                return False
            time.sleep(POLL_SECONDS)
        return True

    def in_use(self, name: str) -> frozenset[int]:
        return _in_state(self._client.index(), name, IN_USE)

    # --- steps ---

    def _wait_until_ready(self, name: str) -> None:
        """Wait for the server; go on with one that only waits for this model, which it could not load before."""
        deadline = time.monotonic() + self._wait
        while not self._client.ready():
            if not self._client.live():
                raise RepositoryInvalid("the server is down: it stopped answering", where=self._url)
            if time.monotonic() > deadline:
                raise self._not_ready()
            with contextlib.suppress(RepositoryInvalid):
                states = self._client.index()
                failed = {row.name for row in states if row.state == "UNAVAILABLE" and row.reason != _UNLOADED}
                if not _busy(states) and failed <= {name} and (failed or self._remembers(name)):
                    return
            time.sleep(POLL_SECONDS)
        # Without strict readiness it is ready whatever it is at. Triton 24.10 was seen to die by a signal where models
        # were loaded while others were being unloaded.
        while _busy(self._client.index()) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _not_ready(self) -> RepositoryInvalid:
        failed: list[str] = []
        with contextlib.suppress(RepositoryInvalid):
            rows = [row for row in self._client.index() if row.state == "UNAVAILABLE" and row.reason != _UNLOADED]
            failed = [f"'{row.name}' version {row.version}: {_shortened(row.reason)}" for row in rows]
        because = f": it could not load {'; '.join(failed)}" if failed else ""
        return RepositoryInvalid(
            f"the server is up, and not ready after {self._wait:g} s{because}",
            where=self._url,
            hint="look at its log; wait longer with --wait SECONDS, or publish without --load",
        )

    def _remembers(self, name: str) -> bool:
        """Whether the server knows of a model that it does not list: one that left its repository."""
        try:
            self._client.metadata(name)
        except RepositoryInvalid as error:
            return _NO_VERSIONS in error.message
        return True

    def _require_explicit(self) -> None:
        try:
            self._client.unload(PROBE)
        except RepositoryInvalid as error:
            if _NOT_EXPLICIT not in f"{error.message} {error.where}":
                raise
            raise RepositoryInvalid(
                "the server loads and unloads models by itself, and not when it is asked to",
                where=self._url,
                hint="start it with --model-control-mode=explicit, or publish without --load",
            ) from error

    def _load(self, name: str) -> None:
        try:
            self._client.load(name)
        except RepositoryInvalid as error:
            told = f"{error.message} {error.where or ''}"
            if _NOT_THERE in told:
                raise self._other_repository(name, "it cannot find it") from error
            raise RepositoryInvalid(
                f"the server does not load '{name}': {_shortened(error.message)}",
                where=self._url,
                hint=error.hint or "mlconvert lint REPOSITORY --release R tells what a release of Triton cannot load",
            ) from error

    def _wait_for(self, name: str, numbers: Collection[int]) -> None:
        for states in self._polled(f"version {listed(numbers)} of '{name}' is not ready"):
            ready = _in_state(states, name, ("READY",))
            if ready >= set(numbers) and all(self._client.ready(name, str(number)) for number in sorted(numbers)):
                return
            for state in states:
                lost = state.name == name and state.state == "UNAVAILABLE" and state.version in map(str, numbers)
                if lost and not _in_state(states, name, ("LOADING",)):
                    what = f"the server does not load version {state.version} of '{name}'"
                    raise RepositoryInvalid(f"{what}: {_shortened(state.reason)}", where=self._url)
            seen = {state.version for state in states if state.name == name and state.version}
            if not seen & {str(number) for number in numbers} and seen:
                raise self._other_repository(name, f"it has version {', '.join(sorted(seen))} of it alone")

    def _wait_until_gone(self, name: str, numbers: Collection[int]) -> None:
        for states in self._polled(f"version {listed(numbers)} of '{name}' is in service still"):
            if not _in_state(states, name, ("READY", "LOADING")) & set(numbers):
                return

    def _polled(self, otherwise: str) -> Iterator[tuple[ModelState, ...]]:
        deadline = time.monotonic() + self._wait
        while True:
            yield self._client.index()
            if time.monotonic() > deadline:
                hint = "give it longer with --wait SECONDS"
                raise RepositoryInvalid(f"{otherwise} after {self._wait:g} s", where=self._url, hint=hint)
            time.sleep(POLL_SECONDS)

    def _check(self, change: Change, number: int) -> None:
        from mlconvert.operations.wire import parity_over_wire

        record = require_rows(change, number)
        parity = parity_over_wire(self._client, change.name, number, record)
        if not parity.ok:
            what = f"version {number} of '{change.name}' answers wrongly over the wire: {'; '.join(parity.failures)}"
            hint = "mlconvert verify ARTIFACT: if that holds, it is the server's runtime that computes something else"
            raise ParityFailed(what, where=self._url, hint=hint)
        self.rows[number] = parity.samples

    def _other_repository(self, name: str, saw: str) -> RepositoryInvalid:
        return RepositoryInvalid(
            f"the server serves another repository: '{name}' is in this one, and {saw}",
            where=self._url,
            hint="give the URL of the server that reads this repository, or publish without --load",
        )


def states_at(client: Client, name: str) -> dict[int, str]:
    """What the server has of a model: version -> its state, with the reason where it failed."""
    return {
        int(state.version): f"{state.state} ({_shortened(state.reason)})" if state.reason else state.state
        for state in client.index()
        if state.name == name and state.version
    }


def _in_state(states: Collection[ModelState], name: str, wanted: Collection[str]) -> frozenset[int]:
    return frozenset(int(one.version) for one in states if one.name == name and one.version and one.state in wanted)


def _busy(states: Collection[ModelState]) -> bool:
    return any(row.state in ("LOADING", "UNLOADING") for row in states)


def _has_rows(record: Mapping[str, Any] | None) -> bool:
    return bool(record and record.get("rows"))


def _shortened(reason: str) -> str:
    from mlconvert.serving.reasons import load_failure

    text = load_failure(reason)
    return text if len(text) <= _REASON else f"{text[:_REASON]} …"
