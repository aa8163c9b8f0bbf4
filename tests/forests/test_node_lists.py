"""The numbering of lists of nodes, and thresholds for float32 rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlconvert.forests.node_lists import number, rounded_down, within_trees

FLOATS = st.floats(allow_nan=False)
NARROW = st.floats(allow_nan=False, width=32)


@given(st.one_of(FLOATS, NARROW), NARROW)
def test_a_threshold_rounded_down_sends_every_float32_the_same_way(threshold, x):
    rounded = rounded_down(np.array([threshold]))[0]
    with np.errstate(over="ignore"):
        assert rounded == np.float32(rounded)
        near = np.float32(threshold)
        around = [x, near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))]
    assert [float(value) <= threshold for value in around] == [float(value) <= rounded for value in around]


def test_nodes_and_leaves_are_numbered_apart_and_through_all_trees():
    # A root with a leaf and a node of two leaves; a single leaf; a root of two leaves, the right one listed first.
    sizes = np.array([5, 1, 3])
    left = np.array([1, -1, 3, -1, -1, -1, 2, -1, -1])
    right = np.array([2, -1, 4, -1, -1, -1, 1, -1, -1])
    leaf = left < 0
    numbering = number(sizes, left, right, leaf)
    assert numbering.roots.tolist() == [0, ~3, 2]
    assert numbering.left.tolist() == [~0, ~1, ~5]
    assert numbering.right.tolist() == [1, ~2, ~4]
    assert within_trees(sizes, leaf).tolist() == [1, 3, 4, 0, 1, 2]
