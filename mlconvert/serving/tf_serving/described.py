"""A model that a TensorFlow Serving serves: its signature, once it is available, and a digest of what is said of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.locations import ServedModel
from mlconvert.serving.tf_serving.client import Client, connect, wait_available
from mlconvert.serving.tf_serving.protocol import Metadata, is_number
from mlconvert.serving.tf_serving.signatures import metadata_sha256, signature_of
from mlconvert.signature import Signature


@dataclass(frozen=True)
class Described:
    """`version` is what answered when it was asked; requests are sent as the user names the model."""

    signature: Signature
    version: int


def describe(client: Client, place: ServedModel) -> Described:
    """What a server says of a model, once that is available.

    Raises RepositoryInvalid: the server is down, not available in time, or has no such model, version or label;
    NotVerified: it has no signature that samples could be sent to.
    """
    metadata = metadata_of(client, place)
    return Described(signature_of(metadata, where=str(place)), metadata.version)


def described_sha256(place: ServedModel) -> str:
    """A digest of what the server says of a model: its files are the server's own. Raises what `describe` raises."""
    with contextlib.closing(connect(place.url)) as client:
        return metadata_sha256(metadata_of(client, place))


def metadata_of(client: Client, place: ServedModel) -> Metadata:
    """Wait for the model, and ask for its metadata. Raises RepositoryInvalid."""
    wait_available(client, place.name, place.version)
    if place.version is None or is_number(place.version):
        return client.metadata(place.name, place.version)
    try:
        return client.metadata(place.name, place.version)
    except RepositoryInvalid as error:
        if "label" not in error.message:
            raise
        raise RepositoryInvalid(
            f"'{place.version}' is neither a version nor a label of the model '{place.name}': {error.message}",
            where=str(place),
            hint="mlconvert labels REPOSITORY NAME shows what its models.config says",
        ) from error
