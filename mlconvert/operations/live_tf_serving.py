"""A running TensorFlow Serving that takes a change of its repository: serves it, and answers as the record says.

The server looks at its folders by itself, and at models.config where it was told to. Over gRPC it is told at once
(HandleReloadConfigRequest, which replaces its whole list of models by that of models.config); over REST it is waited
for. A version that is in service stays so until the one that replaces it is available, and a label moves to a version
only when that is: what changes a policy or labels goes in two steps, the versions of both first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.errors import ParityFailed, RepositoryInvalid
from mlconvert.operations.trial_rows import listed, require_rows
from mlconvert.repositories.policies import VersionPolicy
from mlconvert.repositories.tf_serving import models_config
from mlconvert.repositories.tf_serving.layout import entries_in
from mlconvert.repositories.tf_serving.models_config import CONFIG, Entry
from mlconvert.serving.tf_serving.messages import message

if TYPE_CHECKING:
    from mlconvert.repositories.trials import Change
    from mlconvert.serving.tf_serving.client import Client, VersionStatus

POLL_SECONDS = 0.05
STALE_SECONDS = 10.0  # after which what the server says of a version counts, though it may be of an earlier change
_IN_USE = ("START", "LOADING", "AVAILABLE", "UNLOADING")
_POLLING = (
    "start the server with --model_config_file_poll_wait_seconds, or give its gRPC port: there it is told at once"
)
_RETRIES = (
    "look at its log: by default (--max_num_load_retries=5) it tries a version that does not load for five minutes"
)


class LiveTfServing:
    """The server at a URL (`tfserving://host:port`), as `repositories.trials.Server` wants it.

    `wait_seconds` limits each step that waits. Without `verify`, answers are not compared.
    """

    def __init__(self, client: Client, url: str, repository: Path, *, wait_seconds: float, verify: bool = True) -> None:
        self._client, self._url, self._repository = client, url, repository.resolve()
        self._wait, self._verify = wait_seconds, verify
        self._before: frozenset[int] = frozenset()
        self._entry_before: Entry | None = None
        self._failed_before: dict[int, str] = {}
        self._loaded = False
        self.rows: dict[int, int] = {}  # how many rows each version answered rightly

    @property
    def before(self) -> frozenset[int]:
        return self._before

    @property
    def loaded(self) -> bool:
        """True from the moment on when the version may be seen: the server looks at its folders by itself."""
        return self._loaded

    def look(self, change: Change) -> None:
        """Raise RepositoryInvalid or NotVerified, before anything is changed, where the change could not be taken."""
        for number in change.checked if self._verify else ():
            require_rows(change, number)
        if not self._client.live():
            raise RepositoryInvalid("no TensorFlow Serving answers there", where=self._url)
        entries = entries_in(self._repository) if self._repository.is_dir() else {}
        known = [name for name in entries if self._client.status(name)]
        if entries and not known:
            names = ", ".join(sorted(entries)[:5])
            raise self._other_repository(f"it knows none of the models of this one ({names})")
        self._wait_until_settled(change.name)
        rows = self._client.status(change.name)
        self._before = _in_state(rows, ("AVAILABLE",))
        self._failed_before = {row.version: row.reason for row in rows if row.state == "END" and row.reason}
        self._entry_before = entries.get(change.name)
        strangers = sorted(self._before - change.there)
        if strangers:
            raise self._other_repository(f"it serves version {strangers[0]} of '{change.name}'")

    def take(self, change: Change) -> None:
        """Have the server look; return when all of `served` is available and `checked` has answered rightly."""
        self._loaded = True
        entry = entries_in(self._repository).get(change.name)
        if entry is None:
            raise RepositoryInvalid(f"{CONFIG} has no entry for '{change.name}'", where=str(self._repository / CONFIG))
        missing = change.served - self._before
        between = self._between(entry, change) if missing else None
        if missing:
            self._tell(between or entry)
            self._wait_for(change.name, change.served)
        for number in change.checked if self._verify else ():
            self._check(change, number)
        if between is not None or not missing:
            self._tell(entry)
        self._wait_for(change.name, change.served)
        self._wait_for_labels(entry)
        self._wait_until_gone(change.name, self._before - change.served)

    def give_back(self, change: Change) -> str:
        """Have the server serve what it served before, and make sure of it; a sentence that says so."""
        name = change.name
        goal = self._before if change.back is None else change.back
        self._tell(None)
        if not goal:
            self._wait_until_gone(name, change.served)
            return f"The server has let go of '{name}': it served none of it before."
        self._wait_for(name, goal)
        self._wait_until_gone(name, change.served - goal)
        told = []
        for number in sorted(goal):
            again = "serves again" if number in self._before else "serves now, as the repository says,"
            record = change.record_of(number)
            if self._verify and record and record.get("rows"):
                self._check(change, number)
                told.append(f"version {number} {again} and answers {self.rows[number]} rows as it should")
            else:
                told.append(f"version {number} {again} (available; its answers were not compared)")
        return f"On the server {'; '.join(told)}."

    def load(self, name: str, versions: Collection[int]) -> None:
        """Wait until these versions are available."""
        self._wait_for(name, versions)

    def failed(self, name: str) -> frozenset[int]:  # noqa: ARG002 - part of the contract
        """None: what it could not load does not keep a TensorFlow Serving from being ready."""
        return frozenset()

    def is_ready(self, seconds: float) -> bool:  # noqa: ARG002 - part of the contract
        return self._client.live()

    def in_use(self, name: str) -> frozenset[int]:
        return _in_state(self._client.status(name), _IN_USE)

    # --- steps ---

    def _between(self, entry: Entry, change: Change) -> Entry | None:
        """With labels: the entry that loads all versions that are needed on the way, its labels as the server has them.

        The server would refuse the whole of models.config for a label that moves to a version that is not loaded.
        """
        old = self._entry_before.labels if self._entry_before else {}
        if not entry.labels and not old:
            return None
        labels = {label: number for label in {**old, **entry.labels} if (number := self._labelled(entry.name, label))}
        policy = VersionPolicy("specific", versions=tuple(sorted(self._before | change.served)))
        return replace(entry, policy=policy, labels=labels)

    def _labelled(self, name: str, label: str) -> int | None:
        """The version that the server has the label on."""
        try:
            return self._client.metadata(name, label).version
        except RepositoryInvalid:
            return None

    def _tell(self, entry: Entry | None) -> None:
        """Tell the server what models.config says, with this entry in the place of the model's own."""
        if self._client.protocol != "grpc":
            return
        path = self._repository / CONFIG
        text = models_config.read(self._repository) if self._repository.is_dir() else None
        if entry is not None:
            text = models_config.with_entry(text, entry, where=str(path))
        config = message("ModelServerConfig")()
        config.model_config_list.SetInParent()
        if text is not None:
            config.MergeFrom(models_config.parsed(text, where=str(path)))
        try:
            self._client.reload(config)
        except RepositoryInvalid as error:
            raise RepositoryInvalid(
                f"the server does not take {CONFIG}: {error.message}", where=self._url, hint=error.hint or _RETRIES
            ) from error

    def _wait_until_settled(self, name: str) -> None:
        """What the server is at with this model comes first."""

        def settled() -> bool:
            return not _in_state(self._client.status(name), ("START", "LOADING", "UNLOADING"))

        self._until(settled, lambda: f"the server is busy with '{name}' already", _RETRIES)

    def _wait_for(self, name: str, numbers: Collection[int]) -> None:
        begun = time.monotonic()
        busy: set[int] = set()

        def available() -> bool:
            rows = self._client.status(name)
            busy.update(_in_state(rows, ("START", "LOADING")))
            if _in_state(rows, ("AVAILABLE",)) >= set(numbers):
                return True
            for row in rows:
                if row.version in numbers and row.state == "END" and row.reason:
                    fresh = row.version in busy or self._failed_before.get(row.version) != row.reason
                    if fresh or time.monotonic() - begun > STALE_SECONDS:
                        what = f"the server does not load version {row.version} of '{name}': {row.reason}"
                        raise RepositoryInvalid(what, where=self._url)
            return False

        def otherwise() -> str:
            return f"version {listed(numbers)} of '{name}' is not available ({_told(self._client.status(name))})"

        self._until(available, otherwise, _RETRIES if self._client.protocol == "grpc" else _POLLING)

    def _wait_until_gone(self, name: str, numbers: Collection[int]) -> None:
        begun = time.monotonic()

        def gone() -> bool:
            rows = self._client.status(name)
            # One that it tries to load, out of a folder that is gone, it may try for minutes, and in vain.
            wanted = ("AVAILABLE", "LOADING") if time.monotonic() - begun < STALE_SECONDS else ("AVAILABLE",)
            return not _in_state(rows, wanted) & set(numbers)

        if numbers:
            self._until(gone, lambda: f"version {listed(numbers)} of '{name}' is in service still", _POLLING)

    def _wait_for_labels(self, entry: Entry) -> None:
        for label, number in sorted(entry.labels.items()):

            def moved(label: str = label, number: int = number) -> bool:
                return self._labelled(entry.name, label) == number

            what = f"the label '{label}' of '{entry.name}' does not lead to version {number}"
            self._until(moved, lambda what=what: what, _POLLING)  # type: ignore[misc]

    def _until(self, holds: Callable[[], bool], otherwise: Callable[[], str], hint: str) -> None:
        deadline = time.monotonic() + self._wait
        while not holds():
            if time.monotonic() > deadline:
                hint = f"give it longer with --wait SECONDS; {hint}"
                raise RepositoryInvalid(f"{otherwise()} after {self._wait:g} s", where=self._url, hint=hint)
            time.sleep(POLL_SECONDS)

    def _check(self, change: Change, number: int) -> None:
        from mlconvert.operations.wire import parity_over_tf_serving

        parity = parity_over_tf_serving(self._client, change.name, number, require_rows(change, number))
        if not parity.ok:
            what = f"version {number} of '{change.name}' answers wrongly over the wire: {'; '.join(parity.failures)}"
            hint = "mlconvert verify ARTIFACT: if that holds, the server's TensorFlow computes something else"
            raise ParityFailed(what, where=self._url, hint=hint)
        self.rows[number] = parity.samples

    def _other_repository(self, saw: str) -> RepositoryInvalid:
        return RepositoryInvalid(
            f"the server serves another repository: {saw}",
            where=self._url,
            hint="give the URL of the server that reads this repository, or publish without --load",
        )


def states_at(client: Client, name: str) -> dict[int, str]:
    """What the server has of a model: version -> its state, with the reason where it failed."""
    return {row.version: f"{row.state} ({row.reason})" if row.reason else row.state for row in client.status(name)}


def _in_state(rows: Collection[VersionStatus], wanted: Collection[str]) -> frozenset[int]:
    return frozenset(row.version for row in rows if row.state in wanted)


def _told(rows: Collection[VersionStatus]) -> str:
    return ", ".join(f"{row.version} is {row.state}" for row in rows) or "it knows of none"
