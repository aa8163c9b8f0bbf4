"""What Triton's FIL backend makes of a file of trees, and what it would make wrong.

The backend reads LightGBM's and XGBoost's own files through treelite's readers, and checkpoints as they are; then it
computes in float32, in double only the sums of some releases. No library of trees is needed to tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlconvert.errors import ConversionFailed, RepositoryInvalid
from mlconvert.readers import classical_outputs

FilFormat = Literal["lightgbm", "treelite", "xgboost"]


@dataclass(frozen=True)
class FilModel:
    """`outputs` are the classes of a multiclass model, else 1; `doubles`: the thresholds are float64."""

    features: int
    task: classical_outputs.Task
    outputs: int
    doubles: bool
    model_type: str  # as config.pbtxt spells it
    model_file: str


def fil_model(path: Path, format_name: str) -> FilModel:
    """What a file says of itself. Raises ConversionFailed for a damaged one, RepositoryInvalid for several targets."""
    return {"lightgbm": _lightgbm, "treelite": _treelite, "xgboost": _xgboost}[format_name](path)


def check_fil_model(path: Path, format_name: str) -> None:
    """Raise RepositoryInvalid, naming it, for what FIL would refuse or answer wrongly."""
    {"lightgbm": _check_lightgbm, "treelite": _check_treelite, "xgboost": _check_xgboost}[format_name](path)


def model_type_of(path: Path) -> tuple[str, str] | None:
    """The format and file of the first model of FIL's in a version folder."""
    for name, format_name in (
        ("model.txt", "lightgbm"),
        ("xgboost.json", "xgboost"),
        ("xgboost.ubj", "xgboost"),
        ("checkpoint.tl", "treelite"),
    ):
        if (path / name).is_file():
            return format_name, name
    return None


def _refusal(what: str, path: Path, hint: str) -> RepositoryInvalid:
    return RepositoryInvalid(f"Triton's FIL backend cannot serve the model: {what}", where=str(path), hint=hint)


def _to_onnx(path: Path) -> str:
    return f"convert it: mlconvert convert {path.name} --to onnx"


def _to_treelite(path: Path) -> str:
    return f"make a checkpoint that says it: mlconvert convert {path.name} --to treelite"


def _single(task: classical_outputs.Task, outputs: int, path: Path) -> int:
    if task == "value" and outputs > 1:
        raise _refusal(f"it answers {outputs} values a row, and FIL one", path, _to_onnx(path))
    return outputs if task == "multiclass" else 1


# --- LightGBM ---


def _lightgbm(path: Path) -> FilModel:
    from mlconvert.readers.lightgbm_files import lightgbm_header, task_of

    header = lightgbm_header(path)
    task = task_of(header, str(path))
    return FilModel(header.features, task, _single(task, header.outputs, path), True, "lightgbm", "model.txt")


def _check_lightgbm(path: Path) -> None:
    from mlconvert.forests.lightgbm import read_lightgbm
    from mlconvert.readers.lightgbm_files import lightgbm_bytes, lightgbm_header

    _check_classes(lightgbm_header(path).objective == "multiclassova", path)
    forest = read_lightgbm(lightgbm_bytes(path), str(path)).forest
    if forest.linear is not None:
        raise _refusal("its leaves are linear models (linear_tree)", path, _to_onnx(path))
    if forest.zero_is_missing.any():
        # treelite's reader of LightGBM's file loses it without a word, and a checkpoint has no place for it.
        raise _refusal("zeros are missing values in it (zero_as_missing)", path, _to_onnx(path))


# --- treelite ---


def _treelite_model(path: Path) -> Any:
    from mlconvert.forests.treelite import read_treelite
    from mlconvert.readers.treelite_files import treelite_bytes

    return read_treelite(treelite_bytes(path), str(path))


def _treelite(path: Path) -> FilModel:
    model = _treelite_model(path)
    task: classical_outputs.Task = "value" if model.task == "outlier" else model.task
    outputs = _single(task, model.outputs, path)
    doubles = model.forest.compares == "float64"
    return FilModel(model.forest.features, task, outputs, doubles, "treelite_checkpoint", "checkpoint.tl")


def _check_treelite(path: Path) -> None:
    model = _treelite_model(path)
    _check_classes(model.task == "multiclass" and model.link.name == "sigmoid", path)


def _check_classes(one_versus_all: bool, path: Path) -> None:
    if one_versus_all:
        what = "each class has a sigmoid of its own (multiclassova), and FIL puts softmax in its place"
        raise _refusal(what, path, _to_onnx(path))


# --- XGBoost ---


def _xgboost(path: Path) -> FilModel:
    from mlconvert.readers.xgboost_files import is_json, xgboost_document

    document = xgboost_document(path)
    learner = document["learner"]
    try:
        parameters: Mapping[str, Any] = learner["learner_model_param"]
        features, classes = int(parameters["num_feature"]), int(parameters["num_class"])
        targets, objective = int(parameters.get("num_target", 1)), str(learner["objective"]["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConversionFailed(f"the XGBoost model is damaged: {error}", where=str(path)) from error
    task = classical_outputs.task_of(classical_outputs.XGBOOST, objective, "XGBoost", str(path))
    if targets > 1:
        raise _refusal(f"it has {targets} targets, and FIL answers one", path, _to_onnx(path))
    with path.open("rb") as stream:
        kind = "json" if is_json(stream.read(4096)) else "ubj"
    outputs = max(classes, 1) if task == "multiclass" else 1
    return FilModel(features, task, outputs, False, f"xgboost_{kind}", f"xgboost.{kind}")


def _check_xgboost(path: Path) -> None:
    from mlconvert.readers.xgboost_files import tree_model_of, xgboost_document

    learner = xgboost_document(path)["learner"]
    try:
        if learner["gradient_booster"]["name"] == "gblinear":
            raise _refusal("it is a linear model (booster=gblinear), not trees", path, _to_onnx(path))
        trees = tree_model_of(learner)["trees"]
        categories = any(len(tree.get("categories", ())) for tree in trees)
        vectors = any(int(tree["tree_param"].get("size_leaf_vector", 1)) > 1 for tree in trees)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConversionFailed(f"the XGBoost model is damaged: {error}", where=str(path)) from error
    if vectors:
        raise _refusal("its leaves hold a value for each target", path, _to_onnx(path))
    if categories:
        raise _refusal("it splits by categories, which treelite's reader of XGBoost lacks", path, _to_treelite(path))
