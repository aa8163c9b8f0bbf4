"""What a TensorFlow Serving can be asked; two modules answer for it, one over REST and one over gRPC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from mlconvert.errors import UsageError
from mlconvert.serving.tf_serving.messages import message
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

SIGNATURE = "serving_default"  # what a request calls that names no signature
_INT64 = 1 << 63


@dataclass(frozen=True)
class VersionStatus:
    """`state` is START, LOADING, AVAILABLE, UNLOADING or END; `reason` says what went wrong, where it did."""

    version: int
    state: str
    reason: str


@dataclass(frozen=True)
class Metadata:
    """The version that a request went to, and its signatures (a SignatureDefMap)."""

    name: str
    version: int
    signatures: Any


class Client(Protocol):
    """A connection to one server. One thread at a time may use it.

    Every method raises RepositoryInvalid when the server is down, does not answer in time, or refuses: then with the
    server's own reason. `version` is a number or a label; without one the server takes the newest that it has.
    """

    @property
    def address(self) -> str:
        """`127.0.0.1:8500`."""

    @property
    def protocol(self) -> Literal["http", "grpc"]:
        """What is spoken."""

    def live(self) -> bool:
        """Whether a TensorFlow Serving answers there."""

    def status(self, name: str) -> tuple[VersionStatus, ...]:
        """The versions of a model that the server knows of, oldest first; none where it has no such model."""

    def metadata(self, name: str, version: str | None = None) -> Metadata:
        """What the server says of a model, and which version it says it of."""

    def predict(
        self,
        name: str,
        inputs: Mapping[str, np.ndarray],
        *,
        version: str | None = None,
        signature: Signature | None = None,
    ) -> dict[str, np.ndarray]:
        """The answers to one request. REST needs the signature to read them, and asks for it where it is not given.

        Raises NotVerified for what REST cannot carry.
        """

    def reload(self, config: Any) -> None:
        """Have the server serve what a ModelServerConfig says, and nothing else; gRPC alone can be asked that.

        The server returns when the new models are loaded. Raises UsageError over REST.
        """

    def close(self) -> None:
        """Close the connection."""


def model_spec(name: str, version: str | None) -> Any:
    """The ModelSpec of a request. Raises UsageError for a number that no version has."""
    spec = message("ModelSpec")(name=name)
    if version is None:
        return spec
    if is_number(version):
        spec.version.value = int(version)
    else:
        spec.version_label = version
    return spec


def is_number(version: str) -> bool:
    """Whether that is the number of a version, and no label. Raises UsageError for a number that no version has."""
    if not (version.isascii() and version.isdecimal()):
        return False
    if int(version) >= _INT64:
        raise UsageError(f"{version} is too large for the number of a version")
    return True
