"""Triton's protocol over HTTP, with tensors as bytes behind the JSON (its binary extension).

Python's own http.client speaks it here. tritonclient.http is built on gevent: a client of it belongs to the thread
that made it, and it has no bfloat16; what is needed of the protocol is this one page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mlconvert.errors import RepositoryInvalid
from mlconvert.serving.connections import HttpConnection
from mlconvert.serving.locations import TRITON
from mlconvert.serving.protocol import ModelState
from mlconvert.serving.reasons import reason_of
from mlconvert.serving.wire import decode, encode, wire_dtype

if TYPE_CHECKING:
    import numpy as np

HEADER_LENGTH = "Inference-Header-Content-Length"


class HttpClient:
    """A `Client` over HTTP."""

    protocol = "http"

    def __init__(self, host: str, port: int, *, seconds: float) -> None:
        self._connection = HttpConnection(host, port, seconds=seconds, kind=TRITON)
        self.address = self._connection.address

    def live(self) -> bool:
        return self._is_ok("/v2/health/live")

    def ready(self, model: str | None = None, version: str | None = None) -> bool:
        return self._is_ok(f"{_model_path(model, version)}/ready" if model else "/v2/health/ready")

    def load(self, name: str) -> None:
        self._post(f"/v2/repository/models/{quote(name, safe='')}/load", {})

    def unload(self, name: str) -> None:
        self._post(f"/v2/repository/models/{quote(name, safe='')}/unload", {})

    def index(self) -> tuple[ModelState, ...]:
        rows = self._post("/v2/repository/index", {})
        return tuple(
            ModelState(row["name"], row.get("version", ""), row.get("state", ""), reason_of(row.get("reason", "")))
            for row in rows
        )

    def server(self) -> dict[str, Any]:
        return dict(self._get("/v2"))

    def metadata(self, name: str, version: str | None = None) -> dict[str, Any]:
        return dict(self._get(_model_path(name, version)))

    def config(self, name: str, version: str | None = None) -> dict[str, Any]:
        return dict(self._get(f"{_model_path(name, version)}/config"))

    def infer(
        self,
        name: str,
        inputs: Mapping[str, np.ndarray],
        *,
        version: str | None = None,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        tensors, raw = [], []
        for called, array in inputs.items():
            raw.append(encode(array))
            tensors.append(
                {
                    "name": called,
                    "shape": list(array.shape),
                    "datatype": wire_dtype(array),
                    "parameters": {"binary_data_size": len(raw[-1])},
                }
            )
        request: dict[str, Any] = {"inputs": tensors, "parameters": {"binary_data_output": True}}
        if outputs is not None:
            request["outputs"] = [{"name": called, "parameters": {"binary_data": True}} for called in outputs]
        head = json.dumps(request).encode()
        status, headers, content = self._connection.request(
            "POST",
            f"{_model_path(name, version)}/infer",
            b"".join([head, *raw]),
            {HEADER_LENGTH: str(len(head)), "Content-Type": "application/octet-stream"},
        )
        if status != 200:
            raise self._refusal(status, content)
        length = int(headers.get(HEADER_LENGTH, len(content)))
        return _arrays(self._json(content[:length]), memoryview(content)[length:])

    def close(self) -> None:
        self._connection.close()

    # --- requests ---

    def _is_ok(self, path: str) -> bool:
        try:
            return self._connection.request("GET", path)[0] == 200
        except RepositoryInvalid:
            return False

    def _get(self, path: str) -> Any:
        status, _, content = self._connection.request("GET", path)
        if status != 200:
            raise self._refusal(status, content)
        return self._json(content)

    def _post(self, path: str, data: Mapping[str, Any]) -> Any:
        body = json.dumps(data).encode()
        status, _, content = self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        if status != 200:
            raise self._refusal(status, content)
        return self._json(content) if content else None

    def _refusal(self, status: int, content: bytes) -> RepositoryInvalid:
        try:
            told = json.loads(content)["error"]
        except (ValueError, KeyError, TypeError):
            told = f"HTTP status {status}"
        return RepositoryInvalid(reason_of(str(told)), where=f"http://{self.address}")

    def _json(self, content: bytes) -> Any:
        try:
            return json.loads(content)
        except ValueError as error:
            what = f"what answers at {self.address} does not speak Triton's protocol"
            raise RepositoryInvalid(what, where=f"http://{self.address}") from error


def _model_path(name: str, version: str | None) -> str:
    return f"/v2/models/{quote(name, safe='')}" + (f"/versions/{version}" if version else "")


def _arrays(answer: Mapping[str, Any], raw: memoryview) -> dict[str, np.ndarray]:
    arrays, place = {}, 0
    for tensor in answer.get("outputs", []):
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is None:
            raise RepositoryInvalid(f"the server sent the output '{tensor['name']}' as text, not as bytes")
        content = bytes(raw[place : place + size])
        arrays[tensor["name"]] = decode(tensor["datatype"], tensor["shape"], content, name=tensor["name"])
        place += size
    return arrays
