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
from pathlib import Path
from types import ModuleType

from mlconvert import packages as p
from mlconvert.errors import RepositoryInvalid, UsageError, suggest
from mlconvert.packages import Package


@dataclass(frozen=True)
class Repository:
    name: str  # what `--to` says
    module: str
    formats: tuple[str, ...]  # of the artifacts that can be published there
    packages: tuple[Package, ...]
    title: str
    signs: tuple[str, ...]  # patterns of files that only a repository of this kind has
    in_stores: bool = False  # whether it can be in an object store

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
        signs=("*/config.pbtxt", "config.pbtxt"),
        in_stores=True,
    ),
    Repository(
        "tf-serving",
        "mlconvert.repositories.tf_serving",
        ("saved-model",),
        (),
        title="TensorFlow Serving",
        signs=("models.config", "*/[0-9]*/saved_model.pb", "[0-9]*/saved_model.pb", "saved_model.pb"),
    ),
)  # fmt: skip


def repository_named(name: str) -> Repository:
    """The row of that name; UsageError, with the nearest one, when there is none."""
    for row in REPOSITORIES:
        if row.name == name:
            return row
    names = [row.name for row in REPOSITORIES]
    raise UsageError(f"unknown repository layout '{name}'.{suggest(name, names)}", hint=f"layouts: {', '.join(names)}")


def check_store(row: Repository, place: object) -> None:
    """Raise UsageError where the place is in an object store, and the layout cannot be."""
    if not isinstance(place, Path) and not row.in_stores:
        raise UsageError(
            f"{place} is in an object store, where mlconvert has no repositories of {row.title}",
            hint="publish into a folder, and copy that: the versions first, models.config last",
        )


def repository_in(folder: Path) -> Repository | None:
    """The row of the repository in a folder, told by its files; None where they do not tell.

    Raises RepositoryInvalid where they tell of two.
    """
    found = {row.name: sign for row in REPOSITORIES for sign in row.signs if next(folder.glob(sign), None) is not None}
    if len(found) > 1:
        listed = " and ".join(f"{repository_named(name).title} ({sign})" for name, sign in found.items())
        raise RepositoryInvalid(
            f"the folder has files of {listed}: it cannot be the repository of both",
            where=str(folder),
            hint="keep the models of each server in a folder of their own",
        )
    return repository_named(next(iter(found))) if found else None
