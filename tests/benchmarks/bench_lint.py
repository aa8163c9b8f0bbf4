"""`mlconvert lint` of 200 models, Python's start included: at most 2 seconds, without a server.

    python tests/benchmarks/bench_lint.py

The models are published by mlconvert, with records, so that configurations, graphs and checksums are all looked at.
Beside it stands what importing protobuf, tritonclient's messages and onnx takes by itself.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from mlconvert import records
from mlconvert.artifact import file_sha256
from mlconvert.onnx_model.files import onnx_artifact
from mlconvert.repositories.triton import publish

MODELS, RUNS, LIMIT = 200, 5, 2.0
MLCONVERT = Path(sys.executable).with_name("mlconvert")
IMPORTS = "import google.protobuf.text_format, tritonclient.grpc.model_config_pb2, onnx"


def make_repository(folder: Path) -> Path:
    path = folder / "model.onnx"
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 16])],
        [helper.make_tensor("w", TensorProto.FLOAT, [64, 16], [0.5] * 1024)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    artifact = onnx_artifact(path, (path,))
    record = {
        "schema": records.SCHEMA,
        "path": path.name,
        "format": "onnx",
        "files": records.described_files(artifact, {path.name: file_sha256(path)}),
    }
    repository = folder / "models"
    publish(artifact, repository, "model-0", record=record)
    for number in range(1, MODELS):
        copy = repository / f"model-{number}"
        shutil.copytree(repository / "model-0", copy)
        config = copy / "config.pbtxt"
        config.write_text(config.read_text().replace('"model-0"', f'"model-{number}"'))
    return repository


def seconds(command: list[str]) -> tuple[float, float]:
    """By the clock, and of the processor: the same on a machine that has nothing else to do."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        repository = make_repository(Path(scratch))
        lint, imports = [], []
        for _ in range(RUNS):  # in turn: a machine that slows down slows both
            lint.append(seconds([str(MLCONVERT), "lint", str(repository), "--release", "24.10"]))
            imports.append(seconds([sys.executable, "-c", IMPORTS]))
    (took, used), (alone, needed) = (
        [statistics.median(one) for one in zip(*rows, strict=True)] for rows in (lint, imports)
    )
    sys.stdout.write(
        f"lint of {MODELS} models: {took:.2f} s (limit {LIMIT:g} s), {used:.2f} s of the processor\n"
        f"the imports alone:  {alone:.2f} s, {needed:.2f} s of the processor: {used / needed:.1f} x\n"
    )
    return 0 if took <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
