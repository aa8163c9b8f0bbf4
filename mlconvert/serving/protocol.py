"""What a Triton server can be asked; two modules answer for it, one over HTTP and one over gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class ModelState:
    """A row of the server's index. `state` is READY, LOADING, UNLOADING, UNAVAILABLE or, of one never loaded, empty."""

    name: str
    version: str
    state: str
    reason: str


class Client(Protocol):
    """A connection to one server. One thread at a time may use it.

    Every method raises RepositoryInvalid when the server is down, does not answer in time, or refuses: then with the
    server's own reason.
    """

    @property
    def address(self) -> str:
        """`127.0.0.1:8000`."""

    @property
    def protocol(self) -> str:
        """`http` or `grpc`."""

    def live(self) -> bool:
        """Whether the server runs. False when nothing answers there."""

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        """Whether the server, or a model of it, can answer. False when nothing answers there."""

    def load(self, name: str) -> None:
        """Load a model, or load it anew; returns when it is ready."""

    def unload(self, name: str) -> None:
        """Unload a model, and return at once: it goes when its requests are answered."""

    def index(self) -> tuple[ModelState, ...]:
        """The models and versions that the server knows of."""

    def server(self) -> dict[str, Any]:
        """Name, version and extensions of the server."""

    def metadata(self, name: str, version: str | None = None) -> dict[str, Any]:
        """`name`, `versions`, `platform`, `inputs` and `outputs`, each of those with `name`, `datatype`, `shape`."""

    def config(self, name: str, version: str | None = None) -> dict[str, Any]:
        """The model's configuration: its fields as in config.pbtxt, enumerations as texts."""

    def infer(
        self,
        name: str,
        inputs: Mapping[str, np.ndarray],
        *,
        version: str | None = None,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """The model's answers to one request: all its outputs, or those that are asked for."""

    def close(self) -> None:
        """Close the connection."""
