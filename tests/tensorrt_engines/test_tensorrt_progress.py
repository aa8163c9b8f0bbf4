"""How far a build is, from phases within phases."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlconvert.converters.tensorrt_progress import Phases

TREES = st.recursive(
    st.builds(lambda steps: [[] for _ in range(steps)], st.integers(1, 4)),
    lambda inner: st.lists(st.lists(inner, max_size=2), min_size=1, max_size=3),
    max_leaves=12,
)  # a phase: for each of its steps the phases within


def events(tree: list, name: str = "root", parent: str | None = None):
    yield "start", name, parent, len(tree)
    for step, within in enumerate(tree):
        for number, inner in enumerate(within):
            yield from events(inner, f"{name}.{number}", name)
        yield "complete", name, step
    yield "finish", name


@given(TREES)
def test_the_share_grows_to_the_whole(tree) -> None:
    phases, before = Phases(), 0.0
    for kind, *given_ in events(tree):
        if (kind, given_[0]) == ("finish", "root"):
            assert phases.how_far() == (1.0, "root")
        getattr(phases, kind)(*given_)
        share, note = phases.how_far()
        assert share is None or before <= share <= 1.0
        assert note == "" or note.startswith("root")
        before = share or before
    assert phases.how_far() == (None, "")


def test_phases_within_count_for_their_step() -> None:
    phases = Phases()
    phases.start("Building", None, 4)
    phases.complete("Building", 0)
    phases.start("Tactics", "Building", 2)
    assert phases.how_far() == (0.25, "Building: Tactics")
    phases.complete("Tactics", 0)
    assert phases.how_far() == (0.375, "Building: Tactics")
    phases.finish("Tactics")  # as where TensorRT leaves the rest out
    assert phases.how_far() == (0.375, "Building")


@given(st.lists(st.tuples(st.sampled_from(["start", "complete", "finish"]), st.sampled_from("abc"),
                          st.sampled_from([None, "a", "b", "c"]), st.integers(0, 3))))  # fmt: skip
def test_phases_that_nobody_began_do_no_harm(told) -> None:
    phases = Phases()
    for kind, name, parent, number in told:
        if kind == "start":
            phases.start(name, parent if parent != name else None, number)
        elif kind == "complete":
            phases.complete(name, number)
        else:
            phases.finish(name)
        share, _ = phases.how_far()
        assert share is None or 0 <= share <= 1
