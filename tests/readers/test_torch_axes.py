"""The option `dynamic`, and what running a model shows of its outputs' axes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers.torch_axes import example_inputs, name_symbols, output_axes, plan_axes, rename_expression

SHAPES = {"ids": (5, 7), "image": (5, 3, 8)}


def test_by_default_only_the_first_axis_is_dynamic():
    assert plan_axes(SHAPES, None, static=False) == {"ids": ("batch", 7), "image": ("batch", 3, 8)}


def test_names_fixed_axes_and_lengths():
    axes = plan_axes(SHAPES, {"ids": ("rows", "sequence"), "image": ("4", "_", "8")}, static=False)
    assert axes == {"ids": ("rows", "sequence"), "image": (4, 3, 8)}


def test_static_is_one_row():
    assert plan_axes(SHAPES, None, static=True) == {"ids": (1, 7), "image": (1, 3, 8)}


@pytest.mark.parametrize(
    ("dynamic", "static", "message"),
    [
        ({"idz": ("batch", "s")}, False, "no input 'idz'. Did you mean 'ids'"),
        ({"ids": ("batch",)}, False, "gives 'ids' 1 axes, and its samples have 2"),
        ({"ids": ("batch", "8")}, False, "fixes axis 1 of 'ids' at 8, and the samples have 7"),
        ({"ids": ("0", "_")}, False, "fixes axis 0"),
        ({"ids": ("batch", "a-b")}, False, "'a-b' is no name for an axis"),
        ({"ids": ("batch", "_")}, True, "contradict"),
    ],
)
def test_an_option_that_does_not_fit(dynamic, static, message):
    with pytest.raises(UsageError) as caught:
        plan_axes(SHAPES, dynamic, static=static)
    assert message in caught.value.message
    assert caught.value.hint


def test_an_axis_of_length_one_cannot_be_seen_to_be_dynamic():
    with pytest.raises(UsageError, match="too short"):
        plan_axes({"ids": (5, 1)}, {"ids": ("batch", "sequence")}, static=False)


@given(rows=st.integers(1, 6), fixed=st.one_of(st.none(), st.integers(1, 9)))
def test_examples_have_the_rows_that_are_wanted(rows, fixed):
    samples = {"ids": np.arange(rows * 3).reshape(rows, 3)}
    axes = plan_axes({"ids": (rows, 3)}, {"ids": (str(fixed), "_")} if fixed else None, static=False)
    example = example_inputs(samples, axes)["ids"]
    assert len(example) == (fixed or 2)
    assert all((row == samples["ids"][n % rows]).all() for n, row in enumerate(example))


def shapes_of(arrays):
    x = arrays["x"]
    return {"same": x.shape, "mean": x.shape[:1], "flat": (x.shape[0] * x.shape[1],), "fixed": (4,)}


def test_outputs_follow_the_inputs_axes():
    axes = {"x": ("batch", "sequence")}
    found = output_axes(shapes_of, {"x": np.zeros((2, 4))}, axes)
    assert found == {"same": ("batch", "sequence"), "mean": ("batch",), "flat": (None,), "fixed": (4,)}


def test_a_length_that_the_model_refuses_leaves_its_axis_fixed():
    def run(arrays):
        if arrays["x"].shape[1] != 4:
            raise ConversionFailed("only 4")
        return {"y": arrays["x"].shape}

    assert output_axes(run, {"x": np.zeros((2, 4))}, {"x": ("batch", "sequence")}) == {"y": ("batch", 4)}


def test_outputs_that_come_and_go_are_refused():
    def run(arrays):
        return {"y": (1,)} if len(arrays["x"]) == 2 else {"z": (1,)}

    with pytest.raises(ConversionFailed, match="depend on the length of 'batch'"):
        output_axes(run, {"x": np.zeros((2, 4))}, {"x": ("batch", 4)})


def test_a_fixed_axis_and_a_forced_equality_are_errors():
    with pytest.raises(ConversionFailed, match="axis 'sequence' of the input 'x'") as caught:
        name_symbols({"x": ("s1", 7)}, {"x": ("batch", "sequence")}, what="the graph")
    assert "onnx.dynamic=x=batch,_" in caught.value.hint
    with pytest.raises(UsageError, match="'a' and 'b' must be of one length"):
        name_symbols({"x": ("s1", "s1")}, {"x": ("a", "b")}, what="the graph")


def test_expressions_are_renamed_at_once():
    assert rename_expression("2*s1 + s11", {"s1": "s11", "s11": "batch"}) == "2*s11 + batch"
