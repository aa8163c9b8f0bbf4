"""Boundary rows reach the node that they are for, whatever the forest asks for on the way."""

from __future__ import annotations

import itertools
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlconvert.forests.behind_steps import rows_behind
from mlconvert.forests.boundary import boundary_rows, probes
from mlconvert.forests.boundary_features import Features, width
from mlconvert.forests.boundary_paths import Paths, compared
from mlconvert.forests.boundary_values import CATEGORY, NEAR, SPECIAL, TIES, kinds_of_thresholds
from mlconvert.forests.evaluation import as_compared, goes_left
from mlconvert.forests.model import ZERO, Forest, check_forest

CATEGORIES = 6
THRESHOLDS = (-2.0, -1.5, -ZERO, 0.0, ZERO, 0.1, 1.0, 1.25, 3.0)


def grown(
    seed: int, *, trees: int = 4, leaves: int = 6, features: int = 3, categorical: int = 0, free: bool = True,
    **rules: object,
) -> Forest:  # fmt: skip
    """A forest of random trees. With `free`, splits know nothing of those above: paths may contradict themselves."""
    random = np.random.default_rng(seed)
    nodes: list[tuple[int, float, int]] = []
    children: list[list[int]] = []
    roots, sets, leaf = [], [], 0
    narrow = rules.get("compares") == "float32"
    for _ in range(trees):
        places: list[tuple[int, int, dict]] = [(-1, 0, {})]
        size = int(random.integers(1, leaves + 1))
        roots.append(len(nodes))
        for _ in range(size - 1):
            parent, side, box = places.pop(int(random.integers(len(places))))
            feature = int(random.integers(features))
            if feature < categorical:
                allowed = box.get(feature, list(range(CATEGORIES)))
                if free or len(allowed) < 2:
                    allowed = list(range(CATEGORIES))
                    inside = [c for c in allowed if random.random() < 0.4]
                else:
                    inside = allowed[: int(random.integers(1, len(allowed)))]
                sets.append(inside)
                nodes.append((feature, np.nan, len(sets) - 1))
                below = inside, [c for c in allowed if c not in inside]
            else:
                low, high = (-4.0, 4.0) if free else box.get(feature, (-4.0, 4.0))
                at = float(random.choice(THRESHOLDS)) if free else float(random.uniform(low, high))
                nodes.append((feature, float(np.float32(at)) if narrow else at, -1))
                below = (low, nodes[-1][1]), (nodes[-1][1], high)
            here = len(nodes) - 1
            children.append([0, 0])
            if parent >= 0:
                children[parent][side] = here
            places += [(here, side, {**box, feature: part}) for side, part in enumerate(below)]
        for parent, side, _ in places:
            if parent < 0:
                roots[-1] = ~leaf
            else:
                children[parent][side] = ~leaf
            leaf += 1
    left, right = np.array(children, np.int32).reshape(-1, 2).T
    made = Forest(
        features=features,
        compares="float64",
        strict=False,
        roots=np.array(roots, np.int32),
        feature=np.array([node[0] for node in nodes], np.int32),
        threshold=np.array([node[1] for node in nodes], np.float64),
        left=left,
        right=right,
        missing_left=random.random(len(nodes)) < 0.5,
        category_set=np.array([node[2] for node in nodes], np.int32),
        set_bounds=np.cumsum([0] + [len(members) for members in sets], dtype=np.int64),
        set_values=np.array([category for members in sets for category in members], np.float64),
        leaf_values=random.normal(size=(leaf, 1)),
        leaf_ids=np.arange(leaf, dtype=np.int32),
        tree_output=np.zeros(trees, np.int32),
        truncates=np.zeros(features, bool),
        zero_is_missing=np.zeros(features, bool),
    )
    made = replace(made, **rules)
    check_forest(made)
    return made


def probed(forest: Forest, **arguments: object) -> tuple[np.ndarray, np.ndarray]:
    made = probes(forest, **arguments)
    return made.rows, made.nodes


def reached(forest: Forest, rows: np.ndarray) -> np.ndarray:
    """Which nodes each row comes to, by walking down: bool [n, N]."""
    seen = as_compared(forest, rows)
    been = np.zeros((len(rows), len(forest.feature)), bool)
    for root in forest.roots[forest.roots >= 0]:
        row, at = np.arange(len(rows)), np.full(len(rows), root)
        while len(at):
            been[row, at] = True
            below = np.where(
                goes_left(forest, at, seen[row, forest.feature[at]]), forest.left[at], forest.right[at]
            )  # fmt: skip
            row, at = row[below >= 0], below[below >= 0]
    return been


