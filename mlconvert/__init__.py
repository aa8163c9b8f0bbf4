"""From a trained model to a verified, ready-to-serve repository.

    import mlconvert

    report = mlconvert.convert("model.txt", to="onnx", output="model.onnx", samples="rows.csv")

`bench`, `convert`, `verify` and `run` are in `mlconvert.api`; the errors they raise are in `mlconvert.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlconvert.version import __version__

if TYPE_CHECKING:
    from mlconvert.api import bench, convert, run, verify

__all__ = ["__version__", "bench", "convert", "run", "verify"]


def __getattr__(name: str) -> Any:
    # Importing the package must cost nothing: `mlconvert --help` does it too.
    if name in ("bench", "convert", "run", "verify"):
        from mlconvert import api

        return getattr(api, name)
    raise AttributeError(f"module 'mlconvert' has no attribute '{name}'")
