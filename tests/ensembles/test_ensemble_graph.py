"""The graph of an ensemble: random ones, whole and broken, and what is said of each flaw."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.ensembles.graph import Graph, Step, before, flaws, order


def models_of(graph):
    return tuple(dict.fromkeys(step.model for step in graph.steps))


@st.composite
def sound_graphs(draw):
    """Graphs that are ensembles: each step takes what comes before it, and all leads to an output."""
    inputs = tuple(f"in{n}" for n in range(draw(st.integers(1, 3))))
    known, steps = list(inputs), []
    for number in range(draw(st.integers(1, 6))):
        taken = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        given_ = [f"t{number}_{n}" for n in range(draw(st.integers(1, 2)))]
        model = f"m{draw(st.integers(0, number))}"
        steps.append(Step(model, {f"x{n}": t for n, t in enumerate(taken)}, {f"y{n}": t for n, t in enumerate(given_)}))
        known += given_
    used = {tensor for step in steps for tensor in step.inputs.values()}
    # What nobody takes is an output; an input that nobody takes is none.
    outputs = [t for step in steps for t in step.outputs.values() if t not in used]
    more = [t for step in steps for t in step.outputs.values() if t in used]
    outputs += draw(st.lists(st.sampled_from(more), unique=True)) if more else []
    graph = Graph(tuple(name for name in inputs if name in used), tuple(outputs), tuple(steps))
    return replace(graph, steps=tuple(draw(st.permutations(graph.steps))))


@given(sound_graphs())
def test_a_sound_graph_has_no_flaws(graph):
    assert flaws(graph, models_of(graph)) == []
    done, known = order(graph), set(graph.inputs)
    assert sorted(done) == list(range(len(graph.steps)))
    for index in done:
        assert known.issuperset(graph.steps[index].inputs.values())
        known |= set(graph.steps[index].outputs.values())


@given(sound_graphs(), st.data())
def test_what_comes_before_a_step_is_all_that_it_needs(graph, data):
    index = data.draw(st.integers(0, len(graph.steps) - 1))
    part = before(graph, index)
    assert {*part.outputs, *graph.inputs} >= set(graph.steps[index].inputs.values())
    assert graph.steps[index] not in part.steps
    if part.steps:
        assert flaws(part, models_of(part)) == []


def changed(graph, index, **sides):
    steps = list(graph.steps)
    steps[index] = replace(steps[index], **sides)
    return replace(graph, steps=tuple(steps))


def misspelt(graph, data):
    index = data.draw(st.integers(0, len(graph.steps) - 1))
    step = graph.steps[index]
    name = data.draw(st.sampled_from(sorted(step.inputs)))
    return changed(graph, index, inputs={**step.inputs, name: "nowhere"}), "no step makes the tensor 'nowhere'"


def made_twice(graph, data):
    index = data.draw(st.integers(0, len(graph.steps) - 1))
    step = graph.steps[index]
    taken = data.draw(st.sampled_from([*graph.inputs, *step.outputs.values()]))
    return changed(graph, index, outputs={**step.outputs, "again": taken}), f"the tensor '{taken}' has two sources"


def round_about(graph, data):
    """A step takes what is made of what it gives."""
    ends = [
        (index, tensor)
        for index, step in enumerate(graph.steps)
        for later in graph.steps
        if not set(step.outputs.values()).isdisjoint(later.inputs.values())
        for tensor in later.outputs.values()
    ] or [(index, tensor) for index, step in enumerate(graph.steps) for tensor in step.outputs.values()]
    index, tensor = data.draw(st.sampled_from(ends))
    return changed(graph, index, inputs={**graph.steps[index].inputs, "back": tensor}), "round in a circle"


def dead_end(graph, data):
    model = data.draw(st.sampled_from(models_of(graph)))
    step = Step(model, {"x": graph.inputs[0]}, {"y": "unused"})
    return replace(graph, steps=(*graph.steps, step)), "leads to an output"


def idle_input(graph, data):
    return replace(graph, inputs=(*graph.inputs, "idle")), "no step takes the input 'idle'"


def unknown_output(graph, data):
    return replace(graph, outputs=(*graph.outputs, "nothing")), "no step makes 'nothing'"


def input_as_output(graph, data):
    return replace(graph, outputs=(*graph.outputs, graph.inputs[0])), "no step makes it"


def output_twice(graph, data):
    return replace(graph, outputs=(*graph.outputs, graph.outputs[0])), "is given twice"


def nothing_given(graph, data):
    return changed(graph, data.draw(st.integers(0, len(graph.steps) - 1)), outputs={}), "gives nothing"


BROKEN = (
    misspelt,
    made_twice,
    round_about,
    dead_end,
    idle_input,
    unknown_output,
    input_as_output,
    output_twice,
    nothing_given,
)


@pytest.mark.parametrize("breaks", BROKEN, ids=lambda function: function.__name__)
@given(sound_graphs(), st.data())
def test_a_broken_graph_is_told(breaks, graph, data):
    broken, words = breaks(graph, data)
    told = flaws(broken, models_of(broken))
    assert any(words in flaw.text for flaw in told), told
    for flaw in told:  # each names a place that is there
        value = {
            "inputs": broken.inputs,
            "outputs": broken.outputs,
            "steps": [{**step.as_json()} for step in broken.steps],
        }
        for key in flaw.keys:
            value = value[key]


def test_models_that_are_not_there_or_not_used():
    graph = Graph(("a",), ("b",), (Step("scorer", {"x": "a"}, {"y": "b"}),))
    unknown, unused = flaws(graph, ("score",))
    assert (unknown.keys, unknown.text) == (
        ("steps", 0, "model"),
        "there is no model 'scorer'. Did you mean 'score'?",
    )
    assert unused.text == "no step uses the model 'score'"


def test_a_circle_is_told_by_its_steps_alone():
    steps = (
        Step("waits", {"x": "c"}, {"y": "out"}),
        Step("one", {"x": "a", "z": "c"}, {"y": "b"}),
        Step("two", {"x": "b"}, {"y": "c"}),
    )
    (flaw,) = flaws(Graph(("a",), ("out",), steps), ("waits", "one", "two"))
    assert flaw.keys == ("steps", 1)
    assert "'one' -> 'two' -> 'one'" in flaw.text or "'two' -> 'one' -> 'two'" in flaw.text
    assert "waits" not in flaw.text


def test_an_empty_one():
    told = [flaw.text for flaw in flaws(Graph((), (), ()), ())]
    assert told == [
        "an ensemble has at least one of its inputs",
        "an ensemble has at least one of its outputs",
        "an ensemble has at least one step",
    ]
