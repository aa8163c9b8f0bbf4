"""Connections to a TensorFlow Serving, and waiting until it serves a version."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from mlconvert import packages
from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.connections import PROBE_SECONDS, check_listens
from mlconvert.serving.locations import TF_SERVING, joined, split_address
from mlconvert.serving.tf_serving.protocol import Client, Metadata, VersionStatus, is_number

__all__ = ["Client", "Metadata", "VersionStatus", "connect", "connect_both", "wait_available"]

SECONDS = 300.0  # that one answer may take
AVAILABLE_SECONDS = 60.0
_PORTS = "its gRPC port is 8500 by default, its REST port 8501"


def connect(url: str, *, seconds: float = SECONDS) -> Client:
    """A client for `tfserving://host:port` (what speaks there is found out), `tfserving+http://…`, `tfserving+grpc://…`.

    `seconds` is what one answer may take. Raises UsageError for what is no such address, MissingPackage where gRPC is
    needed and not installed, RepositoryInvalid when nothing listens there, or no TensorFlow Serving.
    """
    scheme, host, port = split_address(url, TF_SERVING)
    check_listens(host, port, url, TF_SERVING)
    if scheme != "tfserving+grpc" and _answers(_rest(host, port, PROBE_SECONDS)):
        return _rest(host, port, seconds)
    if scheme == "tfserving+http":
        what = f"what listens at {joined(host, port)} does not speak TensorFlow Serving's REST API"
        raise RepositoryInvalid(what, where=url, hint=f"look at the port: {_PORTS}")
    address = joined(host, port)
    if not _answers(_grpc(address, PROBE_SECONDS)):
        spoken = "neither protocol of TensorFlow Serving" if scheme == "tfserving" else "no gRPC of TensorFlow Serving"
        what = f"what listens at {address} speaks {spoken}"
        raise RepositoryInvalid(what, where=url, hint=f"look at the port: {_PORTS}")
    return _grpc(address, seconds)


def connect_both(rest_address: str, grpc_address: str, *, seconds: float = SECONDS) -> tuple[Client, Client]:
    """Clients for both ports of one server that is known to be there."""
    host, _, port = rest_address.rpartition(":")
    return _rest(host, int(port), seconds), _grpc(grpc_address, seconds)


def wait_available(
    client: Client,
    name: str,
    version: str | None = None,
    *,
    seconds: float | None = None,
    patient: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until a version of a model, or any, is AVAILABLE: for AVAILABLE_SECONDS unless told otherwise.

    `version` is a number or, of one that the server has, a label. Raises RepositoryInvalid that says how far it is;
    at once where waiting would not help (no such model or version, or it could not be loaded) unless `patient`, which
    is for a server that is about to look at its files anew.
    """
    number = int(version) if version is not None and is_number(version) else None
    limit = AVAILABLE_SECONDS if seconds is None else seconds
    deadline = time.monotonic() + limit
    while True:
        rows = [row for row in client.status(name) if number in (None, row.version)]
        if any(row.state == "AVAILABLE" for row in rows):
            return
        settled = not any(row.state in ("START", "LOADING", "UNKNOWN") for row in rows)
        if time.monotonic() >= deadline or (settled and not patient):
            raise _unavailable(client, name, number, limit)
        sleep(min(0.1, max(0.0, deadline - time.monotonic())))


def _unavailable(client: Client, name: str, number: int | None, seconds: float) -> RepositoryInvalid:
    where = f"{client.protocol}://{client.address}"
    server = f"the TensorFlow Serving at {client.address}"
    rows = client.status(name)
    if not rows:
        return RepositoryInvalid(
            f"{server} has no model '{name}'", where=where, hint="it serves the models of its models.config alone"
        )
    asked = [row for row in rows if number in (None, row.version)]
    if not asked:
        known = ", ".join(str(row.version) for row in rows if row.state == "AVAILABLE") or "none"
        what = f"{server} does not serve version {number} of '{name}'"
        return RepositoryInvalid(what, where=where, hint=f"versions that are available: {known}")
    told = "; ".join(f"version {row.version} is {row.state}{f': {row.reason}' if row.reason else ''}" for row in asked)
    loading = any(row.state in ("START", "LOADING") for row in asked)
    return RepositoryInvalid(
        f"{server} does not serve '{name}'{f' after {seconds:g} seconds' if loading else ''}: {told}", where=where
    )


def _rest(host: str, port: int, seconds: float) -> Client:
    from mlconvert.serving.tf_serving.rest_client import RestClient

    return RestClient(host, port, seconds=seconds)


def _grpc(address: str, seconds: float) -> Client:
    packages.require((packages.GRPC,), "speaking gRPC to a TensorFlow Serving")
    from mlconvert.serving.tf_serving.grpc_client import GrpcClient

    return GrpcClient(address, seconds=seconds)


def _answers(client: Client) -> bool:
    with contextlib.closing(client):
        return client.live()
