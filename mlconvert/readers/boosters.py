"""The native files of LightGBM, XGBoost and CatBoost, checked before the library walks them.

LightGBM's loader crashes on a file that was cut off, and aborts on a child index out of range; XGBoost loads such an
index and crashes when it predicts. So the structure of every tree is checked first: each node must be the child of
exactly one node, each leaf too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed

ZERO_AS_MISSING = 1  # LightGBM's missing type, in bits 2 and 3 of a node's decision type
CATEGORICAL = 1  # bit 0 of the same


@dataclass(frozen=True)
class LightGbmText:
    """What the header of a LightGBM text file says, and what kinds of trees follow."""

    objective: str  # the first word, `binary`
    parameters: tuple[str, ...]  # the others, `sigmoid:1`
    num_class: int
    feature_names: tuple[str, ...]
    trees: int
    averaged: bool  # boosting=rf
    linear: bool
    zero_as_missing: bool
    categorical: bool


# --- LightGBM ---


def read_lightgbm_text(data: bytes, where: str) -> LightGbmText:
    """Check a LightGBM text model and read its header; raises ConversionFailed for anything that is not whole."""
    try:
        return _lightgbm_text(data)
    except (ValueError, KeyError, IndexError) as error:
        reason = f"it has no '{error.args[0]}'" if isinstance(error, KeyError) else str(error)
        what = f"not a LightGBM text model, or a damaged one: {reason}"
        raise ConversionFailed(what, where=where, hint="save it again with booster.save_model(path)") from error


def lightgbm_header(path: Path) -> LightGbmText:
    """The header of a checked text file; LightGBM itself is not needed."""
    return read_lightgbm_text(_read(path, "LightGBM model"), str(path))


def load_lightgbm(path: Path) -> tuple[Any, LightGbmText]:
    """The booster in a checked text file, and its header."""
    data = _read(path, "LightGBM model")
    text = read_lightgbm_text(data, str(path))
    import lightgbm

    try:
        return lightgbm.Booster(model_str=data.decode("utf-8")), text
    except (lightgbm.basic.LightGBMError, ValueError, OSError) as error:
        raise ConversionFailed(f"LightGBM cannot load the model: {error}", where=str(path)) from error


def _lightgbm_text(data: bytes) -> LightGbmText:
    head, separator, _ = data.partition(b"\n\n")
    lines = head.decode("utf-8").splitlines()
    if not lines or lines[0] != "tree" or not separator:
        raise ValueError("it does not begin with 'tree' and a header")
    header = _fields(lines[1:])
    features, sizes = int(header["max_feature_idx"]) + 1, _integers(header["tree_sizes"])
    names = tuple(header["feature_names"].split(" "))
    per_iteration, num_class = int(header["num_tree_per_iteration"]), int(header["num_class"])
    if features < 1 or len(names) != features:
        raise ValueError(f"it names {len(names)} features, and its trees use {features}")
    if per_iteration < 1 or num_class < 1 or len(sizes) % per_iteration:
        raise ValueError(f"{len(sizes)} trees are not a whole number of iterations of {per_iteration}")
    position = len(head) + len(separator)
    linear = zero = categorical = False
    for index, size in enumerate(sizes):
        block, position = data[position : position + size], position + size
        if len(block) != size or size < 1 or not block.startswith(b"Tree=%d\n" % index):
            raise ValueError(f"tree {index} of {len(sizes)} is not where the header says, or is cut off")
        tree = _fields(block.decode("utf-8").splitlines()[1:])
        decisions = _check_lightgbm_tree(tree, features, index)
        linear |= tree.get("is_linear", "0") != "0"
        zero |= any((decision >> 2) & 3 == ZERO_AS_MISSING for decision in decisions)
        categorical |= any(decision & CATEGORICAL for decision in decisions)
    if not data[position:].startswith(b"end of trees"):
        raise ValueError("'end of trees' is missing where the trees should end")
    objective, *parameters = header.get("objective", "").split(" ")
    return LightGbmText(objective, tuple(parameters), num_class, names, len(sizes), "average_output" in lines,
                        linear, zero, categorical)  # fmt: skip


def _check_lightgbm_tree(tree: Mapping[str, str], features: int, index: int) -> list[int]:
    leaves = int(tree["num_leaves"])
    if leaves < 1 or len(_floats(tree["leaf_value"])) != leaves:
        raise ValueError(f"tree {index} has not as many leaf values as leaves")
    if leaves == 1:
        return []
    split, left, right, decisions = (
        _integers(tree[name]) for name in ("split_feature", "left_child", "right_child", "decision_type")
    )
    thresholds = _floats(tree["threshold"])
    if {len(values) for values in (split, left, right, decisions, thresholds)} != {leaves - 1}:
        raise ValueError(f"the arrays of tree {index} are not of equal length")
    if not all(0 <= feature < features for feature in split):
        raise ValueError(f"tree {index} splits on a feature that the model does not have")
    # A node's children are other nodes (0, 1, …) or, negative, leaves: -1 is leaf 0.
    if sorted((*left, *right)) != [*range(-leaves, 0), *range(1, leaves - 1)] or not _reaches_all(left, right):
        raise ValueError(f"the nodes of tree {index} do not form a tree")
    _check_categories(tree, decisions, thresholds, index)
    return decisions


def _reaches_all(left: Sequence[int], right: Sequence[int]) -> bool:
    stack, reached = [0], 0
    while stack:
        node = stack.pop()
        reached += 1
        stack.extend(child for child in (left[node], right[node]) if child >= 0)
        if reached > len(left):
            return False
    return reached == len(left)


def _check_categories(tree: Mapping[str, str], decisions: list[int], thresholds: list[float], index: int) -> None:
    sets = int(tree["num_cat"])
    chosen = [threshold for decision, threshold in zip(decisions, thresholds, strict=True) if decision & CATEGORICAL]
    if not sets and not chosen:
        return
    bounds, words = _integers(tree["cat_boundaries"]), _integers(tree["cat_threshold"])
    growing = all(low < high for low, high in pairwise(bounds))
    if len(bounds) != sets + 1 or bounds[0] != 0 or not growing or bounds[-1] != len(words):
        raise ValueError(f"the category sets of tree {index} are damaged")
    if not all(0 <= threshold < sets and threshold == int(threshold) for threshold in chosen):
        raise ValueError(f"tree {index} names a category set that it does not have")


def _fields(lines: Iterable[str]) -> dict[str, str]:
    return {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}


def _integers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def _floats(text: str) -> list[float]:
    return [float(word) for word in text.split()]


# --- XGBoost ---


@dataclass(frozen=True)
class XgboostModel:
    """What an XGBoost model says of itself, whichever file it was in."""

    objective: str
    booster: str  # gbtree, dart or gblinear
    num_class: int  # 0 for anything but multi:*
    num_target: int
    features: int
    feature_names: tuple[str, ...]
    tree_info: tuple[int, ...]  # the class, or target, of each tree
    vector_leaves: bool
    categorical: bool


def load_xgboost(path: Path) -> tuple[Any, XgboostModel]:
    """The booster in a .json or .ubj file, checked so that predicting with it cannot crash, and what it says."""
    data = _read(path, "XGBoost model")
    if not data.lstrip().startswith(b"{"):
        raise ConversionFailed("not an XGBoost model: it does not begin with '{'", where=str(path),
                               hint="save it with booster.save_model('model.json')")  # fmt: skip
    if path.suffix != ".ubj":
        _json_model(data, path)
    import xgboost

    try:
        booster = xgboost.Booster(model_file=str(path))
    except (xgboost.core.XGBoostError, ValueError, UnicodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConversionFailed(f"XGBoost cannot load the model: {reason}", where=str(path)) from error
    return booster, check_xgboost(booster, str(path))


def check_xgboost(booster: Any, where: str) -> XgboostModel:
    """Check the trees of a loaded booster, and read what it is; raises ConversionFailed for damaged trees."""
    # Written out again, not walked: a bad index does no harm yet, and a .ubj file needs no reader of its own.
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    parameters, gradient = learner["learner_model_param"], learner["gradient_booster"]
    name = gradient["name"]
    model = gradient["gbtree"]["model"] if name == "dart" else gradient["model"]
    trees = model.get("trees", [])
    features = int(parameters["num_feature"])
    for index, tree in enumerate(trees):
        try:
            _check_xgboost_tree(tree, features)
        except (ValueError, KeyError, IndexError) as error:
            raise ConversionFailed(f"tree {index} of the XGBoost model is damaged: {error}", where=where) from error
    return XgboostModel(
        objective=learner["objective"]["name"],
        booster=name,
        num_class=int(parameters["num_class"]),
        num_target=int(parameters.get("num_target", 1)),
        features=features,
        feature_names=tuple(learner["feature_names"]),
        tree_info=tuple(int(group) for group in model.get("tree_info", [])),
        vector_leaves=any(int(tree["tree_param"].get("size_leaf_vector", 1)) > 1 for tree in trees),
        categorical=any(tree.get("categories_nodes") for tree in trees),
    )


def _json_model(data: bytes, path: Path) -> None:
    try:
        model = json.loads(data)
    except (ValueError, RecursionError) as error:
        what = f"not an XGBoost model, or a damaged one: {error}"
        raise ConversionFailed(what, where=str(path)) from error
    if not isinstance(model, dict) or "learner" not in model:
        raise ConversionFailed("not an XGBoost model: the JSON has no 'learner'", where=str(path))


def _check_xgboost_tree(tree: Mapping[str, Any], features: int) -> None:
    left, right, split = tree["left_children"], tree["right_children"], tree["split_indices"]
    lengths = {len(values) for values in (left, right, split, tree["split_conditions"], tree["default_left"])}
    if lengths != {int(tree["tree_param"]["num_nodes"])} or lengths == {0}:
        raise ValueError("its arrays are not of the length that it states")
    stack, seen = [0], set()
    while stack:
        node = stack.pop()
        if not 0 <= node < len(left) or node in seen:
            raise ValueError(f"node {node} does not exist, or has two parents")
        seen.add(node)
        if left[node] == -1:
            continue
        if not 0 <= split[node] < features:
            raise ValueError(f"node {node} splits on feature {split[node]} of {features}")
        stack += [left[node], right[node]]


# --- CatBoost ---


def load_catboost(path: Path) -> Any:
    """The model in a .cbm file, as the CatBoost class that knows its classes or its link (else `CatBoost`)."""
    data = _read(path, "CatBoost model")
    if not data.startswith(b"CBM1"):
        raise ConversionFailed("not a CatBoost model: it does not begin with 'CBM1'", where=str(path),
                               hint="save it with model.save_model('model.cbm')")  # fmt: skip
    if len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise ConversionFailed("the CatBoost model is cut off", where=str(path))
    import catboost

    try:
        model = catboost.CatBoost().load_model(str(path))
        classes = catboost_loss(model) in ("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll")
        return (catboost.CatBoostClassifier if classes else catboost.CatBoost)().load_model(str(path))
    except (catboost.CatBoostError, ValueError, UnicodeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConversionFailed(f"CatBoost cannot load the model: {reason}", where=str(path)) from error


def catboost_loss(model: Any) -> str:
    """The name of the loss that a model was trained with, without its parameters; empty if it does not say."""
    loss = model.get_all_params().get("loss_function")
    return "" if loss is None else str(loss).partition(":")[0]


def check_catboost_features(model: Any, where: str) -> None:
    """Raise ConversionFailed, naming them, for features that cannot be columns of a matrix of numbers."""
    kinds = {
        "categorical": model.get_cat_feature_indices(),
        "text": model.get_text_feature_indices(),
        "embedding": model.get_embedding_feature_indices(),
    }
    for kind, indices in kinds.items():
        if len(indices):
            names = ", ".join(str(model.feature_names_[index]) for index in indices)
            what = f"the CatBoost model has {kind} features, which CatBoost cannot export to ONNX: {names}"
            raise ConversionFailed(what, where=where)


def _read(path: Path, what: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConversionFailed(f"cannot read the {what}: {error.strerror}", where=str(path)) from error
    if not data:
        raise ConversionFailed(f"not a {what}: the file is empty", where=str(path))
    return data
