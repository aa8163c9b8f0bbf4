"""The sums of a forest in ONNX, in one of two ways.

*By the trees*: each leaf weighs its value, and the operator adds them up. The quickest, where it can be had.

*By index*: each tree has a target of its own, to which its leaves give their number. The numbers then look up what
the leaves answer, and that is added up from the first tree to the last. This takes what the operators cannot: leaves
of several values, linear leaves, doubles where the operator answers in float32, and sums that do not depend on
the number of threads (ONNX Runtime splits the trees among them). Copies of the trees for each value of a leaf were
measured too: of 100 trees of depth 20, two copies take twice the time and 1.6 times the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlconvert.forests.onnx_trees import Targets, add_trees, nodes_of_trees

if TYPE_CHECKING:
    from mlconvert.forests.model import Float, Forest
    from mlconvert.forests.onnx_graph import Graph
    from mlconvert.onnx_model.releases import TreeVersion

INDEX_LIMIT = 1 << 24
"""Up to this, every integer is a float32."""


def by_trees(forest: Forest, dtype: Float, version: TreeVersion) -> bool:
    """Whether the operator itself can add up what the leaves answer, in the type `dtype`."""
    one_type = (forest.compares, dtype) != ("float64", "float32")
    return version == 5 and forest.leaf_values.shape[1] == 1 and forest.linear is None and one_type


def add_sums_by_trees(graph: Graph, forest: Forest, outputs: int, rows: str, dtype: Float, output: str) -> str:
    """The sums [N, outputs] of `rows` (as the forest compares them), in the type `dtype`, named `output` if given."""
    if forest.compares != dtype:
        rows = graph.cast(rows, dtype)
    target = np.repeat(forest.tree_output, nodes_of_trees(forest) + 1)
    return add_trees(graph, forest, Targets(outputs, target, forest.leaf_values[:, 0]), dtype, 5, rows, output)


@dataclass(frozen=True)
class Slots:
    """Where the trees write: the numbers of the operator's targets. Row by row, one slot for each output.

    Empty slots hold 0, which must then be no leaf's number.
    """

    columns: int
    count: int
    of_tree: np.ndarray  # int32 [T]

    @property
    def shift(self) -> int:
        """What is added to the leaves' numbers, for 0 to be free."""
        return int(self.count > len(self.of_tree))


def slots_of(forest: Forest, outputs: int) -> Slots:
    """Trees one after the other where each adds to all outputs, else in one column for each output, in order."""
    if outputs == 1 or forest.leaf_values.shape[1] > 1:
        return Slots(1, forest.trees, np.arange(forest.trees, dtype=np.int32))
    order = np.argsort(forest.tree_output, kind="stable")
    counts = np.bincount(forest.tree_output, minlength=outputs)
    row = np.empty(forest.trees, np.int32)
    row[order] = np.arange(forest.trees) - np.repeat(np.cumsum(counts) - counts, counts)
    return Slots(outputs, int(counts.max()) * outputs, row * outputs + forest.tree_output)


def add_leaf_numbers(graph: Graph, forest: Forest, slots: Slots, rows: str, version: TreeVersion) -> str:
    """The number of the leaf that each row reaches, plus `slots.shift`, in each slot: int64 [N, slots.count]."""
    leaves = nodes_of_trees(forest) + 1
    number = np.arange(slots.shift, slots.shift + forest.leaves, dtype=np.int32)
    first = (np.cumsum(leaves) - leaves + slots.shift).astype(np.int32)
    large = slots.shift + forest.leaves > INDEX_LIMIT
    if large:  # then within the tree
        number -= np.repeat(first, leaves)
    targets = Targets(slots.count, np.repeat(slots.of_tree, leaves), number)
    numbers = graph.cast(add_trees(graph, forest, targets, forest.compares, version, rows), "int64")
    if not large:
        return numbers
    firsts = np.zeros(slots.count, np.int64)
    firsts[slots.of_tree] = first
    return graph.add("Add", numbers, graph.constant(firsts))


