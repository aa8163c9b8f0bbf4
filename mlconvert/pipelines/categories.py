"""Encoders of categories. A value becomes its category's number; what the encoder gives for it stands in a table.

A value that is no category has the number behind the last. Where the library raises an error for such a value
(handle_unknown="error"), ONNX Runtime does too: the number is outside a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.pipelines.search import look_up, places

if TYPE_CHECKING:
    from mlconvert.pipelines.build import Build, Columns
    from mlconvert.pipelines.graph import Tensor


def one_hot_encoder(build: Build, part: Any, given: Columns) -> Tensor:
    """Of preprocessing/_encoders.py: rare categories joined, dropped ones left out, unknown ones all zeros or rare."""
    codes = codes_of(build, given, part.categories_, unknown_fails=part.handle_unknown == "error")
    widths = part._n_features_outs
    tables = [one_hot_places(part, index) for index in range(len(widths))]
    hot = look_up(tables, codes)
    owner = np.repeat(np.arange(len(widths)), widths)
    which = np.concatenate([np.arange(width) for width in widths])
    if not len(which):
        raise build.refused("it gives no columns")
    return hot.columns(owner).equals(which).cast(build.floats)


def one_hot_places(part: Any, index: int) -> np.ndarray:
    """For every category, and for an unknown value at the end, its column within the feature's, or -1 for none."""
    places_ = np.arange(len(part.categories_[index]))
    unknown = -1
    mapping = part._default_to_infrequent_mappings[index] if part._infrequent_enabled else None
    if mapping is not None:
        places_ = np.asarray(mapping)[places_]
        if part.handle_unknown in ("infrequent_if_exist", "warn"):
            unknown = int(places_.max())
    dropped = None if part._drop_idx_after_grouping is None else part._drop_idx_after_grouping[index]
    found = np.append(places_, unknown)
    if dropped is not None:
        found = np.where(found == dropped, -1, np.where(found > dropped, found - 1, found))
    return found


def ordinal_encoder(build: Build, part: Any, given: Columns) -> Tensor:
    """Of preprocessing/_encoders.py: the category's number, or the values set for missing and unknown ones."""
    known = part.handle_unknown == "use_encoded_value"
    codes = codes_of(build, given, part.categories_, unknown_fails=not known)
    return look_up(ordinal_places(part), codes)


def ordinal_places(part: Any) -> list[np.ndarray]:
    """For each feature, what every category, and an unknown value at the end, becomes."""
    known = part.handle_unknown == "use_encoded_value"
    tables = []
    for index, categories in enumerate(part.categories_):
        values = np.arange(len(categories), dtype=np.float64)
        mapping = part._default_to_infrequent_mappings[index] if part._infrequent_enabled else None
        missing = part._missing_indices.get(index)
        if mapping is not None:
            values[: len(mapping)] = mapping
        if missing is not None:
            values[missing] = part.encoded_missing_value
        tables.append(np.append(values, part.unknown_value if known else np.nan))
    return tables


def target_encoder(build: Build, part: Any, given: Columns) -> Tensor:
    """Of preprocessing/_target_encoder.py: a column per feature, or per feature and class."""
    codes = codes_of(build, given, part.categories_)
    tables = target_places(part)
    return look_up(tables, codes.columns(np.repeat(np.arange(len(part.categories_)), target_classes(part))))


def target_classes(part: Any) -> int:
    """How many columns a feature becomes."""
    return len(np.atleast_1d(part.target_mean_)) if part.target_type_ == "multiclass" else 1


def target_places(part: Any) -> list[np.ndarray]:
    """For each column, what every category, and an unknown value at the end, becomes."""
    means = np.atleast_1d(part.target_mean_)
    return [np.append(values, means[index % len(means)]) for index, values in enumerate(part.encodings_)]


