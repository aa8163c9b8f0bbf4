"""From what a user names to the model's main file: the file, a folder with one model, a version in a repository."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlconvert.errors import UsageError, suggest

RECORD = "record.json"
SERVED = "model.py"
SERVED_MARK = b"# mlconvert triton-python/"  # as mlconvert.formats.served_python has it, of any version

# What a model's main file is called in a folder that mlconvert or a server wrote; in the order in which they are tried.
MAIN_NAMES = (
    "ensemble.json",
    "saved_model.pb",
    "model.onnx",
    "model.xml",
    "model.plan",
    "model.txt",
    "checkpoint.tl",
    "model.ubj",
    "model.json",
    "xgboost.ubj",
    "xgboost.json",
    "model.cbm",
    "model.pmml",
    "model.jar",
    "model.keras",
    "model.tflite",
    "model.skops",
    "model.pt2",
    "model.pt",
    "model.pkl",
    "model.joblib",
)


def resolve(location: str) -> Path:
    """The model's main file for a file, or for a folder: as its record.json says, else by its conventional name.

    A model's folder in a repository gives its newest version, and `model.onnx/` (Triton's form for a model with
    external data) the file inside. A folder that is a model itself, or holds none, is returned as it is.
    Raises UsageError when nothing is there, with the nearest name in that folder, and for a folder with several models.
    """
    path = Path(location)
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise UsageError(f"'{location}' is not a valid path: {error}", where=location) from error
    if not exists:
        raise _missing(path)
    if not path.is_dir():
        if not path.is_file():
            raise UsageError(f"{path} is not a file", where=location)
        return path
    return _main_in(path) or path


def _main_in(folder: Path) -> Path | None:
    recorded = _recorded(folder)
    if recorded:
        return recorded
    if _is_served(folder / SERVED):
        return folder / SERVED
    mains = [folder / name for name in MAIN_NAMES if (folder / name).exists()]
    if len(mains) > 1:
        names = ", ".join(main.name for main in mains)
        raise UsageError(f"{folder} holds several models: {names}", where=str(folder), hint="name one of the files")
    if mains:
        return mains[0] if mains[0].is_file() else _main_in(mains[0])
    # Servers compare versions as numbers, and give 010 no meaning.
    versions = [entry for entry in folder.iterdir() if entry.name.isdecimal() and str(int(entry.name)) == entry.name]
    for version in sorted(versions, key=lambda entry: int(entry.name), reverse=True):
        if version.is_dir():
            return _main_in(version)
    return None


def _is_served(path: Path) -> bool:
    """Whether that is a model.py that serves the model beside it: then it is the folder's main file, not that one."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(SERVED_MARK)) == SERVED_MARK
    except OSError:
        return False


def _recorded(folder: Path) -> Path | None:
    """The main file that the folder's record names, when there is a record of ours."""
    try:
        record: Any = json.loads((folder / RECORD).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / RECORD} cannot be read: {error}", where=str(folder / RECORD)) from error
    name = _main_name(record)
    if name is None:
        return None
    main = folder / name
    if not main.resolve().is_relative_to(folder.resolve()) or not main.exists():
        raise UsageError(
            f"{RECORD} names '{name}', which is not in the folder", where=str(folder / RECORD),
            hint="convert the model again, or name the model's file itself",
        )  # fmt: skip
    return main


def _main_name(record: Any) -> str | None:
    """The record's main file; None for JSON of someone else's."""
    path = record.get("path") if isinstance(record, dict) else None
    return path if isinstance(path, str) and path else None


def _missing(path: Path) -> UsageError:
    near, hint = "", None
    if path.parent.is_dir():
        near = suggest(path.name, [entry.name for entry in path.parent.iterdir()])
    else:
        hint = f"there is no folder {path.parent}"
    return UsageError(f"{path} does not exist.{near}", where=str(path), hint=hint)
