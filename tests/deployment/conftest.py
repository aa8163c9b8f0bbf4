"""Repositories as their configurations describe them: nothing here looks into a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ONNX = 'name: "{name}"\nbackend: "onnxruntime"\nmax_batch_size: 8\n'
TENSORS = """input {{ name: "x" data_type: TYPE_FP32 dims: [4] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [1] }}
"""

CONFIGS: dict[str, str] = {
    "churn": ONNX + TENSORS + "instance_group {{ kind: KIND_CPU count: 2 }}\n",
    "price": ONNX + TENSORS + "dynamic_batching {{ max_queue_delay_microseconds: 2500 }}\n",
    "vision": 'name: "{name}"\nbackend: "tensorrt"\nmax_batch_size: 8\n' + TENSORS,
    "words": ONNX + TENSORS + "instance_group {{ kind: KIND_GPU count: 1 }}\n",
    "forecast": 'name: "{name}"\nbackend: "python"\nmax_batch_size: 0\n' + TENSORS,
    "compiled": 'name: "{name}"\nplatform: "torch_aoti"\nmax_batch_size: 0\n' + TENSORS,
}

Repository = Callable[..., Path]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A function that makes a repository `models` with the named models, each with a version 1."""

    def make(*names: str, requirements: dict[str, str] | None = None, folder: str = "models") -> Path:
        root = tmp_path / folder
        for name in names:
            version = root / name / "1"
            version.mkdir(parents=True)
            (root / name / "config.pbtxt").write_text(CONFIGS[name].format(name=name))
            if text := (requirements or {}).get(name):
                (version / "requirements.txt").write_text(text)
        return root

    return make
