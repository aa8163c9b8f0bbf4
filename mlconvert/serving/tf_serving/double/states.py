"""The versions that the server knows of, their states, and who may ask them.

As in the real server, a version that ended stays in the list until it is loaded again, and a request holds on to its
version until it is answered.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlconvert.serving.tf_serving.double.status import Refused, invalid

STATES = {"START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50}


@dataclass
class Version:
    model: str
    number: int
    path: str
    state: str = "START"
    failure: Refused | None = None
    aspired: bool = True
    flushed: bool = False  # it ended, and was not wanted since
    bundle: Any = None
    users: int = 0

    def __str__(self) -> str:
        return f"{{name: {self.model} version: {self.number}}}"


@dataclass
class States:
    """All of it under one lock; `changed` is notified when a state or the number of users changes."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    versions: dict[tuple[str, int], Version] = field(default_factory=dict)
    labels: Mapping[str, Mapping[str, int]] | None = None  # None before the first configuration was taken

    def of(self, model: str) -> list[Version]:
        """The versions of a model, the newest first."""
        found = [one for (name, _), one in self.versions.items() if name == model]
        return sorted(found, key=lambda one: -one.number)

    def put(self, version: Version, state: str, failure: Refused | None = None) -> None:
        with self.changed:
            version.state, version.failure = state, failure
            self.changed.notify_all()

    @contextlib.contextmanager
    def asked(self, spec: Any) -> Iterator[Version]:
        """The version that a ModelSpec asks for, for as long as it is needed. Raises Refused."""
        with self.changed:
            version = self._found(spec)
            version.users += 1
        try:
            yield version
        finally:
            with self.changed:
                version.users -= 1
                self.changed.notify_all()

    def labelled(self, model: str, label: str) -> int:
        if self.labels is None:
            raise Refused("UNAVAILABLE", f"Model labels does not init yet.{label}")
        number = self.labels.get(model, {}).get(label)
        if number is None:
            raise invalid(f"Unrecognized servable version label: {label}")
        return number

    def _found(self, spec: Any) -> Version:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        choice = spec.WhichOneof("version_choice")
        if choice is None:
            wanted, asked = None, f"Latest({spec.name})"
        else:
            wanted = spec.version.value if choice == "version" else self.labelled(spec.name, spec.version_label)
            asked = f"Specific({spec.name}, {wanted})"
        for version in self.of(spec.name):
            if version.state == "AVAILABLE" and wanted in (None, version.number):
                return version
        raise Refused("NOT_FOUND", f"Servable not found for request: {asked}")