def every_cell(forest: Forest) -> np.ndarray:
    """Rows from every cell that the thresholds and categories cut the space into."""
    columns = []
    for feature in range(forest.features):
        own = forest.threshold[(forest.feature == feature) & (forest.category_set < 0)]
        around = [own, width(forest).above(own), width(forest).below(own), np.floor(own), np.floor(own) + 1]
        around += [np.arange(CATEGORIES + 1.0), np.array([-ZERO, ZERO]) * 1.001, [-1.0, -9.0, 9.0]]
        around += [[np.nan]] if forest.takes_nan else []
        around += [[np.inf, -np.inf]] if forest.takes_infinity else []
        columns.append(np.unique(np.concatenate(around)))
    return np.array(list(itertools.product(*columns)))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    compares=st.sampled_from(["float32", "float64"]),
    strict=st.booleans(),
    takes_nan=st.booleans(),
    takes_infinity=st.booleans(),
    categorical=st.integers(0, 2),
    truncates=st.booleans(),
    floors=st.booleans(),
    zero_is_missing=st.booleans(),
    based=st.booleans(),
)
def test_rows_reach_their_node_wherever_any_row_does(
    seed: int, truncates: bool, zero_is_missing: bool, takes_nan: bool, categorical: int, based: bool, **rules: object
) -> None:
    random = np.random.default_rng(seed)
    forest = grown(
        seed,
        features=2,
        categorical=categorical,
        truncates=np.array([True, False]) & truncates,
        zero_is_missing=np.array([False, True]) & zero_is_missing,
        takes_nan=takes_nan or zero_is_missing,
        **rules,
    )
    around = random.normal(size=(20, 2)) if based else None
    rows, nodes = probed(forest, count=300, seed=seed, around=around)
    assert len(rows) == (300 if len(forest.feature) else 0)
    can_be = reached(forest, every_cell(forest)).any(axis=0)
    are = reached(forest, rows)[np.arange(len(rows)), nodes]
    assert np.array_equal(are, can_be[nodes])


@pytest.mark.parametrize(
    "rules", [{}, {"strict": True}, {"compares": "float32"}, {"compares": "float32", "strict": True}]
)
def test_consistent_trees_are_reached_by_every_row_and_both_sides_of_each_threshold_are_met(rules: dict) -> None:
    forest = grown(3, trees=30, leaves=31, features=8, free=False, **rules)
    rows, nodes = probed(forest, count=60 * len(forest.feature), seed=1)
    assert reached(forest, rows)[np.arange(len(rows)), nodes].all()
    values = compared(forest, forest.feature[nodes], rows[np.arange(len(rows)), forest.feature[nodes]])
    at = forest.threshold[nodes]
    floats = width(forest)
    for wanted in (at, floats.above(at), floats.below(at)):
        assert set(nodes[values == wanted]) == set(range(len(forest.feature)))


def test_each_kind_of_value_comes_early() -> None:
    forest = grown(5, trees=40, leaves=20, features=10, free=False)
    rows, nodes = probed(forest, count=200, seed=0)
    values, at = rows[np.arange(200), forest.feature[nodes]], forest.threshold[nodes]
    assert len(set(nodes)) == 200
    assert np.isnan(values).any()
    assert {np.inf, -np.inf, 0.0, ZERO, -ZERO, np.nextafter(ZERO, 1), np.nextafter(ZERO, 0)} <= set(values)
    assert np.any((values == 0) & np.signbit(values))
    for wanted in (at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf)):
        assert np.any(values == wanted)
    narrow = at.astype(np.float32)
    for wanted in (narrow, np.nextafter(narrow, np.float32(-np.inf)), np.nextafter(narrow, np.float32(np.inf))):
        assert np.any(values == wanted.astype(np.float64))


