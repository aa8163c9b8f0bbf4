"""Serving layouts on disk, one row a server. A row names a module, which is imported when the row is used.

The module has five functions:

    options(format_name) -> dict[str, Option]                      # what `--set` may say
    publish(artifact, repository, name, *, version, options, record, keep, server) -> PublishedVersion
    versions(repository, name) -> tuple[Version, ...]              # oldest first
    rollback(repository, name, version=None, *, server) -> RolledBack
    label(repository, name, put, remove, *, every, server) -> Labelled

`server` is a running server that has to take the change (`mlconvert.repositories.trials`), or None.
`mlconvert.repositories.versions` holds what they share.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from mlconvert import packages as p
from mlconvert.errors import UsageError, suggest
from mlconvert.packages import Package


@dataclass(frozen=True)
class Repository:
    name: str  # what `--to` says
    module: str
    formats: tuple[str, ...]  # of the artifacts that can be published there
    packages: tuple[Package, ...]
    title: str

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)


REPOSITORIES: tuple[Repository, ...] = (
    Repository(
        "triton",
        "mlconvert.repositories.triton",
        (
            "onnx", "openvino", "torchscript", "aotinductor", "lightgbm", "treelite", "xgboost", "tensorrt",
            "triton-python", "ensemble",
        ),
        (p.ONNX, p.TRITONCLIENT),
        title="Triton Inference Server",
    ),
)  # fmt: skip


def repository_named(name: str) -> Repository:
    """The row of that name; UsageError, with the nearest one, when there is none."""
    for row in REPOSITORIES:
        if row.name == name:
            return row
    names = [row.name for row in REPOSITORIES]
    raise UsageError(f"unknown repository layout '{name}'.{suggest(name, names)}", hint=f"layouts: {', '.join(names)}")
