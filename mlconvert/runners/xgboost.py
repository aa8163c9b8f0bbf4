"""Reference outputs of a native XGBoost model, from XGBoost itself: NaN is missing, all trees.

Features are doubles, which XGBoost rounds to float32; it refuses infinities, and what rounds to one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.converter import Session
from mlconvert.errors import UsageError
from mlconvert.readers import classical_outputs
from mlconvert.readers.xgboost_files import XgboostModel, load_xgboost
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact
    from mlconvert.readers.classical_outputs import Task


def signature(artifact: Artifact) -> Signature:
    return _signature(load_xgboost(artifact.path)[1], artifact.location)


def load(artifact: Artifact) -> Session:
    """Its functions raise UsageError, naming the place, for rows that XGBoost does not take."""
    booster, model = load_xgboost(artifact.path)
    known, task = _signature(model, artifact.location), _task(model, artifact.location)

    def predict(inputs: Mapping[str, np.ndarray], **kind: bool) -> np.ndarray:
        predicted: np.ndarray = booster.predict(_rows(booster, inputs["input"]), **kind)
        return predicted.reshape(len(inputs["input"]), -1)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if task != "multiclass":
            return classical_outputs.outputs(task, predict(inputs))
        # XGBoost's own labels (multi:softmax) are those of the largest sums; it gives no probabilities beside them.
        sums = predict(inputs, output_margin=True)
        softmax = model.objective == "multi:softmax"
        probabilities = _softmax(sums) if softmax else predict(inputs)
        return {"label": sums.argmax(axis=1).astype("int64"), "probabilities": probabilities}

    more = {
        "raw_scores": lambda inputs: predict(inputs, output_margin=True),
        "leaf_indices": lambda inputs: predict(inputs, pred_leaf=True).astype("int64"),
    }
    return Session(known, run, more if model.booster != "gblinear" else {"raw_scores": more["raw_scores"]})


def boundary_samples(
    artifact: Artifact, samples: Mapping[str, np.ndarray], *, count: int, seed: int
) -> dict[str, np.ndarray] | None:
    from mlconvert.forests.boundary import matrix_samples
    from mlconvert.forests.xgboost import read_xgboost

    booster, _ = load_xgboost(artifact.path)
    return matrix_samples(lambda: read_xgboost(booster, artifact.location), samples, count=count, seed=seed)


def _rows(booster: Any, matrix: np.ndarray) -> Any:
    import numpy as np
    import xgboost

    with np.errstate(over="ignore"):
        infinite = np.isinf(matrix.astype(np.float32))
    if infinite.any():
        row, column = np.argwhere(infinite)[0]
        place = f"{matrix[row, column]} in row {row}, column {column}"
        what = f"XGBoost takes no number that is infinite as a float32: {place}"
        raise UsageError(what, hint="give NaN where a value is missing")
    return xgboost.DMatrix(
        np.ascontiguousarray(matrix, dtype=np.float64),
        missing=np.nan,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=True,
    )


def _softmax(sums: np.ndarray) -> np.ndarray:
    import numpy as np

    powers = np.exp(sums - sums.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _task(model: XgboostModel, where: str) -> Task:
    task = classical_outputs.task_of(classical_outputs.XGBOOST, model.objective, "XGBoost", where)
    return "value" if task == "binary" and model.num_target > 1 else task


def _signature(model: XgboostModel, where: str) -> Signature:
    task = _task(model, where)
    matrix = TensorSpec("input", "float64", ("batch", model.features), model.feature_names)
    classes = model.num_class if task == "multiclass" else 2
    specs = classical_outputs.output_specs(task, classes=classes, values=model.num_target, dtype="float32")
    return Signature((matrix,), specs)
