"""What goes along edges: types, lengths and batch sizes, right and wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.ensembles.edges import Interface, Tensor, flaws_along, interface_of
from mlconvert.ensembles.graph import Graph, Step

GRAPH = Graph(
    ("rows",),
    ("label", "scores"),
    (
        Step("score", {"x": "features"}, {"label": "label", "p": "scores"}),
        Step("prepare", {"a": "rows"}, {"b": "features"}),
    ),
)
ROWS, FEATURES = Tensor("string", (3,)), Tensor("float64", (8,))
PREPARE = Interface({"a": ROWS}, {"b": FEATURES, "unused": ROWS}, 64)
SCORE = Interface({"x": FEATURES}, {"label": Tensor("int64", (1,)), "p": Tensor("float64", (2,))}, 32)
MODELS = {"prepare": PREPARE, "score": SCORE}


def told(models, **arguments):
    return [(flaw.keys, flaw.text) for flaw in flaws_along(GRAPH, models, **arguments)]


def test_what_fits():
    assert told(MODELS) == []
    whole = interface_of(GRAPH, MODELS)
    assert whole.inputs == {"rows": ROWS}
    assert whole.outputs == {"label": Tensor("int64", (1,)), "scores": Tensor("float64", (2,))}
    assert whole.max_batch_size == 32
    assert interface_of(GRAPH, MODELS, 8).max_batch_size == 8


@pytest.mark.parametrize(
    ("taken", "reason"),
    [
        (Tensor("float32", (8,)), "another type"),
        (Tensor("string", (8,)), "another type"),
        (Tensor("float64", (9,)), "another length"),
        (Tensor("float64", (8, 1)), "1 axis, where 2 are expected"),
        (Tensor("float64", ()), "1 axis, where 0 are expected"),
        (Tensor("float64", (-1,)), None),
        (Tensor("float64", (8,)), None),
    ],
)
def test_an_edge(taken, reason):
    found = told({**MODELS, "score": replace(SCORE, inputs={"x": taken})})
    if reason is None:
        assert found == []
        return
    ((keys, text),) = found
    assert keys == ("steps", 0, "inputs", "x")
    assert text.startswith("the edge 'features': 'prepare' gives it as float64[8], 'score' takes 'x' as")
    assert text.endswith(reason)


def test_a_dynamic_output_goes_into_a_fixed_input():
    given_ = replace(PREPARE, outputs={"b": Tensor("float64", (-1,))})
    assert told({**MODELS, "prepare": given_}) == []


def test_names_that_models_do_not_have():
    found = told({**MODELS, "score": Interface({"xs": FEATURES}, SCORE.outputs, 32)})
    assert [keys for keys, _ in found] == [("steps", 0, "inputs", "x"), ("steps", 0, "inputs")]
    assert found[0][1] == "the model 'score' has no input 'x'. Did you mean 'xs'?"
    assert "takes 'xs' (float64[8]), which the step does not give it" in found[1][1]
    ((keys, text),) = told({**MODELS, "score": replace(SCORE, outputs={"label": Tensor("int64", (1,))})})
    assert (keys, text) == (("steps", 0, "outputs", "p"), "the model 'score' has no output 'p'.")


def test_two_models_that_take_one_input():
    graph = Graph(("x",), ("a", "b"), (Step("one", {"i": "x"}, {"o": "a"}), Step("two", {"i": "x"}, {"o": "b"})))
    one = Interface({"i": Tensor("float32", (-1, 3))}, {"o": ROWS}, 4)
    fits = Interface({"i": Tensor("float32", (5, -1))}, {"o": ROWS}, 4)
    assert flaws_along(graph, {"one": one, "two": fits}) == []
    assert interface_of(graph, {"one": one, "two": fits}).inputs == {"x": Tensor("float32", (5, 3))}
    (flaw,) = flaws_along(graph, {"one": one, "two": replace(fits, inputs={"i": Tensor("float32", (5, 4))})})
    assert flaw.text == (
        "the edge 'x': 'one' takes it as float32[?, 3], 'two' takes 'i' as float32[5, 4]: another length"
    )


@pytest.mark.parametrize(
    ("prepare", "score", "wanted", "words"),
    [
        (64, 32, None, None),
        (64, 32, 32, None),
        (64, 32, 1, None),
        (0, 0, None, None),
        (0, 0, 0, None),
        (None, None, None, None),
        (64, 32, 33, "the ensemble is to take up to 33 rows, its model 'score' takes 32"),
        (0, 0, 1, "takes no batches"),
        (64, 32, 0, "the ensemble is not to batch"),
        (0, 32, None, "'prepare' does not batch (max_batch_size 0), others do ('score' up to 32)"),
        (8, 0, None, "'score' does not batch (max_batch_size 0), others do ('prepare' up to 8)"),
    ],
)
def test_batch_sizes(prepare, score, wanted, words):
    models = {"prepare": replace(PREPARE, max_batch_size=prepare), "score": replace(SCORE, max_batch_size=score)}
    found = told(models, max_batch_size=wanted)
    assert ([] if words is None else [True]) == [words in text for _, text in found]


DTYPES, DIMS = st.sampled_from(["float32", "float64", "string"]), st.lists(st.sampled_from([-1, 1, 2, 3]), max_size=3)
TENSORS = st.builds(lambda dtype, dims: Tensor(dtype, tuple(dims)), DTYPES, DIMS)


@given(TENSORS, TENSORS)
def test_an_edge_fits_when_some_value_is_both(first, second):
    models = {"prepare": replace(PREPARE, outputs={"b": first}), "score": replace(SCORE, inputs={"x": second})}
    same = first.dtype == second.dtype and len(first.dims) == len(second.dims)
    some = same and all(a == b or -1 in (a, b) for a, b in zip(first.dims, second.dims, strict=True))
    assert (flaws_along(GRAPH, models) == []) == some
