"""Deployment files for a model repository: what starts its server, closed to everything but the services beside it.

A server has a package here, with one function:

    looked_at(repository, *, name, release, image) -> Described     # refuses what no server could be started for

A row names a module of that package, which is imported when the row is used. The module has one function:

    files(deployment, folder, *, option=default, …) -> dict[str, str]    # path below the folder -> text

Its keyword-only parameters are the target's options. `mlconvert.deployment.folder` writes the files.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from mlconvert.errors import UsageError, suggest


class Described(Protocol):
    """What every server's description has. `lint_release` is what the rules of its repositories are asked for."""

    @property
    def name(self) -> str: ...
    @property
    def image(self) -> str: ...
    @property
    def models(self) -> Sequence[Any]: ...
    @property
    def lint_release(self) -> str | None: ...


@dataclass(frozen=True)
class Target:
    server: str  # the name of its repositories' layout
    name: str  # what `--to` says
    module: str

    def load(self) -> ModuleType:
        return importlib.import_module(self.module)

    def load_server(self) -> ModuleType:
        return importlib.import_module(self.module.rpartition(".")[0])


TARGETS: tuple[Target, ...] = (
    Target("triton", "compose", "mlconvert.deployment.triton.compose"),
    Target("triton", "kubernetes", "mlconvert.deployment.triton.kubernetes"),
    Target("tf-serving", "compose", "mlconvert.deployment.tf_serving.compose"),
    Target("tf-serving", "kubernetes", "mlconvert.deployment.tf_serving.kubernetes"),
)


def target_named(name: str, server: str) -> Target:
    """The row of that name for a server; UsageError, with the nearest one, when there is none."""
    rows = {row.name: row for row in TARGETS if row.server == server}
    if name in rows:
        return rows[name]
    names = list(rows)
    raise UsageError(f"unknown deployment target '{name}'.{suggest(name, names)}", hint=f"targets: {', '.join(names)}")
