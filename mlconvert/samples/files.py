"""Samples from files: .npz and .npy hold arrays, .csv and .parquet tables. Nothing is ever unpickled."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mlconvert.errors import UsageError
from mlconvert.packages import PYARROW, require
from mlconvert.samples.tables import Cells, inferred, inputs_of_table, typed
from mlconvert.signature import Signature
from mlconvert.tensors.dtypes import dtype_name

Columns = dict[str, np.ndarray]


def read_samples(path: Path, signature: Signature | None) -> dict[str, np.ndarray]:
    """The samples of a file, input name -> array with the row axis first; `check_samples` checks them.

    .npz: an array per input. .npy: the only input (`input` without a signature). .csv (UTF-8, with a header) and
    .parquet: a model that takes one matrix gets the columns side by side, by name where it knows their names, else in
    order; a model with an input per column gets each as [N, 1] (or [N]); without a signature each column is an input
    [N, 1]. Cells of a .csv are typed by the signature, else by what they all are: booleans, integers, floats, text.
    An empty cell is NaN among numbers and the empty string among text.

    Raises UsageError for a file that is missing, empty, truncated, of an unknown kind or holds Python objects;
    MissingPackage for .parquet without pyarrow.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise UsageError(f"samples cannot be read from a '{path.suffix}' file", where=str(path), hint=f"known: {known}")
    if not path.is_file():
        raise UsageError(
            "the file of samples is not a file" if path.exists() else "no such file of samples", where=str(path)
        )
    if path.stat().st_size == 0:
        raise UsageError("the file of samples is empty", where=str(path))
    try:
        return reader(path, signature)
    except UsageError as error:
        error.where = error.where or str(path)
        raise


def _npz(path: Path, _: Signature | None) -> Columns:
    # numpy reads a lone .npy, and tries a pickle, whatever the name says.
    if not zipfile.is_zipfile(path):
        raise UsageError("this is not an .npz file, or it was cut off")
    arrays = {}
    name = ""
    try:
        with np.load(path, allow_pickle=False) as stored:
            for name in stored.files:
                arrays[name] = stored[name]
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise _unreadable(f"the array '{name}'" if name else "the file", error) from error
    if not arrays:
        raise UsageError("the .npz file holds no arrays")
    return {name: _plain(name, array) for name, array in arrays.items()}


def _npy(path: Path, signature: Signature | None) -> Columns:
    name = "input"
    if signature is not None:
        if len(signature.inputs) != 1:
            listed = ", ".join(spec.name for spec in signature.inputs)
            what = f"an .npy file holds one array, and the model takes {len(signature.inputs)} inputs: {listed}"
            raise UsageError(what, hint="save them with numpy.savez, an array per input")
        name = signature.inputs[0].name
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise UsageError("this is not an .npy file")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise _unreadable("the array", error) from error
    return {name: _plain(name, array)}


def _unreadable(what: str, error: Exception) -> UsageError:
    if "allow_pickle" in str(error):
        return UsageError(f"{what} holds Python objects, which are not unpickled",
                          hint="save numbers, or text as numpy's <U… (array.astype(str))")  # fmt: skip
    return UsageError(f"{what} cannot be read, it may be cut off: {error or type(error).__name__}")


def _plain(name: str, array: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order, bytes as text; UsageError when no model takes such a dtype."""
    if array.dtype.kind == "S":
        try:
            return np.strings.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"the array '{name}' holds bytes that are not UTF-8 text: {error}") from error
    if dtype_name(array.dtype) is None:
        raise UsageError(f"the array '{name}' has the dtype {array.dtype}, which no model takes")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _csv(path: Path, signature: Signature | None) -> Columns:
    header, rows = _csv_rows(path)
    cells: dict[str, Cells] = {name: Cells([row[i] for _, row in rows], [line for line, _ in rows])
                               for i, name in enumerate(header)}  # fmt: skip

    def column(name: str, dtype: str | None) -> np.ndarray:
        return inferred(cells[name]) if dtype is None else typed(name, cells[name], dtype)

    return inputs_of_table(header, column, signature)


def _csv_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header and, with their line numbers, the rows; all as long as the header."""
    rows = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = [name.strip() for name in next(reader, [])]
            _check_header(header)
            for row in reader:
                # A blank line; in a table of one column a missing value is written as "".
                if not row:
                    continue
                if len(row) != len(header):
                    what = f"line {reader.line_num} has {len(row)} cells where the header has {len(header)}"
                    raise UsageError(what, where=f"{path}:{reader.line_num}")
                rows.append((reader.line_num, row))
    except UnicodeDecodeError as error:
        raise UsageError(f"the file is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except csv.Error as error:
        raise UsageError(
            f"the file is not a .csv table, or it was cut off: {error}", where=f"{path}:{reader.line_num}"
        ) from error
    return header, rows


def _check_header(header: list[str]) -> None:
    if not any(header):
        raise UsageError("the .csv file has no header: its first line must name the columns")
    for index, name in enumerate(header):
        if not name:
            hint = "pandas writes its index so: to_csv(path, index=False)" if index == 0 else None
            raise UsageError(f"column {index + 1} has no name in the header", hint=hint)
        if name in header[:index]:
            raise UsageError(f"two columns are named '{name}'")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise UsageError(
            "the header has one column: cells must be separated by commas", hint="pandas: to_csv(path, sep=',')"
        )


def _parquet(path: Path, signature: Signature | None) -> Columns:
    require((PYARROW,), "reading .parquet samples")
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # As one file, so that a folder name such as `year=2026` adds no column.
        table = parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"this is not a .parquet file, or it was cut off: {error}") from error
    names = [name for name in table.column_names if not name.startswith("__index_level_")]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise UsageError(f"two columns are named '{name}'")

    def column(name: str, _: str | None) -> np.ndarray:
        return _arrow_column(name, table.column(name))

    return inputs_of_table(names, column, signature)


def _arrow_column(name: str, column: Any) -> np.ndarray:
    """A column as an array: [N], or [N, K] for lists that are all K long. A null is NaN, or empty text."""
    import pyarrow as pa
    from pyarrow import compute, types

    kind = column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return np.array(compute.fill_null(column, "").to_pylist(), dtype=np.str_)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        lengths = {None if row is None else len(row) for row in column.to_pylist()}
        if len(lengths) != 1 or None in lengths:
            raise UsageError(f"the lists of column '{name}' are not all of one length")
        flat = _arrow_column(name, pa.chunked_array([chunk.flatten() for chunk in column.chunks]))
        return flat.reshape(len(column), -1)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        what = f"column '{name}' is of the type {kind}, which no model takes"
        raise UsageError(what, hint="make it a number or text")
    if column.null_count and types.is_boolean(kind):
        raise UsageError(f"column '{name}' holds booleans, and {column.null_count} of them are missing")
    array: np.ndarray = column.to_numpy()
    return array


_READERS: Mapping[str, Callable[[Path, Signature | None], Columns]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".csv": _csv,
    ".parquet": _parquet,
}
