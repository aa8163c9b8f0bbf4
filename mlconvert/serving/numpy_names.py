"""Run at the start of a server's Python, where it has numpy 1.26: pickles that numpy 2 wrote name `numpy._core`.

numpy 1.26 has the same modules under `numpy.core`, and only a few of them under the newer name. The file is copied to
that Python, so that it knows nothing of mlconvert.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType

NEW, OLD = "numpy._core.", "numpy.core."


class _Renamed:
    """Finds what numpy itself did not: it stands behind Python's own finders."""

    def find_spec(
        self,
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG002 - the shape that Python wants
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name.startswith(NEW) else None  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return importlib.import_module(OLD + spec.name.removeprefix(NEW))

    def exec_module(self, module: ModuleType) -> None:
        """It ran under its own name."""


sys.meta_path.append(_Renamed())
