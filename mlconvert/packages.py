"""The packages that steps need: what is installed, in which version, and how to get what is not.

Nothing here imports a package to find out: `importlib.util.find_spec` and `importlib.metadata` look at files.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

from mlconvert.errors import MissingPackage


@dataclass(frozen=True)
class Package:
    """A package's import name, the names pip may have installed it under, and mlconvert's extra that brings it."""

    module: str
    distributions: tuple[str, ...]
    extra: str | None = None  # None: part of the base install


CATBOOST = Package("catboost", ("catboost",), "catboost")
LIGHTGBM = Package("lightgbm", ("lightgbm",), "lightgbm")
LIGHTGBM_ONNX = Package("onnxmltools", ("onnxmltools",), "lightgbm")
NUMPY = Package("numpy", ("numpy",))
ONNX = Package("onnx", ("onnx",))
ONNXRUNTIME = Package("onnxruntime", ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"))
ONNXSCRIPT = Package("onnxscript", ("onnxscript",))
ONNXSIM = Package("onnxsim", ("onnxsim",), "simplify")
ONNXSLIM = Package("onnxslim", ("onnxslim",))
PANDAS = Package("pandas", ("pandas",), "sklearn")
PYARROW = Package("pyarrow", ("pyarrow",), "parquet")
SAFETENSORS = Package("safetensors", ("safetensors",), "torch")
SKL2ONNX = Package("skl2onnx", ("skl2onnx",), "sklearn")
SKLEARN = Package("sklearn", ("scikit-learn",), "sklearn")
SKOPS = Package("skops", ("skops",), "sklearn")
TORCH = Package("torch", ("torch",), "torch")
TRITONCLIENT = Package("tritonclient", ("tritonclient",), "triton")
XGBOOST = Package("xgboost", ("xgboost", "xgboost-cpu"), "xgboost")
XGBOOST_ONNX = Package("onnxmltools", ("onnxmltools",), "xgboost")

ALL: tuple[Package, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Package))


def installed(package: Package) -> bool:
    return importlib.util.find_spec(package.module) is not None


def version(package: Package) -> str | None:
    """The installed version, or None when the package is not installed."""
    from importlib import metadata

    for name in package.distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def versions(packages: Iterable[Package]) -> dict[str, str]:
    """The versions of those that are installed, by the name that pip knows them under."""
    found = {package.distributions[0]: version(package) for package in sorted(packages, key=lambda p: p.module)}
    return {name: number for name, number in found.items() if number is not None}


def install_command(packages: Iterable[Package]) -> str:
    """The pip command that brings the packages, through mlconvert's extras where there are some."""
    extras = sorted({package.extra for package in packages if package.extra})
    if extras:
        return f"pip install 'mlconvert[{','.join(extras)}]'"
    return "pip install " + " ".join(sorted(package.distributions[0] for package in packages))


def require(packages: Iterable[Package], what: str) -> None:
    """Raise MissingPackage, with the install command, unless all the packages are there."""
    missing = [package for package in packages if not installed(package)]
    if missing:
        names = ", ".join(dict.fromkeys(package.distributions[0] for package in missing))
        raise MissingPackage(f"{what} needs {names}, not installed here", hint=install_command(missing))
