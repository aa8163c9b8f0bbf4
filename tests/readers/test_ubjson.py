"""UBJSON, against an encoder of the tests' own and against what XGBoost writes."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.readers.ubjson import DEPTH, read_ubjson

KINDS = {"i": np.int8, "U": np.uint8, "I": np.int16, "l": np.int32, "L": np.int64, "d": np.float32, "D": np.float64}


def encoded(value: Any) -> bytes:
    """UBJSON of a value: arrays with a count, numpy arrays with a type too, objects without either."""
    match value:
        case None:
            return b"Z"
        case bool():
            return b"T" if value else b"F"
        case int():
            return b"L" + struct.pack(">q", value)
        case float():
            return b"D" + struct.pack(">d", value)
        case str():
            return b"S" + _text(value)
        case list():
            return b"[#" + _size(len(value)) + b"".join(map(encoded, value))
        case np.ndarray():
            kind = next(mark for mark, dtype in KINDS.items() if value.dtype == dtype)
            body = value.astype(value.dtype.newbyteorder(">")).tobytes()
            return b"[$" + kind.encode() + b"#" + _size(len(value)) + body
        case dict():
            return b"{" + b"".join(_text(name) + encoded(item) for name, item in value.items()) + b"}"
    raise TypeError(value)


def _text(text: str) -> bytes:
    raw = text.encode()
    return _size(len(raw)) + raw


def _size(size: int) -> bytes:
    return b"U" + bytes([size]) if size < 256 else b"I" + struct.pack(">h", size)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.tobytes() == right.tobytes()
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(item, right[name]) for name, item in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


ARRAYS = st.builds(
    lambda kind, raw: np.frombuffer(raw * kind().itemsize, kind).copy(),
    st.sampled_from(list(KINDS.values())),
    st.binary(max_size=20),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=300),
    ARRAYS,
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
)


@given(VALUES)
def test_what_was_written_is_read(value):
    assert same(read_ubjson(encoded(value)), value)


@given(VALUES, st.data())
def test_what_is_cut_off_or_longer_is_refused(value, data):
    whole = encoded(value)
    with pytest.raises(ValueError, match="UBJSON"):
        read_ubjson(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(ValueError, match="follow"):
        read_ubjson(whole + b"Z")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(ValueError):  # UnicodeDecodeError is one
        read_ubjson(data)


def test_arrays_without_a_count_end_at_their_bracket():
    assert read_ubjson(b"[i\x01[Z]{}]") == [1, [None], {}]


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"[" * (DEPTH + 1), "deep"),
        (b"[" * 100_000, "deep"),
        (b"[#L\x7f\xff\xff\xff\xff\xff\xff\xff", "cut off"),
        (b"[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff", "cut off"),
        (b"[$d]", "no count"),
        (b"[$S#i\x01", "type"),
        (b"Si\xff", "-1"),
        (b"Sd\x00\x00\x00\x00", "size"),
        (b"x", "marker"),
        (b"{$i#i\x00", "size"),
    ],
)
def test_what_is_no_ubjson_is_refused(data, named):
    with pytest.raises(ValueError, match=named):
        read_ubjson(data)


def test_what_xgboost_writes_says_the_same_as_its_json():
    import xgboost

    rows = np.random.default_rng(1).normal(size=(80, 3))
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(rows, rows[:, 0], nthread=1), 3)
    read = read_ubjson(bytes(booster.save_raw("ubj")))
    told = json.loads(bytes(booster.save_raw("json")))
    assert _plain(read) == _plain(told)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray):
        return value.astype(np.float32).tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(np.float32(value)) if isinstance(value, (int, float)) else value
