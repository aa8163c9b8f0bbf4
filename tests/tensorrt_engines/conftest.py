"""TensorRT's double, for this process and for the children of a run."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from mlconvert.artifact import Artifact
from mlconvert.onnx_model.files import onnx_artifact, write_onnx

DOUBLE = Path(__file__).parent / "double"


@pytest.fixture
def double(tmp_path, monkeypatch) -> Iterator[Path]:
    """TensorRT 11.4 on a GPU of compute capability 9.0, as far as mlconvert can tell; the file that builds write to."""
    from mlconvert.readers import cuda_memory

    info = tmp_path / "double" / "tensorrt_cu13-11.4.0.106.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tensorrt-cu13\nVersion: 11.4.0.106\n")
    paths = [str(DOUBLE), str(tmp_path / "double")]
    sys.path[:0] = paths  # not by monkeypatch, which would take back what libraries add meanwhile
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, str(Path(__file__).parents[2])]))
    asked = tmp_path / "asked.json"
    monkeypatch.setenv("DOUBLE_ASKED", str(asked))
    monkeypatch.setattr(cuda_memory, "load_driver", cuda_memory.load_driver)  # which the double replaces
    sys.modules.pop("tensorrt", None)
    importlib.invalidate_caches()
    yield asked
    sys.modules.pop("tensorrt", None)
    for path in paths:
        sys.path.remove(path)


@pytest.fixture
def model(tmp_path) -> Callable[..., Artifact]:
    """A function from the text of a graph to an ONNX artifact; `weights` become initializers."""

    def made(text: str, *, opsets: str = '"" : 18', **weights: np.ndarray) -> Artifact:
        proto = onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{opsets}]>\n{text}")
        proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in weights.items())
        path = tmp_path / "source.onnx"
        return onnx_artifact(path, write_onnx(proto, path))

    return made
