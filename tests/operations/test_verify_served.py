"""`mlconvert verify MODEL triton://…`: a model that a server serves, against a file or the rows of its record."""

from __future__ import annotations

import contextlib
import json
import shutil

import numpy as np
import pytest
from jsonschema.validators import Draft202012Validator

from mlconvert.cli import main
from mlconvert.errors import UsageError
from mlconvert.formats import recognise, source_artifact, source_sha256
from mlconvert.report import SCHEMA
from mlconvert.serving import client as clients
from mlconvert.serving.loading import load_model
from mlconvert.serving.processes import free_ports

CONFIG = """
name: "small"
backend: "onnxruntime"
max_batch_size: 3
input { name: "x" data_type: TYPE_FP32 dims: [4] }
output { name: "y" data_type: TYPE_FP32 dims: [3] }
output { name: "sum" data_type: TYPE_FP32 dims: [1] reshape { shape: [] } }
instance_group { count: 1 kind: KIND_CPU }
parameters { key: "mlconvert.label.prod" value { string_value: "2" } }
version_policy { all {} }
"""


@pytest.fixture
def small(triton_server, small_onnx):
    """The small network served in two versions, with a label; its address over each protocol."""
    folder = triton_server.root / "small"
    for version in ("1", "2"):
        (folder / version).mkdir(parents=True)
        shutil.copy(small_onnx, folder / version / "model.onnx")
    (folder / "config.pbtxt").write_text(CONFIG)
    load_model(triton_server.server, triton_server.clients[0], "small")
    yield (f"triton://{triton_server.server.http}/small", f"triton+grpc://{triton_server.server.grpc}/small")
    triton_server.drop("small")


def verify(capsys, *arguments):
    code = main(["verify", *(str(argument) for argument in arguments), "--json"])
    told = capsys.readouterr()
    report = json.loads(told.out)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(report)
    return code, report, told.err


def test_a_served_model_is_verified_over_both_protocols(small, small_onnx, tmp_path, capsys):
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32))
    for location in (small[0], f"{small[1]}/2", f"{small[0]}/prod"):
        code, report, _ = verify(capsys, small_onnx, location, "--samples", tmp_path / "rows.npz")
        assert code == 0
        (target,) = report["targets"]
        assert (target["path"], target["format"], target["bytes"]) == (location, "triton", None)
        assert len(target["sha256"]) == 64
        parity = target["steps"][0]["parity"]
        assert (parity["ok"], parity["samples"]) == (True, 10)  # in slices of 3, and `sum` without its axis
        assert [row["shape"] for row in parity["outputs"]] == [[10, 3], [10]]
        assert "triton" not in report["source"]["format"]
    # The server is asked each time; what the file answers is known.
    code, report, said = verify(capsys, small_onnx, small[0], "--samples", tmp_path / "rows.npz")
    assert not report["targets"][0]["steps"][0]["cached"]
    assert "reference              cached" in said
    # And the other way round.
    code, report, _ = verify(capsys, small[0], small_onnx, "--samples", tmp_path / "rows.npz")
    assert (code, report["source"]["format"], report["source"]["path"]) == (0, "triton", small[0])


def test_without_samples_some_are_made(small, small_onnx, capsys):
    code, report, _ = verify(capsys, small_onnx, small[1])
    assert code == 0
    assert report["targets"][0]["steps"][0]["parity"]["samples"] > 32


def test_another_model_than_the_reference(small, small_onnx, tmp_path, triton_server, capsys):
    import onnx

    model = onnx.load(small_onnx)
    weight = next(tensor for tensor in model.graph.initializer if tensor.name == "b")
    weight.CopyFrom(onnx.numpy_helper.from_array(np.zeros(3, np.float32), "b"))
    onnx.save(model, tmp_path / "other.onnx")
    code, report, _ = verify(capsys, tmp_path / "other.onnx", small[0])
    assert (code, report["ok"]) == (5, False)
    assert "values of output 'y'" in report["targets"][0]["error"]["message"]


@pytest.mark.parametrize(
    ("path", "said"),
    [("nope", "has no model 'nope'"), ("small/9", "does not serve version 9 of 'small'"), ("small/stage", "neither a")],
)
def test_what_is_not_served(small, small_onnx, capsys, path, said):
    for place in small:
        code, report, _ = verify(capsys, small_onnx, place.replace("small", path))
        assert (code, report["ok"]) == (8, False)
        assert said in report["targets"][0]["error"]["message"]


def test_a_server_that_is_down_or_not_ready(small_onnx, capsys, monkeypatch):
    (port,) = free_ports(1)
    code, report, _ = verify(capsys, small_onnx, f"triton://127.0.0.1:{port}/m")
    assert code == 8
    assert "no Triton server is up" in report["targets"][0]["error"]["message"]

    import http.server
    import threading

    class Starting(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/v2/health/live" else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    monkeypatch.setattr(clients, "READY_SECONDS", 0.4)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Starting) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        with contextlib.ExitStack() as stack:
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            code, report, _ = verify(capsys, small_onnx, f"triton://127.0.0.1:{server.server_port}/m")
    assert code == 8
    assert "is up, and not ready after 0.4 seconds" in report["targets"][0]["error"]["message"]


def test_a_location_is_an_artifact_without_files(small):
    assert recognise(small[0]) == "triton"
    artifact = source_artifact(small[0])
    assert (artifact.format, artifact.location, artifact.files) == ("triton", small[0], ())
    digest = source_sha256(artifact)
    assert digest == source_sha256(source_artifact(small[0]))
    assert digest != source_sha256(source_artifact(f"{small[0]}/2"))
    with pytest.raises(UsageError, match="is a server's model"):
        recognise(small[0], format="onnx")
    with pytest.raises(UsageError, match="--weights is for a factory"):
        source_artifact(small[0], weights="w.safetensors")


def test_a_served_model_is_inspected_and_converted_into_nothing(small, capsys):
    assert main(["inspect", small[1]]) == 0
    told = capsys.readouterr().out
    assert "x: float32[batch, 4]" in told
    assert "sum: float32[batch]" in told
    assert main(["convert", small[1], "--to", "onnx"]) == 2
    assert "a model that a Triton server serves" in capsys.readouterr().err
