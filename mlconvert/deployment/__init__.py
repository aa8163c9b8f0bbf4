"""Deployment files for a model repository: what starts its server, closed to everything but the services beside it.

A row names a module, which is imported when the row is used. The module has one function:

    files(deployment, folder, *, option=default, …) -> dict[str, str]    # path below the folder -> text

Its keyword-only parameters are the target's options. `mlconvert.deployment.folder` writes the files.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType

from mlconvert.errors import UsageError, suggest


@dataclass(frozen=True)
class Target:
    name: str  # what `--to` says
    module: str
    title: str

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)


TARGETS: tuple[Target, ...] = (
    Target("compose", "mlconvert.deployment.compose", "Docker Compose"),
    Target("kubernetes", "mlconvert.deployment.kubernetes", "Kubernetes"),
)


def target_named(name: str) -> Target:
    """The row of that name; UsageError, with the nearest one, when there is none."""
    for row in TARGETS:
        if row.name == name:
            return row
    names = [row.name for row in TARGETS]
    raise UsageError(f"unknown deployment target '{name}'.{suggest(name, names)}", hint=f"targets: {', '.join(names)}")
