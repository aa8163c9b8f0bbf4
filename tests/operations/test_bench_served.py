"""`mlconvert bench` of a model that a real Triton server serves, over both protocols, beside the file it came from."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mlconvert.cli import main
from mlconvert.operations import bench
from mlconvert.serving.loading import load_model

CONFIG = """
name: "benched"
backend: "onnxruntime"
max_batch_size: 3
input { name: "x" data_type: TYPE_FP32 dims: [4] }
output { name: "y" data_type: TYPE_FP32 dims: [3] }
output { name: "sum" data_type: TYPE_FP32 dims: [1] reshape { shape: [] } }
instance_group { count: 1 kind: KIND_CPU }
"""


@pytest.fixture
def served(triton_server, small_onnx):
    folder = triton_server.root / "benched"
    (folder / "1").mkdir(parents=True)
    shutil.copy(small_onnx, folder / "1" / "model.onnx")
    (folder / "config.pbtxt").write_text(CONFIG)
    load_model(triton_server.server, triton_server.clients[0], "benched")
    yield [f"triton+{kind}://{getattr(triton_server.server, kind)}/benched" for kind in ("http", "grpc")]
    triton_server.drop("benched")


def test_a_server_is_benched_over_both_protocols(served, small_onnx, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "WARM_SECONDS", 0.05)
    monkeypatch.setattr(bench, "TURN_SECONDS", 0.01)
    np.savez(tmp_path / "rows.npz", x=np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32))
    words = ["bench", small_onnx, *served, "--samples", tmp_path / "rows.npz", "--starts", "1", "--rounds", "2"]
    assert main([*map(str, words), "--batch", "8", "--json"]) == 0
    ones = json.loads(capsys.readouterr().out)["contestants"]
    over = {one["call"]: one for one in ones if one["format"] == "triton"}
    assert set(over) == {"infer over HTTP", "infer over gRPC"}
    run = next(one for one in ones if one["call"] == "session.run")
    for one in over.values():
        assert one["one_row"]["p50"] > run["one_row"]["p50"]  # it goes through a socket
        assert one["batch"]["rows"] == 8  # in slices of 3
        assert (one["cold_start_seconds"], one["peak_rss_bytes"], one["bytes"]) == (None, None, None)
        assert {row["baseline"].partition(", ")[2] for row in one["ratios"]} == {"run", "IO binding"}
