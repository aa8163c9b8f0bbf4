"""Models whose answers tell which version they are."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.formats import source_artifact
from mlconvert.onnx_model.files import onnx_artifact
from mlconvert.tensors.rows import encode_rows

COLUMNS = 4


def write_numbered(folder: Path, number: int, *, broken: str | None = None, rows: bool = True) -> Path:
    """A model of `y = 2 * x + number` with its record, in a new folder.

    `broken`: "load", an operator that no runtime has, or "answers", rows that it does not answer so.
    """
    folder.mkdir(parents=True)
    path = folder / "model.onnx"
    domain = {"domain": "no.such.domain"} if broken == "load" else {}
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "two"], ["m"], **domain), helper.make_node("Add", ["m", "number"], ["y"])],
        "numbered",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", COLUMNS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", COLUMNS])],
        [
            helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0]),
            helper.make_tensor("number", TensorProto.FLOAT, [1], [float(number)]),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("no.such.domain", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    artifact = onnx_artifact(path, (path,))
    x = np.arange(5 * COLUMNS, dtype=np.float32).reshape(5, COLUMNS)
    y = 2 * x + number + (1 if broken == "answers" else 0)
    described = records.described_files(artifact, {path.name: file_sha256(path)})
    assert artifact.signature is not None
    record = {
        "schema": records.SCHEMA,
        "format": "onnx",
        "path": path.name,
        "files": described,
        "sha256": records.total_sha256(described),
        "signature": artifact.signature.as_json(),
        "renamed": {},
        "precision": "float32",
        "tolerances": {"rtol": 1e-4, "atol": 1e-5, "outputs": {}},
        "parity": {"ok": True, "samples": 5},
        "rows": encode_rows({"x": x}, {"y": y}, count=5, limit=1 << 20) if rows else None,
    }
    records.write_json(folder / records.IN_FOLDER, record)
    return folder


@pytest.fixture
def numbered(tmp_path: Path) -> Callable[..., str]:
    """A function that makes such a model and gives the path of its folder, as a command line wants it."""

    def make(number: int, **kwargs) -> str:
        made = len(list(tmp_path.glob("numbered-*")))
        return str(write_numbered(tmp_path / f"numbered-{made}", number, **kwargs))

    return make


@pytest.fixture
def live(triton_servers) -> Iterator[SimpleNamespace]:
    """A server that is ready as a whole: its repository, emptied afterwards, its URLs, and who answers now."""
    triton_server = triton_servers("live")
    http, grpc = triton_server.clients

    def answering(name: str = "m", version: str | None = None) -> set[int]:
        """The numbers of the models that answer, over both protocols."""
        x = np.ones((2, COLUMNS), np.float32)
        return {
            int(value)
            for client in (http, grpc)
            for value in (client.infer(name, {"x": x}, version=version)["y"] - 2 * x).ravel()
        }

    def states(name: str = "m") -> dict[int, str]:
        return {int(row.version): row.state for row in http.index() if row.name == name and row.version}

    yield SimpleNamespace(
        root=triton_server.root,
        http=f"triton://{triton_server.server.http}",
        grpc=f"triton+grpc://{triton_server.server.grpc}",
        client=http,
        answering=answering,
        states=states,
    )
    triton_server.drop(*(path.name for path in triton_server.root.iterdir() if path.is_dir()))
    shutil.rmtree(triton_server.root.parent / f".mlconvert-{triton_server.root.name}", ignore_errors=True)


@contextlib.contextmanager
def answering(answers):
    """A server that answers paths with (status, JSON), and 404 to the rest."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, data = answers.get(self.path, (404, {}))
            body = data if isinstance(data, bytes) else json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - http.server's name

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def listening():
    """A function from answers, path -> (status, JSON or bytes), to a context that gives the address of their server."""
    return answering


# --- TensorFlow Serving ---


@pytest.fixture(scope="session")
def numbered_models(tmp_path_factory) -> Path:
    """SavedModels whose answers tell which they are: `y = 2 * x + number`."""
    folder = tmp_path_factory.mktemp("numbered")
    words = [sys.executable, str(Path(__file__).with_name("saved_models_process.py")), str(folder)]
    done = subprocess.run([*words, *map(str, range(8))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def numbered_saved(numbered_models, tmp_path) -> Callable[..., str]:
    """A function that gives such a model with its record, and without what a server needs where it is `broken`.

    `broken`: "load", a graph that cannot be read, or "answers", rows that it does not answer so.
    """

    def make(number: int, *, broken: str | None = None, rows: bool = True) -> str:
        folder = tmp_path / f"numbered-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(numbered_models / str(number), folder)
        if broken == "load":  # what the graph needs of the variables is not there
            for path in (folder / "variables").iterdir():
                path.write_bytes(b"")
        artifact = source_artifact(str(folder))
        described = records.described_files(
            artifact, {path.relative_to(folder).as_posix(): file_sha256(path) for path in artifact.files}
        )
        dtype = "float32" if number else "float16"
        x = np.arange(20, dtype=dtype).reshape(5, 4)
        y = 2 * x + number + (1 if broken == "answers" else 0)
        spec = {"dtype": dtype, "shape": ["batch", 4]}
        record = {
            "schema": records.SCHEMA,
            "format": "saved-model",
            "path": artifact.files[0].name,
            "files": described,
            "sha256": records.total_sha256(described),
            "signature": {"inputs": [{"name": "x", **spec}], "outputs": [{"name": "y", **spec}]},
            "renamed": {},
            "precision": "float32",
            "tolerances": {"rtol": 1e-4, "atol": 1e-5, "outputs": {}},
            "parity": {"ok": True, "samples": 5},
            "rows": encode_rows({"x": x}, {"y": y}, count=5, limit=1 << 20) if rows else None,
        }
        records.write_json(folder / records.IN_FOLDER, record)
        return str(folder)

    return make
