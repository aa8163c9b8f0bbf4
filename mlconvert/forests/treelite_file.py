"""A TreeModel as a treelite checkpoint, for Triton's FIL backend.

It is written here, not by treelite's own readers of other libraries' files: those take thresholds within 1e-35 of 0
as they stand, lose zero_as_missing without a word, and read no categories of XGBoost. The layout is described in
`formats.treelite_layout`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.model import check_forest
from mlconvert.forests.treelite import ATTRIBUTE, BINARY, CUT_TOWARDS_ZERO, MULTICLASS, REGRESSION
from mlconvert.forests.treelite_trees import (
    CATEGORICAL,
    FLOATS,
    GREATEST_CATEGORY,
    LEAF,
    LESS,
    LESS_OR_EQUAL,
    NUMERIC,
)
from mlconvert.formats.treelite_layout import HEADER, MAJOR, NUMBERS, START, TREE

if TYPE_CHECKING:
    from mlconvert.forests.model import Forest, LinkName, TreeModel

VERSION = (MAJOR, 0, 0)  # which every treelite from 4.0 on reads
POSTPROCESSORS: Mapping[LinkName, str] = {
    "exp": "exponential",
    "identity": "identity",
    "log1p-exp": "logarithm_one_plus_exp",
    "sigmoid": "sigmoid",
    "signed-square": "signed_square",
    "step": "hinge",
}
OVER_CLASSES: Mapping[LinkName, str] = {
    "identity": "identity_multiclass",
    "sigmoid": "multiclass_ova",
    "softmax": "softmax",
}
TASKS = {"binary": BINARY, "multiclass": MULTICLASS, "value": REGRESSION}


def write_treelite(model: TreeModel, target: Path, where: str) -> None:
    """Write the checkpoint of a model; the same model gives the same bytes.

    Its sums are the model's to the last bit: treelite adds base scores last, so here they are in the leaves of each
    output's first tree. Raises ConversionFailed, by name, for what treelite has no place for: linear leaves, zeros
    that are missing, outliers, and trees that are compared in one type and added in another.
    """
    check_forest(model.forest)
    _refuse(model, where)
    number = next(kind for kind, name in FLOATS.items() if name == model.arithmetic)
    partial = target.with_name(f"{target.name}.part")
    try:
        with partial.open("wb") as stream:
            types = [kind for kind, name in NUMBERS.items() if name == number] * 2
            stream.write(START.pack(*VERSION, *types, model.forest.trees))
            stream.writelines(_pieces(_header(model), HEADER, number))
            for tree in _trees(model):
                stream.writelines(_pieces(tree, TREE, number))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def answers_in_float32(model: TreeModel) -> bool:
    """Whether treelite's answers are float32's in accuracy, though its sums may be doubles.

    Its softmax computes in float32 whatever it is given, and it keeps the factor in a sigmoid as a float32.
    """
    scale = model.link.scale
    return model.arithmetic == "float32" or model.link.name == "softmax" or float(np.float32(scale)) != scale


def _refuse(model: TreeModel, where: str) -> None:
    forest = model.forest
    averaged = np.bincount(forest.tree_output, minlength=model.outputs) if _width(forest) == 1 else forest.trees
    sets = forest.category_set >= 0
    greatest = GREATEST_CATEGORY["f4" if forest.compares == "float32" else "f8"]
    cannot = {
        "linear leaves": forest.linear is not None,
        "zeros that are missing values (zero_as_missing)": bool(forest.zero_is_missing.any()),
        f"the link {model.link.name} for its {model.task}": model.link.name not in _postprocessors(model),
        "a factor in its softmax": model.link.name == "softmax" and model.link.scale != 1,
        "text as labels": any(isinstance(label, str) for label in model.classes),
        "comparisons in one type and sums in another": forest.compares != model.arithmetic,
        "categories that are not cut to whole numbers": not forest.truncates[forest.feature[sets]].all(),
        "numbers that are cut to whole ones": bool(forest.truncates[forest.feature[~sets]].any()),
        f"categories above {greatest}": bool((forest.set_values > greatest).any() or (forest.set_values < 0).any()),
        "an average over another number than that of its trees": model.divisor != 1
        and bool(np.any(averaged != model.divisor)),
    }
    for what, found in cannot.items():
        if found:
            raise ConversionFailed(f"the model has {what}, which a treelite checkpoint cannot hold", where=where,
                                   hint="convert it to ONNX, which can")  # fmt: skip


def _postprocessors(model: TreeModel) -> Mapping[LinkName, str]:
    return {"multiclass": OVER_CLASSES, "outlier": {}}.get(model.task, POSTPROCESSORS)


def _width(forest: Forest) -> int:
    return int(forest.leaf_values.shape[1])


def _note(model: TreeModel) -> str:
    note: dict[str, Any] = {}
    if model.forest.truncates.any() and not model.forest.floors:
        note["categories"] = CUT_TOWARDS_ZERO
    if model.feature_names:
        note["feature_names"] = list(model.feature_names)
    return json.dumps({ATTRIBUTE: note} if note else {})


def _header(model: TreeModel) -> dict[str, Any]:
    forest, outputs = model.forest, model.outputs
    several_classes, wide = model.task == "multiclass", _width(forest) > 1
    of_tree = np.full(forest.trees, -1, np.int32) if wide else forest.tree_output
    zeros = np.zeros(forest.trees, np.int32)
    no_tree = np.ones(outputs, bool) if not forest.trees else ~np.isin(np.arange(outputs), forest.tree_output)
    return {
        "num_feature": forest.features,
        "task_type": TASKS[model.task],
        "average_tree_output": model.divisor != 1,
        "num_target": 1 if several_classes else outputs,
        "num_class": np.array([outputs] if several_classes else [1] * outputs, np.int32),
        "leaf_vector_shape": np.array(((1, outputs) if several_classes else (outputs, 1)) if wide else (1, 1)),
        "target_id": zeros if several_classes else of_tree,
        "class_id": of_tree if several_classes else zeros,
        "postprocessor": _postprocessors(model)[model.link.name],
        "sigmoid_alpha": model.link.scale,
        "ratio_c": 1.0,
        "base_scores": np.where(no_tree & (not wide), model.base, 0.0),
        "attributes": _note(model),
        "num_opt_field_per_model": 0,
    }


def _pieces(values: Mapping[str, Any], fields: Mapping[str, str], number: str) -> Iterator[bytes]:
    for name, text in fields.items():
        kind, value = text.removesuffix("[]").replace("number", number), values[name]
        if text == "text":
            encoded = value.encode("utf-8")
            yield struct.pack("<Q", len(encoded)) + encoded
        elif text.endswith("[]"):
            array = np.ascontiguousarray(value, f"<{kind}")
            yield struct.pack("<Q", len(array)) + array.tobytes()
        else:
            yield np.array(value, f"<{kind}").tobytes()


# --- the trees ---


def _trees(model: TreeModel) -> Iterator[Mapping[str, Any]]:
    """The fields of tree after tree. Its inner nodes come first, then its leaves, each in their own order."""
    forest = model.forest
    inner = _inner_nodes(forest)
    first_node, first_leaf = np.cumsum(inner) - inner, np.cumsum(inner + 1) - (inner + 1)
    tree = np.repeat(np.arange(forest.trees), inner)
    starts = first_node + first_leaf
    node_place = starts[tree] + np.arange(len(tree)) - first_node[tree]
    leaf_tree = np.repeat(np.arange(forest.trees), inner + 1)
    leaf_place = starts[leaf_tree] + inner[leaf_tree] + np.arange(forest.leaves) - first_leaf[leaf_tree]

    def joined(nodes: Any, leaves: Any) -> np.ndarray:
        array = np.empty(len(tree) + forest.leaves, np.result_type(nodes, leaves))
        array[node_place], array[leaf_place] = nodes, leaves
        return array

    def child(side: np.ndarray) -> np.ndarray:
        leaf: np.ndarray = np.where(side >= 0, side - first_node[tree], ~side - first_leaf[tree] + inner[tree])
        return leaf

    asks = forest.category_set >= 0
    width, values = _width(forest), _values_with_base(model)
    list_begin, list_end, categories = _category_lists(forest)
    first_category = np.append(list_begin, len(categories))[first_node]
    vector = np.arange(forest.leaves) - first_leaf[leaf_tree] if width > 1 else np.zeros(forest.leaves, np.int64)
    per_node = {
        "node_type": joined(np.where(asks, CATEGORICAL, NUMERIC), LEAF),
        "cleft": joined(child(forest.left), -1),
        "cright": joined(child(forest.right), -1),
        "split_index": joined(forest.feature, -1),
        "default_left": joined(forest.missing_left, False),
        "leaf_value": joined(0.0, values[:, 0] if width == 1 else 0.0),
        "threshold": joined(np.where(asks, 0.0, forest.threshold), 0.0),
        "cmp": joined(np.where(asks, 0, LESS if forest.strict else LESS_OR_EQUAL), 0),
        "category_list_right_child": joined(False, False),
        "leaf_vector_begin": joined(0, vector * width),
        "leaf_vector_end": joined(0, (vector + 1) * width if width > 1 else 0),
        "category_list_begin": joined(list_begin - first_category[tree], 0),
        "category_list_end": joined(list_end - first_category[tree], 0),
    }
    nothing = dict.fromkeys((name for name, kind in TREE.items() if kind.endswith("[]")), np.empty(0))
    has_set = np.bincount(tree[asks], minlength=forest.trees) > 0
    last_category = np.append(first_category[1:], len(categories))
    for index in range(forest.trees):
        nodes = slice(starts[index], starts[index] + 2 * inner[index] + 1)
        leaves = slice(first_leaf[index], first_leaf[index] + inner[index] + 1)
        yield {
            **nothing,
            **{name: array[nodes] for name, array in per_node.items()},
            "num_nodes": 2 * inner[index] + 1,
            "has_categorical_split": has_set[index],
            "leaf_vector": values[leaves].reshape(-1) if width > 1 else np.empty(0),
            "category_list": categories[first_category[index] : last_category[index]],
            "num_opt_field_per_tree": 0,
            "num_opt_field_per_node": 0,
        }


def _inner_nodes(forest: Forest) -> np.ndarray:
    """How many inner nodes each tree has: int64 [T]; those of a tree begin with its root."""
    counts = np.zeros(forest.trees, np.int64)
    grown = forest.roots >= 0
    counts[grown] = np.diff(np.append(forest.roots[grown], len(forest.feature)))
    return counts


def _values_with_base(model: TreeModel) -> np.ndarray:
    """The values of the leaves [L, W], in the model's arithmetic; in each output's first tree with the base added."""
    forest = model.forest
    values, base = forest.leaf_values.astype(model.arithmetic), np.asarray(model.base, model.arithmetic)
    leaves = _inner_nodes(forest) + 1
    if _width(forest) > 1:
        values[: leaves[0]] += base
        return values
    outputs, first = np.unique(forest.tree_output, return_index=True)
    of_tree = np.zeros(forest.trees, model.arithmetic)
    of_tree[first] = base[outputs]
    values += np.repeat(of_tree, leaves)[:, None]
    return values


def _category_lists(forest: Forest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The categories of node after node, and where each node's begin and end; a node with a threshold has none."""
    sets = np.maximum(forest.category_set, 0)
    sizes = np.where(forest.category_set >= 0, np.append(np.diff(forest.set_bounds), 0)[sets], 0)
    begin = np.cumsum(sizes) - sizes
    node = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(node)) - begin[node] + forest.set_bounds[sets[node]]
    return begin, begin + sizes, forest.set_values[place]
