"""The REST API: paths, statuses and pages of the real server (http_rest_api_handler.cc, http_server.cc)."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from mlconvert.serving.tf_serving.double import json_answers, json_tensors, log, tensors
from mlconvert.serving.tf_serving.double.answers import SIGNATURE_FIELD, Answers
from mlconvert.serving.tf_serving.double.manager import Manager
from mlconvert.serving.tf_serving.double.status import Refused, invalid
from mlconvert.serving.tf_serving.messages import message

_PREDICTION = re.compile(
    r"(?i)/v1/models/([^/:]+)(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?:(classify|regress|predict)"
)
_STATUS = re.compile(r"(?i)/v1/models(?:/([^/:]+))?(?:(?:/versions/(\d+))|(?:/labels/([^/:]+)))?(?:/(metadata))?")
_NOT_FOUND = "<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>"
_API = re.compile(r"(?i)/v1/.*")


class Rest:
    """`prometheus` is the path of the metrics, or None."""

    def __init__(self, answers: Answers, manager: Manager, *, prometheus: str | None) -> None:
        self._answers = answers
        self._manager = manager
        self.prometheus = prometheus
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, str, str]:
        """Status, content type and text."""
        if method == "GET" and path == self.prometheus:
            return 200, "text/plain", self.metrics()
        if not _API.fullmatch(path):
            return 404, "text/html", _NOT_FOUND
        try:
            return 200, "application/json", self._api(method, path, body)
        except Refused as error:
            return error.http, "application/json", json.dumps({"error": error.message}, indent=4)

    def metrics(self) -> str:
        lines = ["# TYPE :tensorflow:serving:request_count counter"]
        with self._lock:
            for (model, status), count in sorted(self._counts.items()):
                lines.append(f':tensorflow:serving:request_count{{model_name="{model}",status="{status}"}} {count}')
        lines.append("# TYPE :tensorflow:cc:saved_model:load_attempt_count counter")
        for (path, status), count in sorted(self._manager.load_counts.items()):
            labels = f'model_path="{path}",status="{status}"'
            lines.append(f":tensorflow:cc:saved_model:load_attempt_count{{{labels}}} {count}")
        return "\n".join(lines) + "\n"

    def count(self, model: str, status: str) -> None:
        with self._lock:
            self._counts[model, status] += 1

    def _api(self, method: str, path: str, body: bytes) -> str:
        pattern = {"POST": _PREDICTION, "GET": _STATUS}.get(method)
        found = pattern.fullmatch(path) if pattern else None
        if found is None:
            raise invalid(f"Malformed request: {method} {path}")
        name, version, label, verb = found.groups()
        if not name:
            raise invalid("Missing model name in request.")
        spec = message("ModelSpec")(name=unquote(name))
        if version is not None:
            if int(version) >= 2**63:
                raise invalid(f"Failed to convert version: {version} to numeric.")
            spec.version.value = int(version)
        if label is not None:
            spec.version_label = unquote(label)
        if method == "GET" and verb:
            return self._metadata(spec)
        if method == "GET":
            return _as_json(self._answers.status(_asked("GetModelStatusRequest", spec)))
        if verb.lower() != "predict":
            raise Refused("UNIMPLEMENTED", f"the double of tensorflow_model_server has no {verb.lower()}")
        return self._predict(spec, body)

    def _predict(self, spec: Any, body: bytes) -> str:
        try:
            request = json_tensors.parse(body)
            spec.signature_name = json_tensors.signature_name(request)
            infos = self._answers.inputs_of(spec, spec.signature_name)
            inputs, rows = json_tensors.read(request, infos, spec.signature_name)
            asked = _asked("PredictRequest", spec)
            for name, tensor in inputs.items():
                asked.inputs[name].CopyFrom(tensor)
            outputs = {name: tensors.to_array(one, name) for name, one in self._answers.predict(asked).outputs.items()}
            text = json_answers.write(outputs, rows=rows)
        except Refused as error:
            self.count(spec.name, error.code)
            raise
        self.count(spec.name, "OK")
        return text

    def _metadata(self, spec: Any) -> str:
        asked = _asked("GetModelMetadataRequest", spec)
        asked.metadata_field.append(SIGNATURE_FIELD)
        answer = self._answers.metadata(asked)
        signatures = message("SignatureDefMap")()
        answer.metadata[SIGNATURE_FIELD].Unpack(signatures)
        told = f'"model_spec":{_as_json(answer.model_spec)},\n"metadata": {{"signature_def": {_as_json(signatures)}}}'
        return f"{{\n{told}\n}}\n"


def _asked(name: str, spec: Any) -> Any:
    return message(name)(model_spec=spec)


def _as_json(found: Any) -> str:
    from google.protobuf import json_format

    options: dict[str, Any] = {"preserving_proto_field_name": True, "indent": 1}
    try:
        return str(json_format.MessageToJson(found, always_print_fields_with_no_presence=True, **options))
    except TypeError:  # protobuf below 5 has another word for it
        return str(json_format.MessageToJson(found, including_default_value_fields=True, **options))


def _chunks(stream: Any) -> Iterator[bytes]:
    """The parts of a body whose length is not told beforehand."""
    while size := int(stream.readline().partition(b";")[0].strip() or b"0", 16):
        yield stream.read(size)
        stream.readline()
    while stream.readline().strip():  # trailers
        pass


def listen(rest: Rest, port: int) -> ThreadingHTTPServer:
    """A server on loopback, answering. Raises OSError where the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def reply(self) -> None:
            length = self.headers.get("Content-Length", "0")
            if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                body = b"".join(_chunks(self.rfile))
            else:
                body = self.rfile.read(int(length)) if length.isdigit() else b""
            status, kind, text = rest.answer(self.command, self.path.partition("?")[0], body)
            content = text.encode("utf-8", errors="surrogateescape")
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Requests are not logged."""

    for verb in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
        setattr(Handler, f"do_{verb}", Handler.reply)

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128
        address_family = socket.AF_INET

    server = Server(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
    log.info(f"Exporting HTTP/REST API at:localhost:{port} ...")
    return server
