"""What `--on` and `--store` say."""

from __future__ import annotations

import re
from pathlib import Path

from mlconvert.errors import UsageError, suggest
from mlconvert.execution import cache
from mlconvert.repositories.remote import RemoteRepository, located

PORT = 10001  # of a cluster's client server, where the address names none
HERE = "auto"  # Ray's word for the cluster that this machine is part of


def cluster_address(text: str) -> str:
    """Ray's address of a cluster: `ray` is the one that this machine is part of. Raises UsageError."""
    if text == "ray":
        return HERE
    match = re.fullmatch(r"ray://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?", text)
    if match is None or int(match[2] or PORT) > 65535:
        known = suggest(text.partition(":")[0], ["ray"])
        raise UsageError(
            f"--on {text} is no cluster.{known}", hint=f"--on ray (the cluster of this machine), --on ray://HOST:{PORT}"
        )
    return f"ray://{match[1]}:{match[2] or PORT}"


def host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), int(port)


def store_place(text: str | None) -> Path | RemoteRepository:
    """Where the store is: a folder, made absolute, or a prefix in a bucket. None: a folder in the cache.

    Raises UsageError.
    """
    if text is None:
        return cache.root_folder() / "fleet"
    place = located(text)
    if isinstance(place, Path):
        place = place.absolute()
        if place.exists() and not place.is_dir():
            raise UsageError(f"the store {place} is not a folder", hint="--store FOLDER, or --store s3://BUCKET/PREFIX")
    return place