def test_doubles_between_two_float32_numbers_come_for_a_float32_forest() -> None:
    forest = grown(5, trees=40, leaves=20, features=10, free=False, compares="float32")
    rows, nodes = probed(forest, count=2000, seed=0)
    values, at = rows[np.arange(2000), forest.feature[nodes]], forest.threshold[nodes]
    for beyond in (width(forest).above(at), width(forest).below(at)):
        middle = (at + beyond) / 2
        assert np.any(values == middle)
        assert np.any(values == np.nextafter(middle, beyond))
        assert np.any(values.astype(np.float32) == beyond.astype(np.float32))


def test_categories_known_unknown_negative_and_broken() -> None:
    forest = grown(5, trees=30, leaves=8, features=3, categorical=3, free=False)
    rows, nodes = probed(forest, count=3000, seed=0)
    values = rows[np.arange(3000), forest.feature[nodes]]
    inside = goes_left(forest, nodes, values) & ~np.isnan(values)
    known = np.isin(values, np.arange(CATEGORIES))
    assert inside.any()
    assert (known & ~inside).any()
    assert {-1.0, 1e9, 2.5, -0.5, np.inf, -np.inf} <= set(values)
    assert np.isnan(values).any()
    assert (values == CATEGORIES - 1).any()
    assert reached(forest, rows)[np.arange(3000), nodes].all()


def test_a_forest_that_refuses_nan_and_infinity_gets_neither() -> None:
    forest = grown(
        1, trees=20, leaves=12, features=4, categorical=1, compares="float32", takes_nan=False, takes_infinity=False
    )
    huge = replace(forest, threshold=np.where(forest.threshold > 1, float(np.finfo(np.float32).max), forest.threshold))
    for made in (forest, huge):
        rows = boundary_rows(made, count=5000, seed=2)
        assert np.isfinite(rows.astype(np.float32)).all()


def test_a_threshold_of_infinity_separates_numbers_from_missing_ones() -> None:
    """scikit-learn's trees split so: all numbers go left, and what hangs on the right is for NaN alone."""
    forest = replace(
        grown(8, trees=2, leaves=1, features=1),
        roots=np.array([0, -4], np.int32),
        feature=np.zeros(2, np.int32),
        threshold=np.array([np.inf, 0.5]),
        left=np.array([-1, -2], np.int32),
        right=np.array([1, -3], np.int32),
        missing_left=np.array([False, True]),
        category_set=np.full(2, -1, np.int32),
        leaf_values=np.zeros((4, 1)),
        leaf_ids=np.arange(4, dtype=np.int32),
    )
    check_forest(forest)
    rows, nodes = probed(forest, count=40, seed=0)
    assert np.isnan(rows[nodes == 1]).all()
    assert reached(forest, rows)[np.arange(40), nodes].all()


def test_values_that_need_no_move_stay_and_others_are_not_touched() -> None:
    forest = grown(4, trees=5, leaves=8, features=30, free=False)
    around = np.random.default_rng(0).normal(size=(1, 30))
    rows, nodes = probed(forest, count=200, seed=0, around=around)
    paths = Paths.of(forest)
    for row, node in zip(rows, nodes, strict=True):
        may = {forest.feature[node]}
        while (node := paths.parent[node]) >= 0:
            may.add(forest.feature[node])
        changed = set(np.flatnonzero(row != around[0]))
        assert changed <= may


def test_few_rows_are_spread_over_all_trees_and_depths() -> None:
    forest = grown(6, trees=50, leaves=31, features=10, free=False)
    paths = Paths.of(forest)
    trees = len(set(paths.tree))
    _, nodes = probed(forest, count=trees * 4, seed=0)
    assert np.array_equal(np.bincount(paths.tree[nodes], minlength=forest.trees).clip(max=4),
                          np.bincount(paths.tree, minlength=forest.trees).clip(max=4))  # fmt: skip
    deep = np.flatnonzero(np.bincount(paths.tree, minlength=forest.trees) > 12)
    for tree in deep:
        depths = paths.depth[nodes[paths.tree[nodes] == tree]]
        assert len(set(depths)) == len(depths)


def test_every_node_comes_once_before_any_comes_twice() -> None:
    forest = grown(2, trees=7, leaves=9)
    _, nodes = probed(forest, count=3 * len(forest.feature), seed=9)
    for turn in np.split(nodes, 3):
        assert sorted(turn) == list(range(len(forest.feature)))


