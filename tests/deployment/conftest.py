"""Repositories as their configurations describe them: what is in a model is only looked at by lint."""

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


# --- of TensorFlow Serving ---

ENTRY = """  config {{
    name: "{name}"
    base_path: "{mount}/{name}"
    model_platform: "tensorflow"
{labels}  }}
"""


def saved_model() -> bytes:
    """A SavedModel that adds nothing to its input, as far as its graph says."""
    from mlconvert.serving.tf_serving.messages import DATA_TYPES, message

    saved = message("SavedModel")(saved_model_schema_version=1)
    graph = saved.meta_graphs.add()
    graph.meta_info_def.tags.append("serve")
    graph.meta_info_def.tensorflow_version = "2.21.0"
    graph.graph_def.node.add(name="x", op="Placeholder")
    definition = graph.signature_def["serving_default"]
    definition.method_name = "tensorflow/serving/predict"
    for side in (definition.inputs, definition.outputs):
        side["x"].name = "x:0"
        side["x"].dtype = DATA_TYPES["DT_FLOAT"]
        for length in (-1, 4):
            side["x"].tensor_shape.dim.add(size=length)
    return bytes(saved.SerializeToString())


@pytest.fixture
def served(tmp_path: Path) -> Repository:
    """A function that makes a repository of TensorFlow Serving, each model with a version 1."""

    def make(
        *names: str,
        mount: str = "/models",
        labels: str = "",
        monitoring: str | None = None,
        batching: bool = False,
        folder: str = "models",
    ) -> Path:
        root = tmp_path / folder
        for name in names:
            version = root / name / "1"
            version.mkdir(parents=True)
            (version / "saved_model.pb").write_bytes(saved_model())
        entries = "".join(ENTRY.format(name=name, mount=mount, labels=labels) for name in names)
        (root / "models.config").write_text(f"model_config_list {{\n{entries}}}\n")
        if monitoring is not None:
            (root / "monitoring.config").write_text(f"prometheus_config {{ {monitoring} }}\n")
        if batching:
            (root / "batching.config").write_text("max_batch_size { value: 64 }\n")
        return root

    return make
