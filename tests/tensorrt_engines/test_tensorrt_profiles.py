"""Profiles: what the option says, what samples say, and where either contradicts the model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.converters.tensorrt_profiles import ROWS, Range, profiles_for
from mlconvert.errors import UsageError
from mlconvert.signature import Signature, TensorSpec

X = TensorSpec("x", "float32", ("batch", 4))
IDS = TensorSpec("ids", "int64", ("batch", "sequence"))
FIXED = TensorSpec("z", "float32", (2, 3))


def of(*inputs: TensorSpec) -> Signature:
    return Signature(inputs, (TensorSpec("y", "float32", ("batch",)),))


def test_a_model_of_fixed_shapes_needs_none() -> None:
    assert profiles_for(of(FIXED), None, {}) == ()


def test_the_option_is_read_as_min_opt_max() -> None:
    (profile,) = profiles_for(of(X, FIXED), {"x": ("1x4", "8x4", "32x4")}, {})
    assert profile == {"x": Range((1, 4), (8, 4), (32, 4))}
    assert profile["x"].as_json() == {"min": [1, 4], "opt": [8, 4], "max": [32, 4]}
    two = profiles_for(of(X), {"x": ("1x4", "1x4", "1x4", "2x4", "8x4", "32x4")}, {})
    assert [one["x"].max for one in two] == [(1, 4), (32, 4)]


def test_samples_say_how_many_rows_there_are_and_how_long_they_are() -> None:
    samples = {"x": np.zeros((7, 4), np.float32), "ids": np.zeros((7, 12), np.int64), "z": np.zeros((2, 3))}
    (profile,) = profiles_for(of(X, IDS, FIXED), None, samples)
    assert profile == {"x": Range((1, 4), (7, 4), (7, 4)), "ids": Range((1, 12), (7, 12), (7, 12))}
    (profile,) = profiles_for(of(X), None, {"x": np.zeros((5000, 4), np.float32)})
    assert profile["x"].max == (ROWS, 4)


def test_one_sample_a_call_has_no_rows() -> None:
    image = TensorSpec("image", "float32", ("height", 3))
    (profile,) = profiles_for(of(image), None, {"image": np.zeros((10, 20, 3), np.float32)})
    assert profile["image"] == Range((20, 3), (20, 3), (20, 3))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"x": ("1x4", "8x4", "32x4")}, "leaves out the input ids"),
        ({"y": ("1x4",)}, "no input 'y'"),
        ({"x": ("1x4", "8x4"), "ids": ("1x1", "1x1", "1x1")}, "gives 'x' 2 shapes"),
        ({"x": (), "ids": ()}, "gives 'x' 0 shapes"),
        ({"x": ("1x4",) * 6, "ids": ("1x1",) * 3}, "as many profiles as the others: 'x' 2, 'ids' 1"),
        ({"x": ("1x5",) * 3, "ids": ("1x1",) * 3}, "4 is fixed"),
        ({"x": ("1x4",) * 3, "ids": ("1",) * 3}, "1 has 1 axes"),
        ({"x": ("0x4",) * 3, "ids": ("1x1",) * 3}, "holds nothing"),
        ({"x": ("1,4",) * 3, "ids": ("1x1",) * 3}, "is no shape"),
        ({"x": ("-1x4",) * 3, "ids": ("1x1",) * 3}, "is no shape"),
        ({"x": ("9x4", "8x4", "32x4"), "ids": ("1x1",) * 3}, "min 9, opt 8, max 32"),
    ],
)
def test_an_option_that_contradicts_the_model_is_told(option, message) -> None:
    with pytest.raises(UsageError, match=message):
        profiles_for(of(X, IDS), option, {})


def test_without_option_and_samples_the_message_has_an_example_that_works() -> None:
    with pytest.raises(UsageError, match="known ones") as caught:
        profiles_for(of(X, IDS), None, {})
    example = caught.value.hint.partition("profiles='")[2].rstrip("'")
    option = {part.partition("=")[0]: tuple(part.partition("=")[2].split(",")) for part in example.split(";")}
    assert len(profiles_for(of(X, IDS), option, {})) == 1


def test_an_option_that_contradicts_the_samples_is_told() -> None:
    option = {"ids": ("1x1", "2x8", "4x16")}
    fits = {"ids": np.zeros((9, 16), np.int64)}  # more rows than a call takes go into several
    assert len(profiles_for(of(IDS), option, fits)) == 1
    with pytest.raises(UsageError, match="axis 1 of 'ids' goes from 1 to 16, and is 17 long"):
        profiles_for(of(IDS), option, {"ids": np.zeros((9, 17), np.int64)})
    with pytest.raises(UsageError, match="axis 0 of 'ids' goes from 8 to 8, and is 3 long"):
        profiles_for(of(IDS), {"ids": ("8x1", "8x8", "8x16")}, {"ids": np.zeros((3, 4), np.int64)})
    either = {"ids": ("1x1", "2x8", "4x16", "1x17", "2x17", "4x32")}
    assert len(profiles_for(of(IDS), either, {"ids": np.zeros((9, 17), np.int64)})) == 2


def test_samples_that_lack_an_input_are_told() -> None:
    with pytest.raises(UsageError, match="the samples lack the input ids"):
        profiles_for(of(X, IDS), None, {"x": np.zeros((7, 4), np.float32)})


@given(
    st.lists(st.one_of(st.integers(1, 6), st.sampled_from(["batch", "n", None])), min_size=1, max_size=4),
    st.lists(st.integers(1, 9), min_size=4, max_size=4),
)
def test_a_profile_of_samples_takes_them(axes, lengths) -> None:
    spec = TensorSpec("x", "float32", tuple(axes))
    shape = tuple(axis if isinstance(axis, int) else length for axis, length in zip(axes, lengths, strict=False))
    profiles = profiles_for(of(spec), None, {"x": np.zeros(shape, np.float32)})
    if not profiles:
        assert all(isinstance(axis, int) for axis in axes)
        return
    (bounds,) = (profile["x"] for profile in profiles)
    assert bounds.covers(shape)
    option = {"x": tuple("x".join(map(str, one)) for one in (bounds.min, bounds.opt, bounds.max))}
    assert profiles_for(of(spec), option, {"x": np.zeros(shape, np.float32)}) == profiles