def test_a_node_meets_every_kind_in_time() -> None:
    forest = grown(11, trees=3, leaves=9, free=False)
    rounds = len(kinds_of_thresholds(forest))
    rows, nodes = probed(forest, count=rounds * len(forest.feature), seed=9)
    root = forest.roots[forest.roots >= 0][0]
    values = rows[nodes == root, forest.feature[root]]
    assert len(set(values[~np.isnan(values)])) >= len({*NEAR, *SPECIAL}) - 3  # 0.0 is -0.0, and NaN is left out
    assert np.isnan(values).any()


def test_large_forests_take_seconds_and_wide_ones_little_memory() -> None:
    forest = grown(0, trees=500, leaves=31, features=30, free=False)
    start = time.perf_counter()
    assert len(boundary_rows(forest, count=100_000, seed=0)) == 100_000
    assert time.perf_counter() - start < 10  # takes 0.3 on an idle machine
    wide = grown(0, trees=20, leaves=31, features=4000, free=False)
    tracemalloc.start()
    rows = boundary_rows(wide, count=1500, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < rows.nbytes + 100e6


def test_the_seed_decides() -> None:
    forest = grown(2, trees=7, leaves=9)
    one, same, other = (boundary_rows(forest, count=500, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same, equal_nan=True)
    assert not np.array_equal(one, other, equal_nan=True)


@pytest.mark.parametrize("count", [0, 10])
def test_trees_without_splits_have_no_boundaries(count: int) -> None:
    forest = grown(0, trees=3, leaves=1)
    assert boundary_rows(forest, count=count, seed=0).shape == (0, 3)


def test_no_rows_to_start_from_is_as_none() -> None:
    forest = grown(2, trees=7, leaves=9)
    empty = boundary_rows(forest, count=50, seed=1, around=np.empty((0, 3)))
    assert np.array_equal(empty, boundary_rows(forest, count=50, seed=1), equal_nan=True)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["float32", "float64"]), st.booleans())
def test_a_value_is_compared_as_its_row_is(seed: int, compares: str, floors: bool) -> None:
    random = np.random.default_rng(seed)
    forest = grown(
        seed,
        features=5,
        truncates=random.random(5) < 0.5,
        zero_is_missing=random.random(5) < 0.5,
        compares=compares,
        floors=floors,
    )
    values = np.concatenate([random.normal(size=20), [0.0, -0.0, ZERO, -ZERO, 1e-35, 1e300, np.nan, np.inf, -np.inf]])
    rows = random.choice(values, size=(30, 5))
    row, feature = random.integers(30, size=50), random.integers(5, size=50)
    np.testing.assert_array_equal(
        compared(forest, feature, rows[row, feature]), as_compared(forest, rows)[row, feature]
    )


def test_the_features_know_their_numbers() -> None:
    forest = grown(4, trees=20, leaves=8, features=3, categorical=1)
    features = Features.of(forest)
    for feature in range(3):
        own = features.values[features.first[feature] :][: features.known[feature] + 1]
        if feature == 0:
            assert features.categorical[feature]
            assert set(own[:-1]) == set(forest.set_values)
        else:
            assert np.array_equal(own[:-1], np.unique(forest.threshold[forest.feature == feature]))
        assert own[-1] > own[-2]


def test_kinds_are_listed_once_each_at_least() -> None:
    forest = grown(4)
    assert {*kinds_of_thresholds(forest)} == {*NEAR, *SPECIAL}
    assert {*kinds_of_thresholds(replace(forest, compares="float32"))} == {*NEAR, *TIES, *SPECIAL}
    assert len(CATEGORY) == len(set(CATEGORY))


@pytest.mark.parametrize("step", [1.0, -0.5])
def test_integers_before_steps_are_led_to_their_nodes(step: float) -> None:
    """A number between two thresholds need not be one that an integer leads to: the next one then has to do."""
    forest = grown(1, trees=20, leaves=12, features=3, free=False, takes_nan=False, takes_infinity=False)
    forest = replace(forest, threshold=(np.round(forest.threshold * 5) + 0.5) * abs(step))
    table = list(np.random.default_rng(0).integers(-20, 20, size=(3, 100)))
    rows = rows_behind(forest, lambda columns: np.column_stack(columns) * step, table, count=2000, seed=5)
    assert {column.dtype for column in rows} == {np.dtype(np.int64)}
    nodes = probes(forest, count=2000, seed=5, around=np.column_stack(table) * step).nodes
    assert reached(forest, np.column_stack(rows) * step)[np.arange(2000), nodes].all()
