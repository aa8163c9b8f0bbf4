"""The zip files that PyTorch writes, told apart by what is in them, and read: .pt2, TorchScript, state_dicts."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed, MissingPackage

if TYPE_CHECKING:
    import torch

Kind = Literal["exported-program", "aotinductor", "torchscript", "state-dict", "other"]

_TITLES: dict[Kind, str] = {
    "exported-program": "an ExportedProgram (torch.export.save)",
    "aotinductor": "compiled native code (AOTInductor), which cannot be converted",
    "torchscript": "TorchScript (torch.jit.save)",
    "state-dict": "weights or a pickle (torch.save)",
    "other": "no archive of PyTorch's",
}
_HINTS: dict[Kind, str] = {
    "exported-program": "--from exported-program",
    "aotinductor": "convert the model that it was compiled from",
    "torchscript": "--from torchscript",
    "state-dict": "give the factory that builds the model: module:factory, with this file as its weights",
    "other": "check that the file was copied whole",
}


def archive_kind(path: Path) -> Kind:
    """What a zip of PyTorch's holds. Raises ConversionFailed when the file is no zip, or a damaged one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = ["/".join(name.split("/")[1:]) for name in archive.namelist()]
            top = archive.namelist()
    except OSError as error:
        raise ConversionFailed(f"cannot read the file: {error.strerror or error}", where=str(path)) from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        what = "not an archive of PyTorch's, or one that is cut off or damaged"
        raise ConversionFailed(what, where=str(path), hint="check that the file was copied whole") from error
    if any(name.startswith("data/aotinductor/") for name in names):
        return "aotinductor"
    if any(re.fullmatch(r"models/[^/]+\.json", name) for name in names) or "serialized_exported_program.json" in top:
        return "exported-program"
    if any(name.startswith("code/") for name in names):
        return "torchscript"
    return "state-dict" if "data.pkl" in names else "other"


def load_exported_program(artifact: Artifact) -> torch.export.ExportedProgram:
    """The program in a .pt2 file.

    Raises ConversionFailed for anything else, and, unless the artifact is trusted, for a file whose constants are
    pickles that could run code; MissingPackage where the program returns types of a package that is not installed.
    """
    import torch

    path = artifact.path
    _expect(path, "exported-program")
    if not artifact.trusted:
        _refuse_objects(path)
    _register_output_types(path)
    try:
        with _no_pickled_code(artifact.trusted), quiet_torch():
            return torch.export.load(path)
    except MemoryError:
        raise
    except Exception as error:
        if "weights_only" in str(error) or "Weights only" in str(error):
            what = "the file holds pickled objects: loading them could run code"
            raise ConversionFailed(what, where=str(path), hint="add --trust if you made the file yourself") from error
        lines = str(error).strip().splitlines()
        what = f"torch.export.load failed: {type(error).__name__}: {lines[0] if lines else ''}"
        raise ConversionFailed(what, where=str(path)) from error


def load_torchscript(artifact: Artifact) -> torch.jit.ScriptModule:
    """The module in a TorchScript file, in eval mode and on the CPU. Raises ConversionFailed for anything else."""
    import torch

    path = artifact.path
    _expect(path, "torchscript")
    try:
        with quiet_torch():
            return torch.jit.load(str(path), map_location="cpu").eval()
    except MemoryError:
        raise
    except Exception as error:
        lines = [line for line in str(error).strip().splitlines() if line.strip()]
        what = f"torch.jit.load failed: {lines[0] if lines else type(error).__name__}"
        raise ConversionFailed(what, where=str(path)) from error


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """Silence what torch says of its own insides while it loads and exports; the user's models may still warn.

    Its loggers tell of packages it looked for and operators it rewrote; what matters of that is checked on the result.
    """
    import logging

    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            for category, message in _NOISE:
                warnings.filterwarnings("ignore", message=message, category=category)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_NOISE: tuple[tuple[type[Warning], str], ...] = (
    # torch 2.13 uses its own deprecated names while it exports.
    (FutureWarning, r".*isinstance\(treespec, LeafSpec\)"),
    (FutureWarning, r".*_check_is_size will be removed"),
    # torch.export of nn.LSTM and nn.GRU; the exporter's own decomposition puts the weights back.
    (UserWarning, r"The tensor attributes? .*_flat_weights"),
    # TorchScript and its exporter are deprecated as a whole: that is why they have a route of their own here.
    (DeprecationWarning, r".*`?torch\.jit\.\w+`? is (deprecated|not supported)"),
    (FutureWarning, r".*`?torch\.jit\.\w+`? is (deprecated|not supported)"),
    (DeprecationWarning, r".*legacy TorchScript-based ONNX export"),
    # Its warning of LSTMs dates from when initial states were constants; dynamic axes are checked on the result.
    (UserWarning, r"Exporting a model to ONNX with a batch_size other than 1"),
    (UserWarning, r"no signature found for <torch\.ScriptMethod"),
    (DeprecationWarning, r"The feature will be removed\. Please remove usage of this function"),
)


def _expect(path: Path, kind: Kind) -> None:
    found = archive_kind(path)
    if found != kind:
        raise ConversionFailed(
            f"not {_TITLES[kind]}: the file holds {_TITLES[found]}", where=str(path), hint=_HINTS[found]
        )


def _refuse_objects(path: Path) -> None:
    """Raise ConversionFailed when constants are objects of C++ or Python: torch unpickles them without any check."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if re.fullmatch(r"[^/]+/data/(constants|weights)/[^/]+_config\.json", name):
                    payloads = json.loads(archive.read(name))["config"]
                    objects = [key for key, value in payloads.items() if _is_object(value["path_name"])]
                    if objects:
                        what = f"the constant '{objects[0]}' is a pickled object: loading it could run code"
                        hint = "add --trust if you made the file yourself"
                        raise ConversionFailed(what, where=str(path), hint=hint)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ConversionFailed(f"a damaged .pt2 file: {type(error).__name__}: {error}", where=str(path)) from error


def _register_output_types(path: Path) -> None:
    """Import the modules of transformers whose classes the program returns: torch knows them only after that."""
    with zipfile.ZipFile(path) as archive:
        graphs = [name for name in archive.namelist() if re.search(r"(^|/)models/[^/]+\.json$", name)]
        text = b"".join(archive.read(name) for name in graphs).decode(errors="replace")
    for name in sorted(set(re.findall(r'\\"type\\": \\"(transformers(?:\.\w+)+)\.\w+\\"', text))):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            what = f"the program returns a class of '{name}', which is not installed here"
            raise MissingPackage(what, where=str(path), hint="pip install transformers") from error


def _is_object(file_name: str) -> bool:
    return not file_name.startswith(("weight_", "tensor_"))


@contextlib.contextmanager
def _no_pickled_code(trusted: bool) -> Iterator[None]:
    """Hold torch.load to plain tensors even where torch.export.load asks it for more."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    if not trusted:
        os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
