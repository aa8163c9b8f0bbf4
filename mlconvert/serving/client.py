"""Connections to a Triton server, and waiting until what it serves is ready."""

from __future__ import annotations

import contextlib
import http.client
import time

from mlconvert import packages
from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.connections import PROBE_SECONDS, check_listens
from mlconvert.serving.locations import TRITON, joined, split_address
from mlconvert.serving.protocol import Client, ModelState

__all__ = ["Client", "ModelState", "connect", "connect_both", "wait_ready"]

SECONDS = 300.0  # that one answer may take
READY_SECONDS = 60.0


def connect(url: str, *, seconds: float = SECONDS) -> Client:
    """A client for `triton://host:port` (what speaks there is found out), `triton+http://…` or `triton+grpc://…`.

    `seconds` is what one answer may take. Raises UsageError for what is no such address, RepositoryInvalid when
    nothing listens there, or nothing that speaks Triton's protocol.
    """
    scheme, host, port = split_address(url)
    address = joined(host, port)
    check_listens(host, port, url, TRITON)
    if scheme == "triton":
        scheme = "triton+http" if _speaks_http(host, port) else "triton+grpc"
        if scheme == "triton+grpc" and not _speaks_grpc(address):
            raise RepositoryInvalid(
                f"what listens at {address} speaks neither protocol of a Triton server",
                where=url,
                hint="give the server's HTTP port (8000 by default) or its gRPC port (8001)",
            )
    if scheme == "triton+http":
        from mlconvert.serving.http_client import HttpClient

        return HttpClient(host, port, seconds=seconds)
    return _grpc(address, seconds)


def connect_both(http_address: str, grpc_address: str, *, seconds: float = SECONDS) -> tuple[Client, Client]:
    """Clients for both ports of one server that is known to be there."""
    from mlconvert.serving.http_client import HttpClient

    host, _, port = http_address.rpartition(":")
    return HttpClient(host, int(port), seconds=seconds), _grpc(grpc_address, seconds)


def wait_ready(
    client: Client, model: str | None = None, version: str | None = None, *, seconds: float | None = None
) -> None:
    """Wait until the server, or a model of it, is ready: for READY_SECONDS unless told otherwise.

    Raises RepositoryInvalid that says how far it is; at once where waiting would not help: the server is down, it has
    no such model or version, or it is not loading it. Of a model only its own readiness counts: by default a server
    says that it is not ready itself as long as any of its models failed.
    """
    limit = READY_SECONDS if seconds is None else seconds
    deadline = time.monotonic() + limit
    while not client.ready(model, version):
        if time.monotonic() >= deadline or (model is not None and _is_settled(client, model, version)):
            raise _unready(client, model, version, limit)
        if not client.live():
            raise _unready(client, model, version, limit)
        time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))


def _rows(client: Client, model: str, version: str | None) -> list[ModelState]:
    return [row for row in _index(client) if row.name == model and version in (None, row.version)]


def _index(client: Client) -> tuple[ModelState, ...]:
    try:
        return client.index()
    except RepositoryInvalid:  # a server may keep its index to itself, or not be ready for it
        return ()


def _is_settled(client: Client, model: str, version: str | None) -> bool:
    """Whether a model that is not ready will not become so by itself: nothing of it is being loaded."""
    rows = _index(client)
    return bool(rows) and not any(
        row.state == "LOADING" for row in rows if row.name == model and version in (None, row.version)
    )


def _unready(client: Client, model: str | None, version: str | None, seconds: float) -> RepositoryInvalid:
    where = f"{client.protocol}://{client.address}"
    if not client.live():
        return RepositoryInvalid(f"the Triton server at {client.address} is down, or not live yet", where=where)
    if model is None or (not client.ready() and not _index(client)):
        what = f"the Triton server at {client.address} is up, and not ready after {seconds:g} seconds"
        return RepositoryInvalid(what, where=where, hint="look at its log: it may be loading models, or failed to")
    label = f"'{model}'" + (f" version {version}" if version else "")
    rows = _rows(client, model, version)
    if not rows:
        others = _rows(client, model, None)
        if others:
            known = ", ".join(row.version for row in others if row.state == "READY") or "none"
            return RepositoryInvalid(
                f"the server at {client.address} does not serve version {version} of '{model}'",
                where=where,
                hint=f"versions that are ready: {known}",
            )
        names = ", ".join(sorted({row.name for row in _index(client) if row.state == "READY"})) or "none"
        return RepositoryInvalid(
            f"the server at {client.address} has no model '{model}'",
            where=where,
            hint=f"models that are ready: {names}",
        )
    told = "; ".join(
        f"version {row.version or '?'} is {row.state or 'not loaded'}{f': {row.reason}' if row.reason else ''}"
        for row in rows
    )
    return RepositoryInvalid(f"the server at {client.address} does not serve {label}: {told}", where=where)


def _grpc(address: str, seconds: float) -> Client:
    packages.require((packages.TRITONCLIENT,), "speaking gRPC to a Triton server")
    from mlconvert.serving.grpc_client import GrpcClient

    return GrpcClient(address, seconds=seconds)


def _speaks_http(host: str, port: int) -> bool:
    """Whether what listens there has the paths of Triton's protocol; a server that loads is live, and not yet ready."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/v2/health/live")
        answer = connection.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):  # a gRPC port hangs up, or sends what is no HTTP/1
        return False
    finally:
        connection.close()
    return answer.status in (200, 400)


def _speaks_grpc(address: str) -> bool:
    client = _grpc(address, PROBE_SECONDS)
    with contextlib.closing(client):
        return client.live()
