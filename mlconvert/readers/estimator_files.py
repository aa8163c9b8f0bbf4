"""Opening the files that Python objects are saved in: pickles on trust only, .skops files by the types they name."""

from __future__ import annotations

import zipfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed, MlconvertError, UsageError
from mlconvert.formats.pickles import compression_of
from mlconvert.readers.trusted_types import is_users_own, not_trusted

SKOPS_INSTEAD = "add --trust if you trust its author; or save the model with skops, which runs no code"


def load_pickle(path: Path, *, trusted: bool, hint: str = SKOPS_INSTEAD) -> Any:
    """What a .pkl or .joblib file holds, compressed or not.

    Raises UsageError, with the hint, unless the user trusts the file; ConversionFailed when it cannot be read.
    """
    if not trusted:
        what = "a pickle (.pkl, .joblib) can run code when it is opened, so it is opened only on your word"
        raise UsageError(what, where=str(path), hint=hint)
    try:
        return _unpickled(path)
    except MlconvertError:
        raise
    except ModuleNotFoundError as error:
        hint = f"install what brings '{error.name}', or put its folder on PYTHONPATH"
        raise ConversionFailed(f"the pickle needs the module '{error.name}'", where=str(path), hint=hint) from error
    except (AttributeError, ImportError) as error:
        hint = "the class must be where it was when the model was saved: in a module, not in __main__, of this version"
        raise ConversionFailed(f"the pickle cannot be read: {error}", where=str(path), hint=hint) from error
    except Exception as error:  # a pickle calls anything, so anything may be raised
        raise ConversionFailed(f"not a readable pickle: {_reason(error)}", where=str(path)) from error


def _unpickled(path: Path) -> Any:
    import importlib
    import pickle

    try:
        joblib = importlib.import_module("joblib")  # it has no type information
    except ModuleNotFoundError:  # scikit-learn brings it; what it did not write is read without it
        with _decompressed(path) as stream:
            return pickle.load(stream)  # noqa: S301 - the user trusts it
    return joblib.load(path)  # reads plain pickles too


def _decompressed(path: Path) -> AbstractContextManager[Any]:
    import bz2
    import gzip
    import lzma

    with path.open("rb") as stream:
        compression = compression_of(stream.read(8))
    if compression == "gzip":
        return gzip.open(path)
    if compression == "bz2":
        return bz2.open(path)
    if compression in ("xz", "lzma"):
        return lzma.open(path)
    return path.open("rb")


def is_skops(path: Path) -> bool:
    """Whether a file is, or should be, one of skops: that is a zip archive, and a pickle never is."""
    return path.suffix == ".skops" or zipfile.is_zipfile(path)


def load_skops(path: Path, *, trusted: bool) -> Any:
    """What a .skops file holds.

    Raises UsageError when it names types that are not trusted, unless the user trusts the file; types of a user's
    script (`__main__`) always. Raises ConversionFailed when it cannot be read, or holds trees whose nodes lead nowhere.
    """
    from mlconvert.readers.estimator_bounds import check_bounds

    unknown = _unknown_to_skops(path)
    foreign = not_trusted(unknown)
    own = [name for name in foreign if is_users_own(name)]
    if own or (foreign and not trusted):
        names = ", ".join(own or foreign)
        hint = "add --trust if you trust the file's author and these types"
        if own:
            hint = "define them in a module that can be imported, and save the model again"
        raise UsageError(f"the .skops file has types that are not on the list of trusted ones: {names}",
                         where=str(path), hint=hint)  # fmt: skip
    from skops import io

    try:
        loaded = io.load(path, trusted=unknown)
    except Exception as error:
        raise ConversionFailed(f"the .skops file cannot be loaded: {_reason(error)}", where=str(path)) from error
    check_bounds(loaded, str(path))
    return loaded


def untrusted_types(path: Path) -> list[str]:
    """The types in a .skops file, sorted, for which it is opened with --trust only; ConversionFailed as above."""
    return not_trusted(_unknown_to_skops(path))


def types_to_trust(path: Path) -> list[str]:
    """The types in a .skops file that skops must be told to trust, those on our list among them."""
    return _unknown_to_skops(path)


def _unknown_to_skops(path: Path) -> list[str]:
    from mlconvert.packages import SKOPS, require

    require((SKOPS,), "reading a .skops file")
    from skops import io

    try:
        return list(io.get_untrusted_types(file=path))
    except Exception as error:  # zipfile, json and skops have no common error
        raise ConversionFailed(f"not a readable .skops file: {_reason(error)}", where=str(path)) from error


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
