"""The rows that are furthest off and how errors are spread, against what a look at all of them says."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlconvert.parity.compare import compare
from mlconvert.parity.decades import CHUNKS, ErrorDecades
from mlconvert.parity.float_errors import CHUNK, measure
from mlconvert.parity.result import OutputParity, Parity
from mlconvert.parity.tolerance import Tolerance, Tolerances
from mlconvert.parity.worst_rows import ROWS

RNG = np.random.default_rng(7)
TOLERANCE = Tolerance(1e-3, 1e-6)
VALUES = st.one_of(st.floats(-2, 2), st.sampled_from([0.0, 1.0, np.nan, np.inf, -np.inf, 1e-5, 3.0, 1e300, -1e300]))


def only(a, b, tolerance=TOLERANCE):
    (output,) = compare({"y": np.asarray(a)}, {"y": np.asarray(b)}, Tolerances(tolerance)).outputs
    return output


def naive(a, b):
    """(kind, error, -position) of the worst place of each row, the worst rows first."""
    with np.errstate(all="ignore"):
        error = np.abs(a - b)
        finite = np.isfinite(a) & np.isfinite(b)
        alike = (a == b) | (np.isnan(a) & np.isnan(b))
        beyond = finite & (error > TOLERANCE.atol + TOLERANCE.rtol * np.abs(a))
    kind = np.where(~finite, 2, beyond.astype(int))
    error = np.where(~finite, 1.0, error)
    rows = []
    for row in range(len(a)):
        places = [
            (int(kind[row, at]), float(error[row, at]), -(row * a.shape[1] + at))
            for at in range(a.shape[1])
            if not alike[row, at]
        ]
        rows += [max(places)] if places else []
    return sorted(rows, reverse=True)


@settings(max_examples=150)
@given(
    st.tuples(st.integers(1, 12), st.integers(1, 4)).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.float64, shape, elements=VALUES), hnp.arrays(np.float64, shape, elements=VALUES)
        )
    ),
    st.sampled_from([1, 3, 7, CHUNK]),
)
def test_the_worst_rows_are_those_that_a_look_at_all_finds(pair, chunk):
    a, b = pair
    found = measure(a, b, TOLERANCE, chunk=chunk).worst_rows
    assert found == tuple(-position for _, _, position in naive(a, b)[:ROWS])


def test_over_many_chunks_wide_rows_and_few_mismatches():
    a = RNG.standard_normal((5000, 40)).astype(np.float32)
    b = a + RNG.standard_normal(a.shape).astype(np.float32) * np.float32(1e-8)
    b[[3, 4999, 1234], [39, 0, 7]] += np.float32([1, 3, 2])
    output = only(a, b)
    assert [row.index for row in output.worst[:3]] == [(4999, 0), (1234, 7), (3, 39)]
    assert len(output.worst) == ROWS
    assert output.worst[0].abs == pytest.approx(3)
    assert output.worst[0].reference == float(str(a[4999, 0]))
    rest = np.abs(a.astype(float) - b).max(axis=1)
    assert {row.index[0] for row in output.worst} == set(np.argsort(-rest, kind="stable")[:ROWS].tolist())


def test_what_is_beyond_the_tolerance_comes_before_what_is_further_off_but_within():
    output = only([1e6, 0.0, 2.0], [1e6 + 10, 1e-4, 2.0])
    assert [row.index for row in output.worst] == [(1,), (0,)]


def test_nan_on_one_side_comes_first_and_is_text():
    output = only([1.0, np.nan, 5.0], [1.5, 2.0, -np.inf])
    assert [row.index for row in output.worst] == [(1,), (2,), (0,)]
    assert [(row.reference, row.candidate, row.abs) for row in output.worst[:2]] == [
        ("nan", 2.0, None),
        (5.0, "-inf", None),
    ]


def test_rows_that_agree_are_no_worst_rows():
    assert only([1.0, np.nan], [1.0, np.nan]).worst == ()


def test_of_labels_the_first_rows_that_differ():
    a = np.arange(20).reshape(10, 2)
    b = a.copy()
    b[2:9] += 1
    assert [row.index for row in only(a, b).worst] == [(2, 0), (3, 0), (4, 0), (5, 0), (6, 0)]
    text = only(np.array(["a", "b"]), np.array(["a", "c"]))
    assert [(row.index, row.reference, row.candidate, row.abs) for row in text.worst] == [((1,), "b", "c", None)]
    flags = only(np.array([True]), np.array([False]))
    assert (flags.worst[0].reference, flags.worst[0].candidate) == (True, False)


@given(hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1e9)))
def test_the_spread_counts_every_error_once(errors):
    spread = only(np.zeros_like(errors), errors).spread
    assert spread.elements == errors.size
    assert spread.zeros == np.count_nonzero(errors == 0)
    assert sum(spread.counts) + spread.zeros == spread.elements
    if spread.counts:
        assert spread.counts[0] > 0
        assert spread.counts[-1] > 0
        top = spread.lowest + len(spread.counts)
        assert errors.max() <= 10.0**top * (1 + 1e-12)


def test_the_spread_by_example():
    spread = only(np.zeros(6), [0.0, 2e-9, 3e-9, 5e-7, np.nan, 0.0]).spread
    assert (spread.elements, spread.zeros, spread.lowest, spread.counts) == (5, 2, -9, (2, 0, 1))


def test_of_very_many_errors_an_even_choice_is_counted():
    a = np.zeros(CHUNK * (CHUNKS * 3 + 1), dtype=np.float32)
    b = np.full_like(a, 2e-3)
    spread = only(a, b).spread
    assert ErrorDecades(CHUNKS * 3 + 1).every == 4
    assert spread.counts == (spread.elements,)
    assert a.size / 5 < spread.elements < a.size / 3


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_as_json_and_back(dtype):
    a = np.array([[0.1, 2.0], [1.0, np.inf]], dtype=dtype)
    b = np.array([[0.2, 2.0], [1.0, 1.0]], dtype=dtype)
    parity = compare({"y": a}, {"y": b}, Tolerances(TOLERANCE))
    text = json.dumps(parity.as_json(), allow_nan=False)
    assert Parity.from_json(json.loads(text)) == parity
    assert '"reference": 0.1,' in text or dtype is ml_dtypes.bfloat16


def test_a_report_without_them_is_still_read():
    old = OutputParity("y", ok=True).as_json()
    del old["worst"], old["spread"]
    assert OutputParity.from_json(old) == OutputParity("y", ok=True)
