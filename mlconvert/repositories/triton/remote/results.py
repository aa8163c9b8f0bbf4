"""What publishing to an object store did, and what lies there: as for a folder, with URLs for paths."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True)
class RemoteVersion:
    """What `mlconvert.repositories.versions.Version` is for a folder."""

    number: int
    path: str
    files: tuple[str, ...]
    bytes: int
    sha256: str
    published: datetime
    live: bool
    record: str | None
    labels: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        published = self.published.isoformat(timespec="seconds")
        return {"version": self.number, **_without(self, "number"), "published": published}


@dataclass(frozen=True)
class RemotePublished:
    """What `mlconvert.repositories.versions.PublishedVersion` is for a folder."""

    name: str
    version: int
    path: str
    files: tuple[str, ...]
    config_path: str
    config: Literal["written", "kept", "replaced"]
    bytes: int
    sha256: str
    unchanged: bool
    live: bool
    removed: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {**_without(self, "config_path"), "config": {"path": self.config_path, "state": self.config}}


def _without(value: Any, left_out: str) -> dict[str, Any]:
    found = {name: getattr(value, name) for name in value.__dataclass_fields__ if name != left_out}
    return {name: list(item) if isinstance(item, tuple) else item for name, item in found.items()}
