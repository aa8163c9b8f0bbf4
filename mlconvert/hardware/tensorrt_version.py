"""Which TensorRT a process here would load: that of the Python package, else the newest library that the loader finds.

A serving container has the library and mostly no Python package.
"""

from __future__ import annotations

import ctypes
import importlib
import platform
from typing import Any

from mlconvert.hardware.readings import Library, Unreadable, gather, version

MAJORS = (11, 10, 9, 8)  # newest first
LIBRARIES = {"Linux": "libnvinfer.so.{}", "Windows": "nvinfer_{}.dll"}
PARTS = ("Major", "Minor", "Patch", "Build")


def find() -> None:
    """Nothing is looked for ahead: loading the library to see whether it is there costs as much as asking it."""
    if platform.system() not in LIBRARIES:
        raise Unreadable(f"TensorRT does not run on {platform.system()}")


def read(_: None = None) -> Library:
    """The version, in the field of that name."""
    return Library(system=gather({"version": _version}))


def _version() -> str:
    try:
        return version(str(importlib.import_module("tensorrt").__version__))
    except ModuleNotFoundError as error:
        why = f"no Python package: {error}"
    except Exception as error:  # noqa: BLE001 - its import loads libraries, and fails in their words
        why = f"the Python package tensorrt cannot be imported: {error}"
    try:
        return _of_library()
    except Unreadable as error:
        raise Unreadable(f"{why}; {error}") from error


def _of_library() -> str:
    name = LIBRARIES[platform.system()]
    for major in MAJORS:
        try:
            library: Any = ctypes.CDLL(name.format(major))
        except OSError:
            continue
        try:
            return ".".join(str(getattr(library, f"getInferLib{part}Version")()) for part in PARTS)
        except AttributeError as error:
            raise Unreadable(f"{name.format(major)} does not tell its four numbers") from error
    raise Unreadable(f"no {name.format('*')}")