def codes_of(build: Build, given: Columns, categories: Sequence[np.ndarray], *, unknown_fails: bool = False) -> Tensor:
    """The number of each value's category: int64 [N, F]; of a value that is none, the number of categories."""
    columns = build.each(given)
    codes: list[Tensor | None] = [None] * len(columns)
    numeric = []
    for index, (column, known) in enumerate(zip(columns, categories, strict=True)):
        if _are_texts(build, known):
            codes[index] = _codes_of_text(build, column, known)
        elif column.dtype == "string":
            raise build.wrong_type(column, "holds text", "was fitted on numbers in its place")
        elif column.dtype == "int64" and known.dtype.kind in "iu":
            codes[index] = _codes_of_integers(build, column, known)
        else:
            numeric.append(index)
    if numeric:
        values = build.numbers(tuple(columns[index] for index in numeric))
        found = _codes_of_numbers(build, values, [_as_numbers(build, categories[index]) for index in numeric])
        for place, index in enumerate(numeric):
            codes[index] = found.columns([place])
    together = build.graph.concat([code for code in codes if code is not None])
    if unknown_fails:
        checked = [
            build.graph.gather(np.arange(len(known)), together.columns([index]))  # no such place for an unknown one
            for index, known in enumerate(categories)
        ]
        return build.graph.concat(checked)
    return together


def _are_texts(build: Build, categories: np.ndarray) -> bool:
    if categories.dtype.kind in "UST":
        return True
    if categories.dtype.kind != "O":
        return False
    present = [value for value in categories if not _is_missing(value)]
    texts = sum(isinstance(value, str) for value in present)
    if texts and texts < len(present):
        raise build.refused(
            "its categories are texts and numbers in one column", "make them all text: df[name].astype(str)"
        )
    return bool(texts)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and bool(np.isnan(value))) or type(value).__name__ == "NAType"


def _codes_of_text(build: Build, column: Tensor, categories: np.ndarray) -> Tensor:
    if column.dtype != "string":
        raise build.wrong_type(column, "holds numbers", "was fitted on text in its place")
    # A missing value (None, NaN) cannot be fed to a tensor of strings; its category keeps its number.
    keys = [(str(value), code) for code, value in enumerate(categories) if not _is_missing(value)]
    return build.graph.op(
        "LabelEncoder",
        column,
        dtype="int64",
        domain="ai.onnx.ml",
        keys_strings=[key for key, _ in keys],
        values_int64s=[code for _, code in keys],
        default_int64=len(categories),
    )


def _codes_of_integers(build: Build, column: Tensor, categories: np.ndarray) -> Tensor:
    """Compared as integers: as floats, large ones would fall together."""
    return build.graph.op(
        "LabelEncoder",
        column,
        dtype="int64",
        domain="ai.onnx.ml",
        keys_int64s=[int(value) for value in categories],
        values_int64s=list(range(len(categories))),
        default_int64=len(categories),
    )


def _codes_of_numbers(build: Build, values: Tensor, categories: Sequence[np.ndarray]) -> Tensor:
    """Categories rise, and NaN, if it is one, is the last: found by bisection, and then compared."""
    build.need_bits(values, "it asks which category a number equals")
    numbers = [known[~np.isnan(known)] for known in categories]
    place = places(values, numbers)
    nearest = look_up([np.append(np.nan, known) for known in numbers], place)
    unknown = np.array([len(known) for known in categories])
    graph = build.graph
    found = graph.where(nearest.equals(values), place - 1, graph.constant(unknown))
    with_nan = np.array([bool(np.isnan(known).any()) for known in categories])
    if not with_nan.any():
        return found
    missing = np.where(with_nan, unknown - 1, unknown)
    return graph.where(values.apply("IsNaN"), graph.constant(missing), found)


def _as_numbers(build: Build, categories: np.ndarray) -> np.ndarray:
    try:
        values = np.array([np.nan if value is None else value for value in categories], np.float64)
    except (TypeError, ValueError) as error:
        raise build.refused("its categories are neither texts nor numbers") from error
    if np.any(np.diff(values[~np.isnan(values)]) <= 0):
        raise build.refused("its categories do not rise", "give them sorted, or leave categories='auto'")
    return values
