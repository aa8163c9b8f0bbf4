"""Runs models that a TensorFlow Serving serves, over the wire: what is told of them is what their clients get."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converter import Session
from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.locations import parse_served
from mlconvert.serving.tf_serving.client import Client, connect
from mlconvert.serving.tf_serving.described import describe
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

_TOO_MANY = re.compile(r"Task size \d+ is larger than maximum input batch size (\d+)")  # with --enable_batching


def signature(artifact: Artifact) -> Signature:
    """The model's inputs and outputs, as the server describes them.

    Raises RepositoryInvalid: the server is down, or does not serve such a model, version or label; NotVerified: it has
    no signature `serving_default` of plain tensors.
    """
    place = parse_served(artifact.location)
    with contextlib.closing(connect(place.url)) as client:
        return describe(client, place).signature


def load(artifact: Artifact) -> Session:
    """A session that asks the server. Raises what `signature` raises; running it raises NotVerified for a tensor that
    the protocol cannot carry.
    """
    place = parse_served(artifact.location)
    client = connect(place.url)
    try:
        return session_of(client, place.name, place.version, describe(client, place).signature)
    except BaseException:
        client.close()
        raise


def session_of(client: Client, name: str, version: str | None, signature: Signature) -> Session:
    """A session over a connection that is open. Where the server batches, requests are cut to what it takes at once."""

    def ask(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = client.predict(name, batch, version=version, signature=signature)
        lacking = ", ".join(spec.name for spec in signature.outputs if spec.name not in answers)
        if lacking:
            what = f"the server's answer lacks what its signature has: {lacking}"
            raise RepositoryInvalid(what, where=f"{client.protocol}://{client.address}")
        return answers

    def run(batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import numpy as np

        try:
            return ask(batch)
        except RepositoryInvalid as error:
            found = _TOO_MANY.search(error.message)
            rows = max((len(array) for array in batch.values() if array.ndim), default=1)
            if found is None or not 0 < int(found[1]) < rows:
                raise
            most = int(found[1])
        parts = [
            ask({called: array[start : start + most] for called, array in batch.items()})
            for start in range(0, rows, most)
        ]
        return {called: np.concatenate([part[called] for part in parts]) for called in parts[0]}

    return Session(signature, run)
