"""Samples into files, the same bytes for the same samples."""

from __future__ import annotations

import contextlib
import csv
import math
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from mlconvert.errors import UsageError
from mlconvert.packages import PYARROW, require
from mlconvert.signature import Signature
from mlconvert.tensors.dtypes import described


def write_samples(path: Path, samples: Mapping[str, np.ndarray], *, signature: Signature | None = None) -> None:
    """Write samples by the path's suffix: .npz, .npy (one input), .csv or .parquet (inputs of one or two axes).

    In a table an input [N] or [N, 1] is a column of its name; a matrix [N, K] is K columns, named as the signature's
    input knows them, else `name_0` …: only a model that takes just this matrix reads these back. bfloat16, which no
    such file knows, is written as float32: the same values. The file appears whole or not at all. Raises UsageError
    for an unknown suffix and for samples that the kind of file cannot hold.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise UsageError(
            f"samples cannot be written to a '{path.suffix}' file",
            where=str(path),
            hint=f"known: {', '.join(_WRITERS)}",
        )
    if not samples:
        raise UsageError("there are no samples to write", where=str(path))
    plain = {
        name: array.astype(np.float32) if array.dtype.name == "bfloat16" else array for name, array in samples.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    try:
        writer(Path(scratch), plain, signature)
        os.chmod(scratch, 0o666 & ~_umask())  # noqa: PTH101 - mkstemp gives 0600, which other users cannot read
        Path(scratch).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(scratch).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _npz(path: Path, samples: Mapping[str, np.ndarray], _: Signature | None) -> None:
    # Not numpy.savez: it puts the time of day into the file.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in samples.items():
            if not name or "\0" in name:
                raise UsageError(f"the input name {name!r} cannot be written to an .npz file")
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, _plain(name, array), allow_pickle=False)


def _npy(path: Path, samples: Mapping[str, np.ndarray], _: Signature | None) -> None:
    if len(samples) != 1:
        raise UsageError(
            f"an .npy file holds one array, and there are {len(samples)} inputs", hint="write an .npz file"
        )
    ((name, array),) = samples.items()
    with path.open("wb") as stream:
        np.lib.format.write_array(stream, _plain(name, array), allow_pickle=False)


def _plain(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.hasobject:
        raise UsageError(f"input '{name}' holds Python objects, which are not written")
    return np.ascontiguousarray(array)


def _columns(samples: Mapping[str, np.ndarray], signature: Signature | None) -> dict[str, np.ndarray]:
    named = {spec.name: spec.columns for spec in signature.inputs} if signature else {}
    columns: dict[str, np.ndarray] = {}
    for name, array in samples.items():
        if array.ndim not in (1, 2):
            what = f"a table has no room for the input '{name}' ({described(array)})"
            raise UsageError(what, hint="write an .npz file")
        if array.ndim == 1 or (array.shape[1] == 1 and not named.get(name)):
            parts = {name: array.reshape(-1)}
        else:
            names = named.get(name) or tuple(f"{name}_{index}" for index in range(array.shape[1]))
            parts = {part: array[:, index] for index, part in enumerate(names)}
        for part, values in parts.items():
            if part in columns:
                raise UsageError(f"two columns would be named '{part}'", hint="write an .npz file")
            columns[part] = values
    return columns


def _csv(path: Path, samples: Mapping[str, np.ndarray], signature: Signature | None) -> None:
    columns = _columns(samples, signature)
    cells = [[_cell(value) for value in values.tolist()] for values in columns.values()]
    with path.open("w", encoding="utf-8", newline="") as stream:
        # By itself the writer of Python 3.11 does not quote a lone carriage return, which ends a line for readers.
        returns = any("\r" in cell for column in cells for cell in column) or any("\r" in name for name in columns)
        quoting: Literal[0, 1] = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
        writer = csv.writer(stream, lineterminator="\n", quoting=quoting)
        writer.writerow(columns)
        writer.writerows(zip(*cells, strict=True))


def _cell(value: object) -> str:
    """Floats with all their digits (of a float32: as the double of the same value), NaN as an empty cell."""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)


def _parquet(path: Path, samples: Mapping[str, np.ndarray], signature: Signature | None) -> None:
    require((PYARROW,), "writing .parquet samples")
    import pyarrow as pa
    from pyarrow import parquet

    columns = {
        name: pa.array(values.tolist() if values.dtype.kind == "U" else np.ascontiguousarray(values))
        for name, values in _columns(samples, signature).items()
    }
    parquet.write_table(pa.table(columns), path)


_WRITERS: Mapping[str, Callable[[Path, Mapping[str, np.ndarray], Signature | None], None]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".csv": _csv,
    ".parquet": _parquet,
}
