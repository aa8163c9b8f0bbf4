"""Numbers in their order, and the bisection among them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.forests.boundary_search import at_place, ends, last_below, place_of

FLOATS = {np.float16: 16, np.float32: 32, np.float64: 64}


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_places_rise_with_floats_by_one_for_each(dtype: type, data: st.DataObject) -> None:
    number = st.floats(width=FLOATS[dtype], allow_nan=False, allow_infinity=False, min_value=-6e4, max_value=6e4)
    values = np.array(data.draw(st.lists(number, min_size=1, max_size=20)), dtype)
    places = place_of(values)
    np.testing.assert_array_equal(at_place(places, np.dtype(dtype)), values)
    np.testing.assert_array_equal(at_place(places + 1, np.dtype(dtype)), np.nextafter(values, dtype(np.inf)))
    np.testing.assert_array_equal(at_place(places - 1, np.dtype(dtype)), np.nextafter(values, dtype(-np.inf)))
    np.testing.assert_array_equal(np.argsort(places, kind="stable"), np.argsort(values, kind="stable"))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64", "bool"])
def test_integers_are_their_own_places(dtype: str) -> None:
    values = np.array([0, 1, 100], dtype)
    np.testing.assert_array_equal(at_place(place_of(values), np.dtype(dtype)), values)
    low, high = ends(np.dtype(dtype))
    assert low <= 0 < high
    assert at_place(np.array([low, high]), np.dtype(dtype)).astype(float).tolist() == [low, high]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_ends_of_floats_have_finite_squares_in_float64(dtype: str) -> None:
    low, high = at_place(np.array(ends(np.dtype(dtype))), np.dtype(dtype))
    assert low == -high
    assert np.isfinite(high)
    assert np.isfinite(float(high) ** 2)


@given(st.lists(st.tuples(st.integers(-(2**62), 2**62), st.integers(0, 2**40), st.integers(-3, 2**41)), min_size=1))
def test_the_last_place_that_is_not_above(cases: list[tuple[int, int, int]]) -> None:
    low = np.array([case[0] for case in cases])
    high = low + [case[1] for case in cases]
    last = low + [case[2] for case in cases]  # what `above` begins after
    found = last_below(lambda places: places > last, low, high)
    np.testing.assert_array_equal(found, np.clip(last, low, high))


def test_the_whole_range_of_doubles_is_searched() -> None:
    low, high = ends(np.dtype(np.float64))
    wanted = np.array([-1e29, -1e-300, 0.0, 0.1, 1e30, 2.0])

    def above(places: np.ndarray) -> np.ndarray:
        return at_place(places, np.dtype(np.float64)) > wanted

    found = last_below(above, np.full(6, low), np.full(6, high))
    np.testing.assert_array_equal(at_place(found, np.dtype(np.float64)), wanted)
