"""AOTInductor packages (.pt2): what they say of themselves, read from the archive without loading a line of their code.

A package has no names: its tensors go by their places, as Triton's pytorch backend calls them. `exported-program ->
aotinductor` leaves the signature in the package's own metadata.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.signature import Signature

KEY = "mlconvert"  # in the metadata


def package_metadata(path: Path) -> dict[str, str]:
    """What the compiler noted in a package (device, instruction set, PyTorch's platform), and mlconvert's own part.

    Raises ConversionFailed for a file that is no package, or a damaged one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                name
                for name in archive.namelist()
                if "/data/aotinductor/" in name and name.endswith("wrapper_metadata.json")
            ]
            if len(names) != 1:
                what = "not an AOTInductor package" if not names else f"a package of {len(names)} models"
                raise ConversionFailed(what, where=str(path), hint="compile one model with mlconvert: --to aotinductor")
            told = json.loads(archive.read(names[0]))
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        what = f"not an AOTInductor package, or a damaged one: {error}"
        raise ConversionFailed(what, where=str(path), hint="check that the file was copied whole") from error
    if not isinstance(told, dict):
        raise ConversionFailed("a damaged AOTInductor package: its metadata are no table", where=str(path))
    return {str(key): str(value) for key, value in told.items()}


def package_note(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What mlconvert left in a package: its signature, and the machine that it was compiled on; empty where it did not.

    Raises ConversionFailed where that is damaged.
    """
    try:
        told = json.loads(metadata.get(KEY) or "{}")
    except (ValueError, RecursionError) as error:
        raise ConversionFailed(f"a damaged AOTInductor package: {error}") from error
    if not isinstance(told, dict):
        raise ConversionFailed("a damaged AOTInductor package: mlconvert's part of its metadata is no table")
    return told


def package_signature(path: Path) -> Signature | None:
    """The signature that mlconvert left in a package; None where another tool made it."""
    told = package_note(package_metadata(path))
    try:
        return Signature.from_json(told["signature"]) if told else None
    except (KeyError, TypeError, ValueError) as error:
        raise ConversionFailed(f"a damaged AOTInductor package: {error}", where=str(path)) from error


def built_for(metadata: Mapping[str, str], torch_version: str) -> dict[str, Any]:
    """The hardware and the PyTorch that a package needs, for a record's facts."""
    device = metadata.get("AOTI_DEVICE_KEY", "cpu")
    parts = [
        metadata.get("AOTI_PLATFORM", ""),
        metadata.get("AOTI_MACHINE", ""),
        metadata.get("AOTI_CPU_ISA", "") if device == "cpu" else "",
        f"compute capability {metadata['AOTI_COMPUTE_CAPABILITY']}" if metadata.get("AOTI_COMPUTE_CAPABILITY") else "",
    ]
    return {"device": device, "built_for": " ".join(filter(None, (device, *parts))), "torch": torch_version}


@contextlib.contextmanager
def compiler_scratch(folder: Path) -> Iterator[None]:
    """Have the compiler keep everything in the folder: by itself it fills /tmp, and never empties it."""
    names = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TMPDIR")
    before: dict[str, Any] = {name: os.environ.get(name) for name in names}
    temporary = tempfile.tempdir
    try:
        for name in names:
            os.environ[name] = str(folder)
        tempfile.tempdir = str(folder)
        yield
    finally:
        tempfile.tempdir = temporary
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
