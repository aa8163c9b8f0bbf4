"""PyTorch modules from a factory: `package.module:factory` or `path/file.py:factory`, and a file of weights.

The factory is the user's own code; it takes no arguments and returns an `nn.Module`. What else of the user's code
it imported is told by `local_dependencies`, as a compiler tells of the headers that it read.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mlconvert.artifact import Artifact, file_sha256
from mlconvert.errors import ConversionFailed, MissingPackage, OutOfResources, UsageError, suggest

if TYPE_CHECKING:
    import torch


def load_module(artifact: Artifact) -> torch.nn.Module:
    """The module that the artifact's factory builds, with its weights, in eval mode and on the CPU.

    Raises UsageError where the factory cannot be found or is not one, MissingPackage where its file imports what is
    not installed, ConversionFailed where it raises or where the weights do not fit.
    """
    import torch

    from mlconvert.readers.torch_weights import load_weights, unloaded

    where = artifact.location
    source, separator, name = where.rpartition(":")
    if not separator or not source or not name:
        raise UsageError(
            "a torch model is given as the factory that builds it",
            where=where,
            hint="module:factory or file.py:factory",
        )
    with _import_folder(source):
        factory = _factory(_import(source, where), name, where)
        module = _call(factory, name, where)
    if not isinstance(module, torch.nn.Module):
        what = f"the factory '{name}' returned {_kind(module)}, not a torch.nn.Module"
        raise UsageError(what, where=where, hint=f"end '{name}' with `return model`")
    if len(artifact.files) > 1:
        raise UsageError(f"one file of weights was expected, not {len(artifact.files)}", where=where)
    if artifact.files:
        load_weights(module, artifact.files[0])
    if missing := unloaded(module):
        what = f"{len(missing)} tensors of the model have no data (device 'meta'), the first is '{missing[0]}'"
        raise ConversionFailed(what, where=where, hint="give the weights, or build the model on the CPU")
    if any(tensor.device.type != "cpu" for tensor in (*module.parameters(), *module.buffers())):
        module = module.cpu()
    # Nothing is trained here, and without gradients torch.export of nn.LSTM has nothing to warn of.
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module.eval()


def local_dependencies() -> dict[str, str]:
    """The files of the imported modules that are neither installed, nor Python's, nor mlconvert's: path -> sha256."""
    installed = [Path(path).resolve() for path in _installed_folders()]
    found = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str):
            continue
        path = Path(file).resolve()
        if {"site-packages", "dist-packages"} & set(path.parts) or any(map(path.is_relative_to, installed)):
            continue
        if path.is_file():
            found[str(path)] = file_sha256(path)
    return dict(sorted(found.items()))


def _installed_folders() -> set[str]:
    paths = sysconfig.get_paths()
    folders = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    # A virtual environment's stdlib is that of the interpreter it was made from.
    folders |= {str(Path(inspect.__file__).parent), str(Path(__file__).parents[1]), site.getusersitepackages()}
    return folders


# --- the factory ---


def _is_file(source: str) -> bool:
    return source.endswith(".py") or "/" in source


@contextlib.contextmanager
def _import_folder(source: str) -> Iterator[None]:
    """While a factory's file is run, its folder comes first on sys.path, as it does for `python file.py`."""
    before = list(sys.path)
    if _is_file(source):
        sys.path.insert(0, str(Path(source).resolve().parent))
    try:
        yield
    finally:
        sys.path[:] = before


def _import(source: str, where: str) -> ModuleType:
    try:
        return _import_file(Path(source), where) if _is_file(source) else importlib.import_module(source)
    except ModuleNotFoundError as error:
        missing = error.name or source
        if not _is_file(source) and (source == missing or source.startswith(f"{missing}.")):
            what = f"there is no Python module '{missing}' here"
            hint = f"run from the folder that holds '{missing.partition('.')[0]}', or add that folder to PYTHONPATH"
            raise UsageError(what, where=where, hint=hint) from error
        what = f"'{source}' imports '{missing}', which is not installed here"
        hint = f"pip install {missing.partition('.')[0]}, or add the folder that holds it to PYTHONPATH"
        raise MissingPackage(what, where=where, hint=hint) from error
    except (UsageError, MemoryError):
        raise
    except SystemExit as error:
        raise ConversionFailed(f"'{source}' ended the program when it was imported", where=where) from error
    except Exception as error:
        raise ConversionFailed(f"'{source}' cannot be imported: {_told(error)}", where=where) from error


def _import_file(path: Path, where: str) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'", where=where)
    # A name of its own, so that a `model.py` never meets an installed package `model`; known to sys.modules, because
    # dataclasses and pickles look their module up there.
    name = f"_factory_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"'{path}' is not a Python file", where=where)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _factory(module: ModuleType, name: str, where: str) -> Callable[..., Any]:
    import torch

    if not hasattr(module, name):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        listed = ", ".join(own[:8]) or "nothing"
        what = f"'{where.rpartition(':')[0]}' has no '{name}'.{suggest(name, own)}"
        raise UsageError(what, where=where, hint=f"what can be called there: {listed}")
    factory = getattr(module, name)
    if isinstance(factory, torch.nn.Module) or not callable(factory):
        what = f"'{name}' is {_kind(factory)}, not a function that builds a module"
        raise UsageError(what, where=where, hint=f"def make_{name}(): return {name}")
    try:
        inspect.signature(factory).bind()
    except TypeError as error:
        what = f"the factory '{name}' must take no arguments ({error})"
        raise UsageError(what, where=where, hint="give its parameters default values, or wrap it") from error
    except ValueError:
        pass  # a built-in without a signature; the call will tell
    return factory  # type: ignore[no-any-return]


def _call(factory: Callable[..., Any], name: str, where: str) -> Any:
    try:
        return factory()
    except MemoryError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfResources(f"out of memory while the factory '{name}' built the model", where=where) from error
        raise ConversionFailed(f"the factory '{name}' failed: {_told(error)}", where=where) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a torch error says that memory ran out (a RuntimeError, where Python has MemoryError)."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _told(error: BaseException) -> str:
    """Type and first line of an exception."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
