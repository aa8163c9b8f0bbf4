"""TensorFlow Serving's REST API: JSON over HTTP/1, spoken with Python's own http.client."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from mlconvert.errors import RepositoryInvalid, UsageError
from mlconvert.serving.connections import HttpConnection
from mlconvert.serving.locations import TF_SERVING
from mlconvert.serving.reasons import reason_of
from mlconvert.serving.tf_serving.json_tensors import check_dtype, from_json, to_json
from mlconvert.serving.tf_serving.messages import message
from mlconvert.serving.tf_serving.protocol import SIGNATURE, Metadata, VersionStatus, is_number
from mlconvert.serving.tf_serving.signatures import signature_of
from mlconvert.signature import Signature

if TYPE_CHECKING:
    import numpy as np

_ERROR = re.compile(r'"error"\s*:\s*"(.*)"\s*}\s*$', re.DOTALL)


class RestClient:
    """A `Client` over REST."""

    protocol: Literal["http"] = "http"

    def __init__(self, host: str, port: int, *, seconds: float) -> None:
        self._connection = HttpConnection(host, port, seconds=seconds, kind=TF_SERVING)
        self.address = self._connection.address

    def live(self) -> bool:
        """Asked for no model in particular, it says that a name is missing."""
        try:
            status, _, content = self._connection.request("GET", "/v1/models")
        except RepositoryInvalid:
            return False
        return status == 400 and _told(content) is not None

    def status(self, name: str) -> tuple[VersionStatus, ...]:
        status, _, content = self._connection.request("GET", _path(name, None))
        if status == 404 and _told(content) is not None:
            return ()
        try:
            rows = [
                VersionStatus(int(row["version"]), str(row["state"]), str(row["status"].get("error_message", "")))
                for row in self._answer(status, content)["model_version_status"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._no_server() from error
        return tuple(sorted(rows, key=lambda row: row.version))

    def metadata(self, name: str, version: str | None = None) -> Metadata:
        from google.protobuf import json_format

        status, _, content = self._connection.request("GET", f"{_path(name, version)}/metadata")
        told = self._answer(status, content)
        signatures = message("SignatureDefMap")()
        try:
            json_format.ParseDict(told["metadata"]["signature_def"], signatures, ignore_unknown_fields=True)
            return Metadata(name, int(told["model_spec"]["version"]), signatures)
        except (KeyError, TypeError, ValueError, json_format.ParseError) as error:
            raise self._no_server() from error

    def predict(
        self,
        name: str,
        inputs: Mapping[str, np.ndarray],
        *,
        version: str | None = None,
        signature: Signature | None = None,
    ) -> dict[str, np.ndarray]:
        if signature is None:
            signature = signature_of(self.metadata(name, version), where=self._connection.where)
        for spec in signature.outputs:
            check_dtype("output", spec.name, spec.dtype)
        columns = {called: to_json(called, array) for called, array in inputs.items()}
        # An object with the key "b64" alone would be taken for a string in base64.
        listed = ", ".join(f"{json.dumps(called)}: {text}" for called, text in columns.items())
        told = columns["b64"] if list(columns) == ["b64"] else f"{{{listed}}}"
        body = f'{{"signature_name": "{SIGNATURE}", "inputs": {told}}}'.encode()
        path = f"{_path(name, version)}:predict"
        status, _, content = self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = self._answer(status, content)
        if not isinstance(answer, dict) or "outputs" not in answer:
            raise self._no_server()
        outputs = answer["outputs"]
        if len(signature.outputs) == 1:  # a single output comes without its name
            outputs = {signature.outputs[0].name: outputs}
        if not isinstance(outputs, dict):
            raise self._no_server()
        return {spec.name: from_json(spec, outputs[spec.name]) for spec in signature.outputs if spec.name in outputs}

    def reload(self, config: Any) -> None:  # noqa: ARG002 - the protocol's
        raise UsageError(
            "over REST a TensorFlow Serving cannot be told to read its configuration",
            where=self._connection.where,
            hint="give its gRPC port (8500 by default): tfserving+grpc://HOST:PORT",
        )

    def close(self) -> None:
        self._connection.close()

    def _answer(self, status: int, content: bytes) -> Any:
        if status != 200:
            told = _told(content)
            raise RepositoryInvalid(
                reason_of(told) if told else f"the server answers with HTTP status {status}",
                where=self._connection.where,
            )
        try:
            return json.loads(content.decode("utf-8", errors="surrogateescape"))
        except ValueError as error:
            raise self._no_server() from error

    def _no_server(self) -> RepositoryInvalid:
        what = f"what answers at {self.address} does not speak TensorFlow Serving's REST API"
        return RepositoryInvalid(what, where=self._connection.where)


def _path(name: str, version: str | None) -> str:
    path = f"/v1/models/{quote(name, safe='')}"
    if version is None:
        return path
    return f"{path}/{'versions' if is_number(version) else 'labels'}/{quote(version, safe='')}"


def _told(content: bytes) -> str | None:
    """The reason in a refusal; None for what is no refusal of a TensorFlow Serving's.

    Older servers escape the text as C has it, not as JSON has it (an apostrophe behind a backslash).
    """
    text = content.decode("utf-8", errors="replace")
    try:
        told = json.loads(text)
    except ValueError:
        found = _ERROR.search(text)
        return found[1].replace("\\'", "'").replace('\\"', '"').replace("\\n", "\n") if found else None
    error = told.get("error") if isinstance(told, dict) else None
    return error if isinstance(error, str) else None
