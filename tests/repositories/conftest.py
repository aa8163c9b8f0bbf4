"""Tiny ONNX models, each with a signature of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from mlconvert.artifact import Artifact
from mlconvert.onnx_model.files import onnx_artifact

MakeModel = Callable[..., Artifact]


def scaled_rows(path: Path, *, scale: float = 2.0, columns: int = 4, rows: str | int = "batch", data: bool = False):
    """`variable` = scale * input, `label` = the sum of each row; with `data` the scale lies in a file beside it."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["input", "scale"], ["variable"]),
            helper.make_node("ReduceSum", ["variable", "axes"], ["label"], keepdims=0),
        ],
        "scaled",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [rows, columns])],
        [
            helper.make_tensor_value_info("label", TensorProto.FLOAT, [rows]),
            helper.make_tensor_value_info("variable", TensorProto.FLOAT, [rows, columns]),
        ],
        [
            helper.make_tensor("scale", TensorProto.FLOAT, [columns], [scale] * columns),
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if not data:
        onnx.save(model, path)
        return onnx_artifact(path, (path,))
    raw = model.graph.initializer[0]
    raw.raw_data = b"".join(__import__("struct").pack("<f", scale) for _ in range(columns))
    del raw.float_data[:]
    weights = path.with_name(f"{path.stem}-weights.bin")
    onnx.save(model, path, save_as_external_data=True, location=weights.name, size_threshold=0)
    weights.chmod(0o600)
    return onnx_artifact(path, (path, weights))


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    folder = tmp_path / "artifacts"
    folder.mkdir()

    def make(name: str = "source.onnx", **kwargs) -> Artifact:
        return scaled_rows(folder / name, **kwargs)

    return make
