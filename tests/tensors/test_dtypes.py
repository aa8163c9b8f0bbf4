from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import NotVerified, UsageError
from mlconvert.signature import KINDS
from mlconvert.tensors.dtypes import cast, described, dtype_name, kind_of, numpy_dtype


@pytest.mark.parametrize("name", sorted(KINDS))
def test_names_and_dtypes_are_each_others_inverse(name):
    assert dtype_name(numpy_dtype(name)) == name
    assert kind_of(numpy_dtype(name)) == KINDS[name]


def test_other_dtypes_have_no_name():
    for dtype in (object, complex, "M8[s]", "S3", np.longdouble):
        assert dtype_name(np.dtype(dtype)) is None
    assert described(np.zeros((2, 3), np.float16)) == "float16[2, 3]"


@pytest.mark.parametrize(
    ("values", "dtype", "to"),
    [
        ([1e300], "float64", "float32"),
        ([1e6], "float32", "float16"),
        ([3e38, 3.4e38], "float32", "float16"),
        ([3.4e38], "float32", "bfloat16"),
        ([0, 128], "int64", "int8"),
        ([-1], "int64", "uint64"),
        ([2**63], "uint64", "int64"),
        ([2**63], "uint64", "int32"),
        ([0.5], "float32", "int64"),
        ([np.nan], "float32", "int64"),
        ([np.inf], "float64", "int32"),
        ([2.0**63], "float64", "int64"),
        ([2], "int64", "bool"),
        ([70000], "int32", "float16"),
        (["1"], "U1", "int64"),
        ([1], "int64", "string"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, dtype, to):
    with pytest.raises(NotVerified, match="input 'x'"):
        cast(np.array(values, dtype), to, what="input 'x'", error=NotVerified)


@pytest.mark.parametrize(
    ("values", "dtype", "to"),
    [
        ([0.1, np.nan, np.inf, -np.inf, 65504.0], "float64", "float16"),
        ([0.1, np.nan, np.inf], "float64", "bfloat16"),
        ([0, 1], "int64", "bool"),
        ([True, False], "bool", "float32"),
        ([-128, 127], "int64", "int8"),
        ([2**64 - 1], "uint64", "uint64"),
        ([3.0, -4.0], "float64", "int32"),
    ],
)
def test_values_that_fit(values, dtype, to):
    array = np.array(values, dtype)
    result = cast(array, to, what="x", error=UsageError)
    assert dtype_name(result.dtype) == to
    # bfloat16's NaN is not known as one to numpy's own assertion.
    expected = array.astype(numpy_dtype(to))
    np.testing.assert_array_equal(result.astype(np.float64), expected.astype(np.float64))


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), st.sampled_from(["int8", "uint16", "int32", "uint64"]))
def test_integers_keep_their_value_or_are_refused(values, to):
    info = np.iinfo(to)
    array = np.array(values, np.int64)
    if all(info.min <= value <= info.max for value in values):
        assert cast(array, to, what="x", error=UsageError).tolist() == values
    else:
        with pytest.raises(UsageError):
            cast(array, to, what="x", error=UsageError)


def test_the_message_names_value_and_row():
    array = np.array([[1.0, 2.0], [3.0, 1e9]])
    with pytest.raises(UsageError, match=r"x: the value 1000000000.0 \(row 1\) of float64 does not fit float16"):
        cast(array, "float16", what="x", error=UsageError)
    bf16 = np.array([1.5], ml_dtypes.bfloat16)
    assert cast(bf16, "float32", what="x", error=UsageError).tolist() == [1.5]
