"""The fixtures that other tests stand on: a good repository loads, a bad one does not, and answers are compared."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mlconvert.errors import RepositoryInvalid

CONFIG = """
name: "small"
backend: "onnxruntime"
max_batch_size: 8
input { name: "x" data_type: TYPE_FP32 dims: [4] }
output { name: "y" data_type: TYPE_FP32 dims: [3] }
output { name: "sum" data_type: TYPE_FP32 dims: [1] reshape { shape: [] } }
"""


@pytest.fixture
def repository(tmp_path, small_onnx):
    version = tmp_path / "repository" / "small" / "1"
    version.mkdir(parents=True)
    shutil.copy(small_onnx, version / "model.onnx")
    (version.parent / "config.pbtxt").write_text(CONFIG)
    return tmp_path / "repository"


def test_a_repository_loads_and_answers(loads, repository, triton_server):
    import onnxruntime

    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(
        str(repository / "small" / "1" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    y, total = session.run(["y", "sum"], {"x": x})
    loads(repository, answers={"small": ({"x": x}, {"y": y, "sum": total[:, None]})})
    loads(repository)  # the root is empty again
    with pytest.raises(AssertionError, match="small over http: sum"):
        loads(repository, answers={"small": ({"x": x}, {"sum": total[:, None] + 1})})
    assert list(triton_server.root.iterdir()) == []


def test_a_bad_repository_does_not_load(loads, repository):
    config = repository / "small" / "config.pbtxt"
    config.write_text(CONFIG.replace("TYPE_FP32 dims: [4]", "TYPE_FP64 dims: [4]"))
    with pytest.raises(RepositoryInvalid, match="expects datatype TYPE_FP64 for input 'x', model provides TYPE_FP32"):
        loads(repository)
