"""Connections to a server over HTTP/1: one that is kept open, and whether anything listens at an address at all."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Mapping

from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.locations import ServerKind, joined

PROBE_SECONDS = 5.0


class HttpConnection:
    """A connection that is kept open, and made anew where the server closed it. One thread at a time may use it."""

    def __init__(self, host: str, port: int, *, seconds: float, kind: ServerKind) -> None:
        self.address = joined(host, port)
        self._kind = kind
        self._connection = http.client.HTTPConnection(host, port, timeout=seconds)

    @property
    def where(self) -> str:
        return f"http://{self.address}"

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and content of the answer. Raises RepositoryInvalid: the server is down, or too slow."""
        idle = self._connection.sock is not None  # kept from an earlier request, so that the server may have closed it
        try:
            self._connection.request(method, path, body, dict(headers or {}))
            answer = self._connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            if idle and isinstance(error, (ConnectionError, http.client.RemoteDisconnected)):
                return self.request(method, path, body, headers)
            raise self._down(error) from error

    def close(self) -> None:
        self._connection.close()

    def _down(self, error: Exception) -> RepositoryInvalid:
        server = f"the {self._kind.title} at {self.address}"
        if isinstance(error, TimeoutError):
            return RepositoryInvalid(f"{server} does not answer in time", where=self.where)
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return RepositoryInvalid(f"{server} is down: {why}", where=self.where)


def check_listens(host: str, port: int, url: str, kind: ServerKind) -> None:
    """Raise RepositoryInvalid where nothing listens."""
    try:
        socket.create_connection((host, port), timeout=PROBE_SECONDS).close()
    except OSError as error:
        what = f"no {kind.title} is up at {host}:{port}: {error.strerror or error}"
        raise RepositoryInvalid(what, where=url, hint="start it, or mend the address") from error