def add_sums_by_index(
    graph: Graph, forest: Forest, slots: Slots, rows: str, numbers: str, dtype: Float, output: str
) -> str:
    """The sums [N, outputs] of what the leaves with these numbers answer, from the first tree to the last.

    They are of the type `dtype` and named `output` if given.
    """
    values = _shifted(forest.leaf_values.astype(dtype, copy=False), slots)
    several = values.shape[1] > 1
    found = graph.add("Gather", graph.constant(values if several else values[:, 0]), numbers, axis=0)
    if forest.linear is not None:
        found = _linear(graph, forest, slots, rows, numbers, found, dtype)
    if slots.columns > 1:
        shape = np.array([0, slots.count // slots.columns, slots.columns])  # 0: as it is
        found = graph.add("Reshape", found, graph.constant(shape))
    steps = slots.count // slots.columns
    added = graph.add("CumSum", found, graph.constant(np.array(1))) if steps > 1 else found
    last = np.array(steps - 1 if several or slots.columns > 1 else [steps - 1])
    return graph.add("Gather", added, graph.constant(last), output=output, axis=1)


def _linear(graph: Graph, forest: Forest, slots: Slots, rows: str, numbers: str, plain: str, dtype: Float) -> str:
    """What linear leaves answer [N, slots], added up in double.

    The constant is the coefficient of a further feature, which is 1.
    """
    linear = forest.linear
    assert linear is not None
    ones = forest.features
    feature = np.concatenate([np.full((forest.leaves, 1), -1), linear.feature], axis=1)
    coefficient = np.concatenate([linear.constant[:, None], linear.coefficient], axis=1)
    feature, coefficient = _shifted(feature + 1, slots) - 1, _shifted(coefficient, slots)
    terms = feature.shape[1]

    padded = graph.add("Pad", rows, graph.constant(np.array([0, 0, 0, 1])), graph.constant(1.0, forest.compares))
    which = graph.add("Gather", graph.constant(np.where(feature < 0, ones, feature), "int64"), numbers, axis=0)
    flat = graph.add("Reshape", which, graph.constant(np.array([0, slots.count * terms])))
    shape = graph.constant(np.array([0, slots.count, terms]))
    x = graph.add("Reshape", graph.add("GatherElements", padded, flat, axis=1), shape)
    missing = graph.cast(graph.add("IsNaN", x), "float32")
    missing = graph.add("ReduceSum", missing, graph.constant(np.array([2])), keepdims=0)
    if forest.compares == "float32":
        x = graph.cast(x, "float64")
    factors = graph.add("Gather", graph.constant(coefficient), numbers, axis=0)
    added = graph.add("CumSum", graph.add("Mul", factors, x), graph.constant(np.array(2)))
    total = graph.add("Gather", added, graph.constant(np.array(terms - 1)), axis=2)
    if dtype == "float32":
        total = graph.cast(total, "float32")
    return graph.add("Where", graph.cast(missing, "bool"), plain, total)


def add_leaf_ids(graph: Graph, forest: Forest, slots: Slots, numbers: str, skipped: int, output: str) -> None:
    """The library's own names of the leaves: int64 [N, T], without the first `skipped` trees, which are ours."""
    shown = slots.of_tree[skipped:]
    if not np.array_equal(shown, np.arange(slots.count)):
        numbers = graph.add("Gather", numbers, graph.constant(shown), axis=1)
    ids = graph.constant(_shifted(forest.leaf_ids, slots), "int64")
    graph.add("Gather", ids, numbers, output=output, axis=0)


def _shifted(of_leaves: np.ndarray, slots: Slots) -> np.ndarray:
    """What is looked up by the leaves' numbers: with a row of zeros before the first leaf, where they begin at 1."""
    if not slots.shift:
        return of_leaves
    return np.concatenate([np.zeros((slots.shift, *of_leaves.shape[1:]), of_leaves.dtype), of_leaves])
