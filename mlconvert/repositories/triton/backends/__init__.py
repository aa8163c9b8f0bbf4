"""Triton's backends that artifacts are published for, one row each. A row names a module, imported when it is used.

The module has

    ABILITIES                                                 # what the sections and the linter know of it
    SECTIONS                                                  # what its configurations are made of, and their options
    describe(signature, name, *, artifact=None, record=None, repository=None, **options) -> Description
    placed_files(artifact) -> dict[str, Path]                 # path in the version folder -> source, main file first
    signature_of(artifact) -> Signature                       # as the server's clients see the model
    published_signature(version_folder, config=None) -> Signature | None
    misfits(config, signature, name) -> list[Contradiction]

`SECTIONS` are functions `section(draft, *, option: Annotated[type, "help"] = default, …) -> None`, which
`mlconvert.repositories.triton.description.describer` calls in that order; their keyword-only parameters are the options
of publishing. `published_signature` is None where there is no model, or where the backend's files cannot be read
without its framework: never a guess.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mlconvert.errors import UsageError


@dataclass(frozen=True)
class Backend:
    name: str  # as config.pbtxt says it
    platforms: tuple[str, ...]  # what config.pbtxt may say in its place
    model_file: str  # the default name in a version folder
    formats: tuple[str, ...]  # of the artifacts that it serves
    module: str
    title: str

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)


_HERE = "mlconvert.repositories.triton.backends"

BACKENDS: tuple[Backend, ...] = (
    Backend("onnxruntime", ("onnxruntime_onnx",), "model.onnx", ("onnx",), f"{_HERE}.onnxruntime", "ONNX Runtime"),
    Backend("openvino", (), "model.xml", ("openvino",), f"{_HERE}.openvino", "OpenVINO"),
    Backend(
        "pytorch",
        ("pytorch_libtorch", "torch_aoti"),
        "model.pt",
        ("torchscript", "aotinductor"),
        f"{_HERE}.pytorch",
        "PyTorch (LibTorch, AOTInductor)",
    ),
    Backend("fil", (), "model.txt", ("lightgbm", "treelite", "xgboost"), f"{_HERE}.fil", "FIL, forests"),
    Backend("tensorrt", ("tensorrt_plan",), "model.plan", ("tensorrt",), f"{_HERE}.tensorrt", "TensorRT"),
    Backend("python", (), "model.py", ("triton-python",), f"{_HERE}.python", "Python, a generated model.py"),
    Backend("ensemble", ("ensemble",), "ensemble.json", ("ensemble",), f"{_HERE}.ensemble", "an ensemble of models"),
)


def backend_for(format_name: str) -> Backend:
    """What serves artifacts of that format: the first row that takes it. Raises UsageError when there is none."""
    for row in BACKENDS:
        if format_name in row.formats:
            return row
    raise UsageError(
        f"an artifact of the format '{format_name}' cannot be published to Triton",
        hint=f"convert it first: mlconvert convert … --to {BACKENDS[0].formats[0]}",
    )


def backend_of(config: Any) -> Backend | None:
    """What a configuration asks for; None for a backend that is not in the table."""
    for row in BACKENDS:
        if config.backend == row.name or (not config.backend and config.platform in row.platforms):
            return row
    return None
