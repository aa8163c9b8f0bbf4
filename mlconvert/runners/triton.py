"""Runs models that a Triton server serves, over the wire: what is told of them is what their clients get."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.errors import NotVerified
from mlconvert.serving.client import Client, connect
from mlconvert.serving.described import Served, describe
from mlconvert.serving.locations import parse_served
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np


def signature(artifact: Artifact) -> Signature:
    """The model's inputs and outputs, as the server describes them.

    Raises RepositoryInvalid: the server is down, not ready in time, or has no such model or version.
    """
    place = parse_served(artifact.location)
    with contextlib.closing(connect(place.url)) as client:
        return describe(client, place).served.signature


def load(artifact: Artifact) -> Session:
    """A session that asks the server. Raises what `signature` raises, NotVerified for a decoupled model."""
    place = parse_served(artifact.location)
    client = connect(place.url)
    try:
        found = describe(client, place)
        return session_of(client, found.served, found.version)
    except BaseException:
        client.close()
        raise


def session_of(client: Client, served: Served, version: str | None) -> Session:
    """A session over a connection that is open. Batches are cut to what the server takes at once."""
    if served.decoupled:
        raise NotVerified(
            f"the model '{served.name}' answers a request any number of times (decoupled): no row has one answer",
            where=f"{client.protocol}://{client.address}",
        )

    def ask(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        sent = {name: served.to_client(name, array) for name, array in batch.items()}
        told = client.infer(served.name, sent, version=version)
        return {name: served.to_model(name, array) for name, array in told.items()}

    def run(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import numpy as np

        most = served.max_batch_size
        rows = max((len(array) for array in batch.values() if array.ndim), default=1)
        if most == 0 or rows <= most:
            return ask(batch)
        parts = [
            ask({name: array[start : start + most] for name, array in batch.items()}) for start in range(0, rows, most)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return Session(served.signature, run)
