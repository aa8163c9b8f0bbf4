"""What check_forest promises to whoever takes a Forest: every rule, broken by itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlconvert.forests.model import Forest, check_forest


def two_trees(**changes) -> Forest:
    """Nodes 0 and 1 with the leaves 0 to 2, a tree of the leaf 3, and node 2 with the leaves 4 and 5."""
    forest = Forest(
        features=2,
        compares="float64",
        strict=False,
        roots=np.array([0, ~3, 2], np.int32),
        feature=np.array([0, 1, 1], np.int32),
        threshold=np.array([0.5, 1.5, 2.5]),
        left=np.array([1, ~0, ~4], np.int32),
        right=np.array([~1, ~2, ~5], np.int32),
        missing_left=np.zeros(3, bool),
        category_set=np.full(3, -1, np.int32),
        set_bounds=np.zeros(1, np.int64),
        set_values=np.zeros(0),
        leaf_values=np.zeros((6, 1)),
        leaf_ids=np.zeros(6, np.int32),
        tree_output=np.zeros(3, np.int32),
        truncates=np.zeros(2, bool),
        zero_is_missing=np.zeros(2, bool),
    )
    return replace(forest, **{name: np.array(value) for name, value in changes.items()})


def test_a_forest_that_keeps_the_rules():
    check_forest(two_trees())


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("nodes are not of equal length", {"threshold": [0.5]}),
        ("leaves or of trees", {"leaf_ids": [0]}),
        ("not one for each feature", {"truncates": [False]}),
        ("a feature that does not exist", {"feature": [0, 2, 1]}),
        ("a feature that does not exist", {"feature": [0, -1, 1]}),
        ("do not form trees", {"left": [1, ~0, ~0]}),  # a leaf of two parents
        ("do not form trees", {"left": [~6, ~0, ~4]}),  # a leaf that does not exist
        ("do not form trees", {"left": [3, ~0, ~4]}),  # a node that does not exist
        ("do not form trees", {"roots": [0, ~3, 0]}),
        ("before its parent", {"roots": [1, ~3, 2], "left": [~0, 0, ~4]}),
        ("the order of the trees", {"roots": [2, ~3, 0]}),
        ("the order of the trees", {"roots": [0, ~2, 2], "right": [~1, ~3, ~5]}),  # leaves of one tree within another
        ("the order of the trees", {"roots": [0, ~3, 1], "left": [2, ~0, ~4]}),  # nodes likewise
        ("a threshold is NaN", {"threshold": [0.5, np.nan, 2.5]}),
        ("a category set that does not exist", {"category_set": [-1, 0, -1]}),
    ],
)
def test_a_broken_rule_is_named(rule, changes):
    with pytest.raises(ValueError, match=rule):
        check_forest(two_trees(**changes))


def test_thresholds_of_a_float32_forest_are_float32():
    check_forest(replace(two_trees(), compares="float32"))
    with pytest.raises(ValueError, match="no float32"):
        check_forest(replace(two_trees(threshold=[0.5, 0.1, 2.5]), compares="float32"))
