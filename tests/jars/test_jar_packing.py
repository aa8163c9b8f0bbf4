"""The packed arrays, walked as the Java class walks them but in Python: the same leaves as the forest's own."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mlconvert.errors import ConversionFailed
from mlconvert.forests.evaluation import as_compared, leaves_of
from mlconvert.forests.model import Forest
from mlconvert.jars import packing, resource
from mlconvert.jars.packing import Packed, layout, pack
from mlconvert.jars.template import fill


def walked(forest: Forest, packed: Packed, rows: np.ndarray) -> np.ndarray:
    """The leaf of each row in each tree, int64 [n, T]."""
    inner = iter(zip(packed.node_slots.tolist(), packed.node_ranks.tolist(), strict=True))
    leaves = iter(packed.leaves.tolist())
    nodes: list[tuple[int, int, int] | None] = []
    leaf_at: dict[int, int] = {}
    roots = []
    for _ in range(forest.trees):
        roots.append(len(nodes))
        free = len(nodes) + 1
        while len(nodes) < free:
            at = len(nodes)
            if packed.is_inner[at]:
                nodes.append((free - at, *next(inner)))
                free += 2
            else:
                nodes.append(None)
                leaf_at[at] = next(leaves)
    found = np.empty((len(rows), forest.trees), np.int64)
    for index, row in enumerate(as_compared(forest, rows)):
        ranks = ranks_of(forest, packed, row)
        for tree, root in enumerate(roots):
            at = root
            while (node := nodes[at]) is not None:
                at += node[0] + right(packed, node, ranks)
            found[index, tree] = leaf_at[at]
    return found


def right(packed: Packed, node: tuple[int, int, int], ranks: np.ndarray) -> int:
    _, slot, limit = node
    rank = int(ranks[slot])
    if slot >= packed.numeric_lists * (1 + packed.two_sided):
        return int(packed.set_bits[packed.set_starts[limit] + (rank >> 5)]) >> (rank & 31) & 1
    return int(rank > limit)


def ranks_of(forest: Forest, packed: Packed, row: np.ndarray) -> np.ndarray:
    ranks = np.zeros(packed.slots, np.int64)
    for index, feature in enumerate(packed.features.tolist()):
        known = packed.thresholds[packed.starts[index] : packed.starts[index + 1]]
        x = row[feature]
        if index >= packed.numeric_lists:
            place = np.searchsorted(known, x)
            member = place < len(known) and known[place] == x
            rank = len(known) + 1 if np.isnan(x) else place if member else len(known)
            ranks[packed.numeric_lists * packed.two_sided + index] = rank
            continue
        below = (known <= x) if forest.strict else (known < x)
        rank = (1 << packed.rank_bits) - 1 if np.isnan(x) else int(below.sum())
        ranks[index] = rank
        if packed.two_sided:
            ranks[packed.numeric_lists + index] = 0 if np.isnan(x) else rank
    return ranks


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    strict=st.booleans(),
    missing=st.booleans(),
    sets=st.sampled_from([0, 3, 70]),
    truncates=st.booleans(),
    compares=st.sampled_from(["float32", "float64"]),
    chain=st.booleans(),
)
def test_a_walk_over_the_arrays_ends_in_the_same_leaves(random_forests, seed, **kind):
    model = random_forests.random_forest(random_forests.Kind(trees=4, **kind), seed)
    rows = random_forests.rows_for(model, seed, count=40)
    assert np.array_equal(walked(model.forest, pack(model.forest, "here"), rows), leaves_of(model.forest, rows))


def test_children_stand_side_by_side(random_forests):
    forest = random_forests.random_forest(random_forests.Kind(trees=6), 3).forest
    placed = layout(forest)
    place = {int(node): index for index, node in enumerate(placed.nodes)}
    assert len(place) == len(placed.nodes) == len(forest.feature) + forest.leaves
    assert [int(placed.nodes[start]) for start in placed.trees[:-1]] == forest.roots.tolist()
    for node, (left, right_) in enumerate(zip(forest.left.tolist(), forest.right.tolist(), strict=True)):
        assert place[right_] == place[left] + 1 > place[node] + 1


def test_nodes_beyond_a_long_are_refused(random_forests, monkeypatch):
    forest = random_forests.random_forest(random_forests.Kind(), 3).forest
    monkeypatch.setattr(packing, "_furthest", lambda *_: 1 << 60)
    with pytest.raises(ConversionFailed, match="too large for a jar") as refused:
        pack(forest, "here")
    assert "--to onnx" in refused.value.hint


# --- bytes ---


def read_array(data: bytes) -> tuple[int, np.ndarray]:
    width, count = struct.unpack(">ii", data[:8])
    planes = np.frombuffer(data[8:], np.uint8).reshape(width, count)
    return width, planes.T


@given(hnp.arrays(np.int64, st.integers(0, 20), elements=st.integers(0, 2**32 - 1)))
def test_integers_come_back(values):
    width, planes = read_array(resource.integers(values))
    read = [int.from_bytes(bytes(row), "big") for row in planes]
    assert read == values.tolist()
    assert width == max(1, (max(read, default=0).bit_length() + 7) // 8)


@given(hnp.arrays(np.float64, st.integers(0, 20)), st.booleans())
def test_doubles_come_back_to_the_bit(values, narrow):
    if narrow:
        with np.errstate(over="ignore"):
            values = values.astype(np.float32).astype(np.float64)
    width, planes = read_array(resource.doubles(values))
    kind = ">f4" if width == 4 else ">f8"
    read = np.ascontiguousarray(planes).reshape(-1).view(kind).astype(np.float64)
    same = (read.view(np.int64) == values.view(np.int64)) | (np.isnan(read) & np.isnan(values))
    assert same.all()
    assert width == 8 or len(values) == 0 or np.array_equal(values, values.astype(np.float32), equal_nan=True)


def test_a_template_needs_all_its_texts():
    with pytest.raises(KeyError):
        fill("Main", {}, frozenset())
