"""treelite's checkpoints as the neutral model.

The rules are those of treelite 4.8's reference library, GTIL (`src/gtil/predict.cc` and `postprocessor.cc`): rows in
the type of the thresholds, NaN by the node's default, categories cut down to whole numbers and those below 0 in no
set; sums in that type, the base scores last (which a `TreeModel` adds first). The file is read here, not by treelite,
which takes a damaged one for a model and crashes on it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from mlconvert.errors import ConversionFailed
from mlconvert.forests.half import greatest_half
from mlconvert.forests.model import Link, LinkName, Task, TreeModel
from mlconvert.forests.treelite_trees import FLOATS, Checkpoint, checkpoint_of, forest_of
from mlconvert.formats.treelite_layout import MAJOR, read_layout, version_of

BINARY, REGRESSION, MULTICLASS, RANKING, ISOLATION = range(5)  # TaskType
TASKS = ("binary classification", "regression", "multiclass classification", "ranking", "isolation forest")
# What each postprocessor makes of a sum; those of classes over all of them.
LINKS: Mapping[str, LinkName] = {
    "exponential": "exp",
    "hinge": "step",
    "identity": "identity",
    "identity_multiclass": "identity",
    "logarithm_one_plus_exp": "log1p-exp",
    "multiclass_ova": "sigmoid",
    "sigmoid": "sigmoid",
    "signed_square": "signed-square",
    "softmax": "softmax",
}
MOST_FEATURES = 1 << 26
CUT_TOWARDS_ZERO = "cut towards zero"
ATTRIBUTE = "mlconvert"  # under this name in a checkpoint's attributes: what treelite has no place for


def read_treelite(data: bytes, where: str) -> TreeModel:
    """The model in a checkpoint of treelite 4.

    `leaf_ids` are treelite's numbers of nodes. A checkpoint that `write_treelite` wrote for LightGBM says that
    categories are cut towards zero; then they are. Raises ConversionFailed for what is no checkpoint, is damaged
    (naming the tree) or of another version, and by name for operators other than `<` or `<=` throughout, isolation
    forests, several targets with classes, and base scores beside averaged trees.
    """
    version = version_of(data)
    if version is None:
        raise ConversionFailed("not a treelite checkpoint", where=where, hint="save it with model.serialize(path)")
    if version[0] != MAJOR:
        _refuse_version(version, where)
    try:
        return _model(checkpoint_of(data, read_layout(data)), where)
    except (ValueError, KeyError) as error:
        hint = "save it again with model.serialize(path)"
        raise ConversionFailed(f"the treelite checkpoint is damaged: {error}", where=where, hint=hint) from error


def _refuse_version(version: tuple[int, int, int], where: str) -> None:
    what = f"the checkpoint was saved by treelite {'.'.join(map(str, version))}, and mlconvert reads those of treelite"
    hint = "load it with treelite 4.8 and serialize it again" if version[0] < MAJOR else "save it with treelite 4"
    raise ConversionFailed(f"{what} {MAJOR}", where=where, hint=hint)


# --- what the model is ---


def _model(checkpoint: Checkpoint, where: str) -> TreeModel:
    if not len(checkpoint.sizes):
        raise ConversionFailed("the model has no trees", where=where)
    header, arithmetic = checkpoint.header, FLOATS[checkpoint.number]
    if not 0 < header["num_feature"][0] <= MOST_FEATURES:
        raise ValueError(f"it has {header['num_feature'][0]} features")
    outputs, of_tree, wide = _outputs(checkpoint, where)
    base = np.asarray(header["base_scores"], np.float64)
    if len(base) != outputs:
        raise ValueError(f"it has {len(base)} base scores for {outputs} outputs")
    task, link = _task_and_link(header, outputs, where)
    note = _note(header["attributes"])
    return TreeModel(
        forest=forest_of(
            checkpoint, of_tree, wide=wide, floors=note.get("categories") != CUT_TOWARDS_ZERO, where=where
        ),
        task=task,
        base=tuple(base.tolist()),
        link=link,
        arithmetic=arithmetic,
        divisor=_divisor(header, of_tree, base, outputs, wide=wide, where=where),
        cut=greatest_half(link.scale, arithmetic) if task == "binary" and link.name == "sigmoid" else 0.0,
        label_by_sums=task == "multiclass" and link.name == "softmax",  # which treelite computes in float32
        classes=tuple(range({"binary": 2, "multiclass": outputs}.get(task, 0))),
        feature_names=tuple(str(name) for name in note.get("feature_names", ())),
    )


def _note(attributes: str) -> Mapping[str, Any]:
    try:
        read = json.loads(attributes or "{}")
    except ValueError:
        return {}
    note = read.get(ATTRIBUTE) if isinstance(read, dict) else None
    return note if isinstance(note, dict) else {}


def _outputs(checkpoint: Checkpoint, where: str) -> tuple[int, np.ndarray, bool]:
    """The number of outputs, the output that each tree adds to, and whether trees add to all of them at once."""
    header = checkpoint.header
    targets, classes = int(header["num_target"][0]), header["num_class"].astype(np.int64)
    shape = tuple(header["leaf_vector_shape"].tolist())
    if len(classes) != targets or np.any(classes < 1) or len(shape) != 2:
        raise ValueError("its targets and classes do not fit together")
    if targets > 1 and np.any(classes > 1):
        raise ConversionFailed("the treelite model has several targets with classes", where=where)
    outputs = targets * int(classes[0])
    target, of_class = header["target_id"].astype(np.int64), header["class_id"].astype(np.int64)
    if len(target) != len(checkpoint.sizes) or len(of_class) != len(checkpoint.sizes):
        raise ValueError("it does not say of each tree which output it adds to")
    # -1: to all. A dimension that has one entry may be named or not.
    target, of_class = np.where(targets == 1, 0, target), np.where(classes[0] == 1, 0, of_class)
    if shape == (targets, int(classes[0])) and outputs > 1:
        if np.any(np.where(targets > 1, target, of_class) != -1):
            raise ValueError("a tree with a value for each output adds to one only")
        return outputs, np.zeros(len(target), np.int32), True
    of_tree = np.where(targets > 1, target, of_class)
    if shape != (1, 1) or np.any((of_tree < 0) | (of_tree >= outputs)):
        raise ValueError("the values of its leaves and its outputs do not fit together")
    return outputs, of_tree.astype(np.int32), False


def _task_and_link(header: Mapping[str, Any], outputs: int, where: str) -> tuple[Task, Link]:
    name, kind = header["postprocessor"], int(header["task_type"][0])
    if kind == ISOLATION or name not in LINKS:
        what = f"the treelite model is one of {TASKS[kind]} with the postprocessor '{name}', which is not known here"
        raise ConversionFailed(what, where=where, hint=f"known are {', '.join(LINKS)}")
    scale = float(header["sigmoid_alpha"][0]) if LINKS[name] == "sigmoid" else 1.0
    if not (scale > 0 and np.isfinite(1 / scale)):
        raise ValueError(f"its sigmoid_alpha is {scale}")
    over_classes = name in ("softmax", "multiclass_ova", "identity_multiclass")
    task: Task = "value"
    if kind == MULTICLASS and int(header["num_target"][0]) == 1 and outputs > 1:
        task = "multiclass"
    elif kind == BINARY and outputs == 1 and name in ("sigmoid", "hinge"):
        task = "binary"
    if outputs > 1 and over_classes != (task == "multiclass"):
        what = f"the treelite model is one of {TASKS[kind]} with {outputs} outputs and the postprocessor '{name}'"
        raise ConversionFailed(f"{what}: what that means is not known here", where=where)
    return task, Link(LINKS[name], scale)


def _divisor(
    header: Mapping[str, Any], of_tree: np.ndarray, base: np.ndarray, outputs: int, *, wide: bool, where: str
) -> float:
    if not header["average_tree_output"][0]:
        return 1.0
    counts = {len(of_tree)} if wide else set(np.bincount(of_tree, minlength=outputs).tolist())
    if base.any() or len(counts) > 1:
        what = "the treelite model averages its trees, and has base scores or not as many trees for each output"
        raise ConversionFailed(what, where=where)
    return float(counts.pop())
