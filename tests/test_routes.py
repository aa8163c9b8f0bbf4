"""The router over random tables of converters."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.converter import Converter
from mlconvert.errors import UsageError
from mlconvert.routes import reachable, route, shortest

FORMATS = tuple("abcdef")
PASSES = ("shrink", "tidy")


def edge(source: str, target: str, name: str | None = None) -> Converter:
    return Converter(source, target, name or target, "no.such.module", (), title="")


EDGES = st.sampled_from([edge(source, target) for source, target in itertools.permutations(FORMATS, 2)])
PASS_ROWS = st.sampled_from([edge(form, form, name) for form in FORMATS for name in PASSES])
# Where everything leads everywhere, and each pass is made somewhere.
RING = [edge(source, target) for source, target in zip(FORMATS, FORMATS[1:] + FORMATS[:1], strict=True)]
RING += [edge("c", "c", PASSES[0]), edge("e", "e", PASSES[1])]
CONNECTED = st.lists(EDGES | PASS_ROWS, max_size=8).flatmap(
    lambda more: st.permutations(list(dict.fromkeys([*RING, *more]))).map(tuple)
)
TABLES = st.lists(EDGES | PASS_ROWS, max_size=16, unique=True).map(tuple)


def distances(source: str, table: tuple[Converter, ...]) -> dict[str, int]:
    """The fewest edges to every format, found in another way than the router does."""
    found = {source: 0}
    for _ in FORMATS:
        for row in table:
            if row.source in found:
                found[row.target] = min(found.get(row.target, len(FORMATS)), found[row.source] + 1)
    return found


def is_chain(source: str, rows: list[Converter]) -> bool:
    return all(row.source == here for row, here in zip(rows, [source, *(row.target for row in rows)], strict=False))


@given(TABLES, st.sampled_from(FORMATS), st.sampled_from(FORMATS))
def test_the_shortest_way_is_a_chain_of_the_fewest_edges(table, source, target):
    way = shortest(source, target, table)
    known = distances(source, table)
    if way is None:
        assert target not in known
        return
    assert len(way) == known[target]
    assert is_chain(source, way)
    assert not way or way[-1].target == target
    assert all(row in table and not row.is_pass for row in way)


@given(TABLES, st.sampled_from(FORMATS))
def test_what_is_reachable_is_what_a_route_leads_to(table, source):
    expected = {name for name in distances(source, table) if name != source}
    if any(row.is_pass and row.source == source for row in table):
        expected.add(source)
    assert reachable(source, table) == sorted(expected)


@given(CONNECTED, st.sampled_from(FORMATS), st.lists(st.sampled_from(FORMATS + PASSES), min_size=1, max_size=4))
def test_a_route_goes_through_its_waypoints_in_order(table, source, waypoints):
    if set(waypoints) == {source}:
        return
    edges = route(source, waypoints, table)
    rows = [row for row, _ in edges]
    assert is_chain(source, rows)
    indices = [index for _, index in edges]
    assert indices == sorted(indices)
    here = source
    for index, name in enumerate(waypoints):
        leg = [row for row, at in edges if at == index]
        if name in PASSES:
            assert leg[-1].name == name
            assert leg[-1].is_pass
            assert not any(row.is_pass for row in leg[:-1])
        else:
            assert not any(row.is_pass for row in leg)
            assert (leg[-1].target if leg else here) == name
        here = leg[-1].target if leg else here


@given(TABLES, st.sampled_from(FORMATS), st.lists(st.sampled_from(FORMATS + PASSES), max_size=3))
def test_an_error_names_what_is_reachable(table, source, waypoints):
    error = None
    try:
        route(source, waypoints, table)
    except UsageError as caught:
        error = caught
    names = {row.source for row in table} | {row.target for row in table}
    names |= {row.name for row in table if row.is_pass}
    if error is None:
        assert set(waypoints) <= names
    elif "unknown format or pass" in error.message:
        assert not set(waypoints) <= names
        assert all(name in (error.hint or "") for name in names)
    elif "no route leads from" in error.message:
        start = error.message.removeprefix("no route leads from ").split()[0]
        assert error.hint == f"formats that {start} can become: {', '.join(reachable(start, table)) or 'none'}"
    else:
        assert set(waypoints) <= {source}


@given(TABLES, st.sampled_from(FORMATS), st.sampled_from(FORMATS), st.randoms(use_true_random=False))
def test_the_length_of_a_route_does_not_hang_on_the_order_of_rows(table, source, target, random):
    shuffled = list(table)
    random.shuffle(shuffled)
    first, second = shortest(source, target, table), shortest(source, target, shuffled)
    assert (first is None) == (second is None)
    assert first is None or second is None or len(first) == len(second)
    assert shortest(source, target, table) == first


def test_ties_go_to_the_row_that_stands_first():
    table = (edge("a", "c"), edge("a", "b"), edge("b", "d"), edge("c", "d"))
    assert [row.target for row in shortest("a", "d", table) or ()] == ["c", "d"]


def test_a_pass_is_made_where_it_is_nearest():
    table = (edge("a", "b"), edge("b", "c"), edge("c", "c", "tidy"), edge("b", "b", "tidy"))
    assert [row.id for row, _ in route("a", ["tidy", "c"], table)] == ["a->b", "b:tidy", "b->c"]


def test_an_unknown_word_gets_a_suggestion():
    table = (edge("lightgbm", "onnx"), edge("onnx", "onnx", "optimize"))
    with pytest.raises(
        UsageError, match=re.escape("unknown format or pass 'optimise'. Did you mean 'optimize'?")
    ) as caught:
        route("lightgbm", ["optimise", "onnx"], table)
    assert caught.value.hint == "formats: lightgbm, onnx; passes: optimize"


def test_an_unreachable_target_lists_the_reachable_ones():
    table = (edge("onnx", "tensorrt"), edge("torch", "onnx"), edge("keras", "tf"), edge("onnx", "onnx", "optimize"))
    with pytest.raises(UsageError, match="no route leads from torch to tf") as caught:
        route("torch", ["tf"], table)
    assert caught.value.hint == "formats that torch can become: onnx, tensorrt"


def test_nothing_to_do_is_an_error_that_names_the_passes():
    table = (edge("torch", "onnx"), edge("onnx", "onnx", "optimize"), edge("torch", "torch", "other"))
    with pytest.raises(UsageError, match="there is nothing to do") as caught:
        route("onnx", ["onnx"], table)
    assert caught.value.hint == "name a pass with --via: optimize"
