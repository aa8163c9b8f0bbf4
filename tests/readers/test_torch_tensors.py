"""Names of inputs and outputs, and tensors to arrays and back."""

from collections import OrderedDict
from typing import NamedTuple

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mlconvert.errors import ConversionFailed, UsageError
from mlconvert.readers.torch_tensors import forward_arguments, forward_order, name_outputs, to_array, to_tensor

ONE, TWO = torch.ones(1), torch.ones(2)


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


@pytest.mark.parametrize(
    ("result", "names"),
    [
        (ONE, ["output"]),
        ((ONE, TWO), ["output_0", "output_1"]),
        ([ONE, None, TWO], ["output_0", "output_2"]),
        (OrderedDict(logits=ONE, loss=None, states=(ONE, (TWO,))), ["logits", "states_0", "states_1_0"]),
        (Pair(ONE, TWO), ["left", "right"]),
        ({"x": ONE, "y": TWO}, ["x_output", "y"]),
        ({0: ONE}, ["output_0"]),
    ],
)
def test_names_of_outputs(result, names):
    assert list(name_outputs(result, ["x"])) == names


@pytest.mark.parametrize(
    "result", [None, (), {"a": None}, {"a": 3}, "text", {"a_0": ONE, "a": (TWO,)}, {"a": object()}]
)
def test_results_that_have_no_names(result):
    with pytest.raises(ConversionFailed):
        name_outputs(result)


def test_a_cache_among_the_outputs_names_the_way_out():
    class DynamicCache:
        pass

    with pytest.raises(ConversionFailed, match="DynamicCache") as caught:
        name_outputs({"logits": ONE, "past": DynamicCache()})
    assert caught.value.hint == "give the model use_cache=False"


trees = st.recursive(st.sampled_from([ONE, None]), lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=8)


@given(trees)
def test_every_tensor_of_a_nested_tuple_gets_one_name(tree):
    leaves, todo = 0, [tree]
    while todo:
        item = todo.pop()
        if isinstance(item, tuple):
            todo.extend(item)
        leaves += item is ONE
    if leaves:
        assert len(name_outputs(tree)) == leaves
    else:
        with pytest.raises(ConversionFailed):
            name_outputs(tree)


class Model(nn.Module):
    def forward(self, first, /, ids, mask=None, *, scale=1):
        return ids


class Any(nn.Module):
    def forward(self, ids, **rest):
        return ids


def test_inputs_come_in_the_order_of_forward():
    assert forward_order(Model(), ["scale", "ids", "first"]) == ("first", "ids", "scale")
    assert forward_order(Any(), ["more", "ids"]) == ("ids", "more")
    args, kwargs = forward_arguments(Model(), {"ids": ONE, "first": TWO})
    assert args == (TWO,)
    assert list(kwargs) == ["ids"]


def test_unknown_and_missing_inputs():
    with pytest.raises(UsageError, match=r"no input 'idz'. Did you mean 'ids'") as caught:
        forward_order(Model(), ["first", "idz"])
    assert caught.value.hint == "forward takes: first, ids, mask, scale"
    with pytest.raises(UsageError, match="no values for the input 'ids'"):
        forward_order(Model(), ["first"])

    class Stars(nn.Module):
        def forward(self, *inputs):
            return inputs

    with pytest.raises(UsageError, match="no input by name"):
        forward_order(Stars(), ["x"])


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "int32", "int64", "uint8", "float16", "float32", "float64", "bfloat16"]
)
def test_dtypes_survive_both_ways(dtype):
    values = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    tensor = to_tensor("x", values)
    assert str(tensor.dtype) == f"torch.{dtype}"
    back = to_array("x", tensor)
    assert back.dtype == values.dtype
    assert (back == values).all()


def test_read_only_reversed_and_swapped_arrays():
    values = np.arange(6.0)[::-1].astype(">f8")
    values.flags.writeable = False
    assert to_tensor("x", values).tolist() == [5, 4, 3, 2, 1, 0]


def test_what_no_tensor_and_no_array_can_hold():
    with pytest.raises(UsageError, match="takes numbers"):
        to_tensor("x", np.array(["a"]))
    for tensor in (torch.ones(1, dtype=torch.complex64), torch.ones(2, 2).to_sparse()):
        with pytest.raises(ConversionFailed, match="no other format"):
            to_array("y", tensor)
