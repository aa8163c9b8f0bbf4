"""The columns that a forest's nodes test, where those are not the features as they come.

Zeros that are missing and fractions that are cut off become further columns behind the features, and so do
categories: ONNX Runtime casts what it looks up in a set to an integer of 32 bits, unchecked (3.7 is in {3}, and what
NaN becomes depends on the processor). A category's column therefore holds a number of a category, or STRANGER, which
is in no set, or NaN where NaN goes left. Categories that are no such integers are numbered first. Runtimes that cannot
look up sets get a column for each set.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import ZERO
from mlconvert.forests.onnx_trees import places_of_sets

if TYPE_CHECKING:
    from mlconvert.forests.model import Forest
    from mlconvert.forests.onnx_graph import Graph

STRANGER = -1.0
CATEGORIES = 2147483520
"""Categories that are looked up are whole numbers below this one: the largest float32 that is an integer of 32 bits."""

MOST_INDICATORS = 1 << 24
"""The most numbers in the tables of sets for runtimes that cannot look them up: 128 MB."""


def add_columns(graph: Graph, forest: Forest, rows: str, *, sets: bool) -> tuple[Forest, str]:
    """A forest whose nodes test columns as they are, and these columns [N, F + more], made of the features.

    `sets` says whether the nodes may look up sets. Raises ConversionFailed for more sets than can be written
    without looking them up.
    """
    if sets:
        forest, rows = _with_keys(graph, forest, rows)
    parts = [rows]
    if (forest.zero_is_missing | forest.truncates).any():
        forest, more = _with_numbers(graph, forest, rows)
        parts += more
    if (forest.category_set >= 0).any():
        forest, more = (_with_categories if sets else _with_indicators)(graph, forest, rows)
        parts += more
    return forest, graph.add("Concat", *parts, axis=1) if len(parts) > 1 else rows


def _with_numbers(graph: Graph, forest: Forest, rows: str) -> tuple[Forest, list[str]]:
    """A column for each feature that is changed and compared with thresholds, or multiplied in linear leaves."""
    changed = forest.zero_is_missing | forest.truncates
    numeric = forest.category_set < 0
    used = forest.feature[numeric]
    if forest.linear is not None:
        used = np.concatenate([used, forest.linear.feature[forest.linear.feature >= 0]])
    features = np.intersect1d(used, np.flatnonzero(changed))
    if not len(features):
        return forest, []
    moved = np.append(np.arange(forest.features), -1)  # the last for the feature -1
    moved[features] = forest.features + np.arange(len(features))
    feature = np.where(numeric, moved[forest.feature], forest.feature)
    linear = forest.linear and replace(forest.linear, feature=moved[forest.linear.feature])
    wider = replace(forest, features=forest.features + len(features), feature=feature, linear=linear)
    return wider, [_numbers(graph, forest, rows, features)]


def _features(graph: Graph, forest: Forest, rows: str, features: np.ndarray) -> str:
    """Some features [N, len(features)], with NaN for the zeros that are missing."""
    picked = graph.add("Gather", rows, graph.constant(features, "int64"), axis=1)
    missing = forest.zero_is_missing[features]
    if not missing.any():
        return picked
    limit = np.where(missing, ZERO, -1)  # nothing is within -1 of zero
    near = graph.add("LessOrEqual", graph.add("Abs", picked), graph.constant(limit, forest.compares))
    return graph.add("Where", near, graph.constant(np.nan, forest.compares), picked)


def _numbers(graph: Graph, forest: Forest, rows: str, features: np.ndarray) -> str:
    """Some features with their zeros missing and their fractions cut off, as the forest says."""
    x = _features(graph, forest, rows, features)
    cut = forest.truncates[features]
    if not cut.any():
        return x
    if forest.floors:
        whole = graph.add("Floor", x)
    else:
        whole = graph.add("Mul", graph.add("Floor", graph.add("Abs", x)), graph.add("Sign", x))
    return graph.add("Where", graph.constant(cut), whole, x)


def _with_keys(graph: Graph, forest: Forest, rows: str) -> tuple[Forest, str]:
    """`rows` with a column for each feature whose categories are not all whole numbers from 0 to below CATEGORIES.

    It holds 1, 2, ... for each of the feature's categories, 0 for what is none of them, and NaN for NaN.
    """
    values = forest.set_values
    if not ((values != np.floor(values)) | (values < 0) | (values >= CATEGORIES)).any():
        return forest, rows
    forest, owner = _with_own_sets(forest)
    values = forest.set_values
    odd = np.unique(owner[(values != np.floor(values)) | (values < 0) | (values >= CATEGORIES)])
    tested = forest.category_set >= 0
    columns, moved, keyed = [], np.arange(forest.features), values.copy()
    for place, one in enumerate(odd):
        keys, which = np.unique(values[owner == one], return_inverse=True)
        keyed[owner == one] = which + 1
        moved[one] = forest.features + place
        x, key = _key(graph, forest, rows, one, keys, keepdims=1)
        columns.append(graph.add("Where", graph.add("IsNaN", x), x, graph.cast(key, forest.compares)))
    wider = replace(
        forest,
        features=forest.features + len(odd),
        feature=np.where(tested, moved[forest.feature], forest.feature),
        set_values=keyed,
        truncates=np.pad(forest.truncates, (0, len(odd))),
        zero_is_missing=np.pad(forest.zero_is_missing, (0, len(odd))),
    )
    return wider, graph.add("Concat", rows, *columns, axis=1)


def _with_own_sets(forest: Forest) -> tuple[Forest, np.ndarray]:
    """The forest with a set for each node that tests one, and the feature that each value of a set is compared with."""
    tested = np.flatnonzero(forest.category_set >= 0)
    places, sizes = places_of_sets(forest, forest.category_set[tested])
    category_set = np.full(len(forest.category_set), -1, np.int32)
    category_set[tested] = np.arange(len(tested))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    own = replace(forest, category_set=category_set, set_bounds=bounds, set_values=forest.set_values[places])
    return own, np.repeat(forest.feature[tested], sizes)


def _key(graph: Graph, forest: Forest, rows: str, feature: int, keys: np.ndarray, *, keepdims: int) -> tuple[str, str]:
    """A feature [N, 1], and 1, 2, ... where it is the first, second, ... of the keys, else 0."""
    x = _numbers(graph, forest, rows, np.array([feature]))
    same = graph.add("Equal", x, graph.constant(np.concatenate([[np.nan], keys]), forest.compares))
    return x, graph.add("ArgMax", graph.cast(same, "int32"), axis=1, keepdims=keepdims)


def _with_categories(graph: Graph, forest: Forest, rows: str) -> tuple[Forest, list[str]]:
    """A column for each feature and way of its NaN: one for the nodes that send NaN left, one for those that do not."""
    tested = np.flatnonzero(forest.category_set >= 0)
    ways, column = np.unique(2 * forest.feature[tested] + forest.missing_left[tested], return_inverse=True)
    features, left = ways // 2, ways % 2 == 1
    stranger = graph.constant(STRANGER, forest.compares)

    x = _features(graph, forest, rows, features)
    if forest.floors:  # the cast cuts off towards zero
        x = graph.add("Where", graph.constant(forest.truncates[features]), graph.add("Floor", x), x)
    inside = graph.add("Less", graph.add("Abs", x), graph.constant(float(CATEGORIES), forest.compares))
    inside = graph.add("Where", inside, x, stranger)
    known = graph.cast(graph.cast(inside, "int32"), forest.compares)
    cut = forest.truncates[features]
    if not cut.all():
        kept = graph.add("Or", graph.add("Equal", inside, known), graph.constant(cut))
        known = graph.add("Where", kept, known, stranger)
    if left.any():
        kept = graph.add("And", graph.add("IsNaN", x), graph.constant(left))
        known = graph.add("Where", kept, x, known)
    feature = forest.feature.copy()
    feature[tested] = forest.features + column
    return replace(forest, features=forest.features + len(ways), feature=feature), [known]


def _with_indicators(graph: Graph, forest: Forest, rows: str) -> tuple[Forest, list[str]]:
    """A column for each node that tests a set: 0 where the feature is in it, 1 where not, NaN for NaN."""
    tested = np.flatnonzero(forest.category_set >= 0)
    order = tested[np.argsort(forest.feature[tested], kind="stable")]
    features, first = np.unique(forest.feature[order], return_index=True)
    parts, size = [], 0
    for one, nodes in zip(features, np.split(order, first[1:]), strict=True):
        places, sizes = places_of_sets(forest, forest.category_set[nodes])
        keys, which = np.unique(forest.set_values[places], return_inverse=True)
        size += (len(keys) + 1) * len(nodes)
        if size > MOST_INDICATORS:
            what = f"{len(tested)} splits on categories are too many for an ONNX Runtime that cannot look them up"
            raise ConversionFailed(what, hint="leave target_runtime out, or name 1.23 or a later one")
        table = np.ones((len(keys) + 1, len(nodes)))  # its first row: no key at all
        table[which + 1, np.repeat(np.arange(len(nodes)), sizes)] = 0
        x, key = _key(graph, forest, rows, one, keys, keepdims=0)
        found = graph.add("Gather", graph.constant(table, forest.compares), key, axis=0)
        parts.append(graph.add("Where", graph.add("IsNaN", x), x, found))
    category_set, feature, threshold = forest.category_set.copy(), forest.feature.copy(), forest.threshold.copy()
    category_set[order], feature[order], threshold[order] = -1, forest.features + np.arange(len(order)), 0.5
    width = forest.features + len(order)
    return replace(forest, features=width, category_set=category_set, feature=feature, threshold=threshold), parts
