"""Which TensorFlow Serving is started here: the real tensorflow_model_server where there is one, else the double."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from mlconvert import packages
from mlconvert.errors import MissingPackage

ENVIRONMENT = "MLCONVERT_TENSORFLOW_MODEL_SERVER"
PROGRAM = "tensorflow_model_server"
DOUBLE = "mlconvert.serving.tf_serving.double"


@dataclass(frozen=True)
class ModelServer:
    """`command` starts it, before its flags; `program` is the real server's file, None for the double."""

    command: tuple[str, ...]
    program: Path | None

    @property
    def is_double(self) -> bool:
        return self.program is None

    @property
    def title(self) -> str:
        """Who answers, as reports say it: `double`, or `tensorflow_model_server`."""
        return "double" if self.is_double else PROGRAM


def find_model_server(place: Path | None = None) -> ModelServer:
    """The server at `place` (the program, or a folder that holds it), of the environment, on PATH; else the double.

    Raises MissingPackage for a place that was named and holds no server, or where the double lacks TensorFlow or gRPC.
    """
    if place is not None:
        return _required(place, "--server")
    if named := os.environ.get(ENVIRONMENT):
        return _required(Path(named), ENVIRONMENT)
    if on_path := shutil.which(PROGRAM):
        return _real(Path(on_path))
    return double()


def double() -> ModelServer:
    """The double, in this interpreter. Raises MissingPackage where TensorFlow or gRPC is not installed."""
    packages.require((packages.TENSORFLOW, packages.GRPC), "the double of tensorflow_model_server")
    return ModelServer((sys.executable, "-m", DOUBLE), None)


def _required(place: Path, said_by: str) -> ModelServer:
    for path in (place, place / PROGRAM, place / "bin" / PROGRAM, place / "usr" / "bin" / PROGRAM):
        if path.is_file() and os.access(path, os.X_OK):
            return _real(path)
    raise MissingPackage(
        f"{place}, named by {said_by}, is no {PROGRAM}",
        where=str(place),
        hint=f"name the program, or leave {said_by} out: the double of mlconvert answers then",
    )


def _real(path: Path) -> ModelServer:
    program = path.absolute()
    return ModelServer((str(program),), program)
