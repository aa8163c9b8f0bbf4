"""Reference outputs of a native XGBoost model, from XGBoost itself: float32 features, NaN is missing, all trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.converter import Session
from mlconvert.readers import classical_outputs
from mlconvert.readers.boosters import XgboostModel, load_xgboost
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact


def signature(artifact: Artifact) -> Signature:
    return _signature(load_xgboost(artifact.path)[1], artifact.location)


def load(artifact: Artifact) -> Session:
    booster, model = load_xgboost(artifact.path)
    task = classical_outputs.task_of(classical_outputs.XGBOOST, model.objective, "XGBoost", artifact.location)
    names, types = booster.feature_names, booster.feature_types

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import numpy as np
        import xgboost

        matrix = np.ascontiguousarray(inputs["input"], dtype=np.float32)
        rows = xgboost.DMatrix(
            matrix, missing=np.nan, feature_names=names, feature_types=types, enable_categorical=model.categorical
        )
        if model.objective == "multi:softmax":  # predicts labels only; its probabilities are those of softprob
            margin = booster.predict(rows, output_margin=True)
            powers = np.exp(margin - margin.max(axis=1, keepdims=True))
            return classical_outputs.outputs(task, powers / powers.sum(axis=1, keepdims=True))
        return classical_outputs.outputs(task, booster.predict(rows))

    return Session(_signature(model, artifact.location), run)


def _signature(model: XgboostModel, where: str) -> Signature:
    task = classical_outputs.task_of(classical_outputs.XGBOOST, model.objective, "XGBoost", where)
    matrix = TensorSpec("input", "float32", ("batch", model.features), model.feature_names)
    classes = model.num_class if task == "multiclass" else 2
    specs = classical_outputs.output_specs(task, classes=classes, values=model.num_target, dtype="float32")
    return Signature((matrix,), specs)
