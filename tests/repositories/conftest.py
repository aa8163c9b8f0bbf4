"""Tiny ONNX models, each with a signature of its own, and tiny SavedModels."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mlconvert import records
from mlconvert.artifact import Artifact, file_sha256
from mlconvert.onnx_model.files import onnx_artifact
from mlconvert.signature import Signature, TensorSpec
from mlconvert.tensors.rows import encode_rows

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


def graph_of(signature: Signature, path: Path) -> Artifact:
    """A model with that very signature: every output is full of ones, as long as its axes are in the inputs."""
    shapes, nodes, initializers = [], [], []

    def constant(name: str, values: list[int]) -> str:
        initializers.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def input_of(spec: TensorSpec) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(spec.name, ELEMENTS[spec.dtype], spec.shape)

    axes = {axis: (spec.name, at) for spec in signature.inputs[::-1] for at, axis in reversed([*enumerate(spec.shape)])}
    for number, spec in enumerate(signature.outputs):
        lengths = []
        for at, axis in enumerate(spec.shape):
            name = f"{number}/{at}"
            if isinstance(axis, int):
                lengths.append(constant(name, [axis]))
                continue
            source, index = axes[axis]
            nodes.append(helper.make_node("Shape", [source], [f"{name}/shape"]))
            nodes.append(helper.make_node("Gather", [f"{name}/shape", constant(f"{name}/index", [index])], [name]))
            lengths.append(name)
        if lengths:
            nodes.append(helper.make_node("Concat", lengths, [f"{number}/whole"], axis=0))
        else:
            constant(f"{number}/whole", [])
        one = helper.make_tensor(f"{number}/value", TensorProto.FLOAT, [1], [1.0])
        nodes.append(helper.make_node("ConstantOfShape", [f"{number}/whole"], [f"{number}/ones"], value=one))
        nodes.append(helper.make_node("Cast", [f"{number}/ones"], [spec.name], to=ELEMENTS[spec.dtype]))
        shapes.append(input_of(spec))
    graph = helper.make_graph(nodes, "made", [input_of(spec) for spec in signature.inputs], shapes, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return onnx_artifact(path, (path,))


ELEMENTS = {
    **{name: getattr(TensorProto, name.upper()) for name in ("bool", "string", "float16")},
    **{
        f"{sign}int{bits}": getattr(TensorProto, f"{sign}INT{bits}".upper())
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    },
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
}


@pytest.fixture
def model_of(tmp_path: Path) -> Callable[[Signature, str], Artifact]:
    """A function from a signature and a file's stem to an ONNX model that has it."""

    def make(signature: Signature, stem: str = "made") -> Artifact:
        return graph_of(signature, tmp_path / f"{stem}.onnx")

    return make


@pytest.fixture
def killed_after_each_call() -> Callable[[Path, Path, dict], int]:
    """A function that has killed_process.py kill a change after each of its calls, and gives their number."""

    def killed(start: Path, place: Path, case: dict) -> int:
        program = Path(__file__).with_name("killed_process.py")
        done = subprocess.run(
            [sys.executable, program, start, place, json.dumps(case)], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    return killed


# --- SavedModels ---

SAVED = Signature(
    (TensorSpec("x", "float32", ("batch", 4)),),
    (TensorSpec("total", "float32", ("batch",)), TensorSpec("y", "float32", ("batch", 4))),
)


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with real SavedModels `1`, `2` and `3`, named for what they multiply `x` by; made in one process."""
    folder = tmp_path_factory.mktemp("saved")
    program = Path(__file__).with_name("saved_model_process.py")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, program, "make", folder, "1", "2", "3"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return folder


def saved_copy(saved_models: Path, folder: Path, *, scale: float = 1.0, record: bool = False) -> Artifact:
    """A SavedModel that multiplies by 1, 2 or 3, or by another number as far as its files and its record say."""
    real = saved_models / f"{scale:g}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(real if real.is_dir() else saved_models / "1", folder)
    if not real.is_dir():
        (folder / "assets").mkdir(exist_ok=True)
        (folder / "assets/scale.txt").write_text(f"{scale:g}\n")
    main = folder / "saved_model.pb"
    others = sorted(path for path in folder.rglob("*") if path.is_file() and path != main)
    artifact = Artifact("saved-model", str(main), (main, *others), SAVED)
    if record:
        x = np.arange(8, dtype=np.float32).reshape(2, 4)
        described = records.described_files(
            artifact, {path.relative_to(folder).as_posix(): file_sha256(path) for path in artifact.files}
        )
        rows = encode_rows({"x": x}, {"y": x * scale, "total": (x * scale).sum(1)}, count=2, limit=1 << 20)
        written = {
            "schema": records.SCHEMA, "format": "saved-model", "path": main.name, "files": described,
            "sha256": records.total_sha256(described), "signature": SAVED.as_json(), "rows": rows,
        }  # fmt: skip
        records.write_json(folder / records.IN_FOLDER, written)
    return artifact


@pytest.fixture
def make_saved(saved_models: Path, tmp_path: Path) -> MakeModel:
    """A function from a scale (and `name`, `record`) to a SavedModel's artifact."""

    def make(scale: float = 1.0, *, name: str | None = None, record: bool = False) -> Artifact:
        folder = tmp_path / "artifacts" / (name or f"saved-{scale:g}")
        folder.parent.mkdir(exist_ok=True)
        return saved_copy(saved_models, folder, scale=scale, record=record)

    return make
