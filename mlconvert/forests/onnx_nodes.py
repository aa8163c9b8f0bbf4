"""A TreeModel as ONNX nodes, for a file of its own or for a place in a larger graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.onnx_columns import add_columns
from mlconvert.forests.onnx_graph import Graph
from mlconvert.forests.onnx_links import add_answers, answers_are_sums, name_of_answers
from mlconvert.forests.onnx_sums import (
    add_leaf_ids,
    add_leaf_numbers,
    add_sums_by_index,
    add_sums_by_trees,
    by_trees,
    slots_of,
)
from mlconvert.forests.onnx_trees import check_depth, for_float32, with_first_leaves
from mlconvert.onnx_model.releases import TreeOperators

if TYPE_CHECKING:
    from mlconvert.forests.model import Float, TreeModel

LEAST_OPSET = 14
"""The lowest opset of ai.onnx that the nodes are right in."""

CURRENT = TreeOperators()


def tree_nodes(
    model: TreeModel,
    source: str,
    outputs: Mapping[str, str],
    *,
    dtype: Float = "float64",
    operators: TreeOperators = CURRENT,
    prefix: str = "trees/",
) -> Graph:
    """The nodes and initializers that answer as the model does.

    `source` names the matrix [N, F], of the type `dtype`. `outputs` names the tensors to make: the model's own
    (`label`, `probabilities`, `variable`, `scores`), `raw_scores` [N, K] and `leaf_indices` int64 [N, T] if wanted.
    With dtype="float32" answers are float32, else of the type `model.arithmetic`.
    The nodes need opset 14 of ai.onnx or a later one, and opset `operators.version` of ai.onnx.ml. Raises
    ConversionFailed for trees that are too deep, for leaves beyond float32 where that is asked for, and for too many
    sets where `operators` cannot look them up.
    """
    graph = Graph(prefix)
    forest = model.forest
    check_depth(forest)
    if "float32" in (dtype, forest.compares):
        forest = for_float32(forest)
    sums_dtype: Float = "float32" if "float32" in (dtype, model.arithmetic) else "float64"
    if sums_dtype == "float32" and np.abs(forest.leaf_values).max() > np.finfo(np.float32).max:
        raise ConversionFailed("a leaf is too large for float32", hint="leave out dtype=float32")
    rows = source if dtype == forest.compares else graph.cast(source, forest.compares)
    forest, rows = add_columns(graph, forest, rows, sets=operators.sets)
    added = 0
    if any(model.base):  # the first that is added
        base = np.array(model.base).reshape(-1, forest.leaf_values.shape[1])
        forest, added = with_first_leaves(forest, base), len(base)
    # The sums get their last name at once where they are an output.
    output = outputs[name_of_answers(model)] if answers_are_sums(model) else ""
    output = outputs.get("raw_scores", output)
    undivided = output if model.divisor == 1 else ""
    if by_trees(forest, sums_dtype, operators.version) and "leaf_indices" not in outputs:
        sums = add_sums_by_trees(graph, forest, model.outputs, rows, sums_dtype, undivided)
    else:
        slots = slots_of(forest, model.outputs)
        numbers = add_leaf_numbers(graph, forest, slots, rows, operators.version)
        if "leaf_indices" in outputs:
            add_leaf_ids(graph, forest, slots, numbers, added, outputs["leaf_indices"])
        sums = add_sums_by_index(graph, forest, slots, rows, numbers, sums_dtype, undivided)
    if model.divisor != 1:
        sums = graph.add("Div", sums, graph.constant(model.divisor, sums_dtype), output=output)
    add_answers(graph, model, sums, sums_dtype, outputs)
    return graph
