"""Reference outputs of a CatBoost model, from CatBoost itself: float32 features, all trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.converter import Session
from mlconvert.readers import classical_outputs
from mlconvert.readers.boosters import catboost_loss, check_catboost_features, load_catboost
from mlconvert.readers.estimators import label_values
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact


def signature(artifact: Artifact) -> Signature:
    return _signature(load_catboost(artifact.path), artifact.location)


def load(artifact: Artifact) -> Session:
    model = load_catboost(artifact.path)
    known = _signature(model, artifact.location)
    classifier = known.outputs[0].name == "label"
    exponent = catboost_loss(model) in classical_outputs.CATBOOST_EXPONENT

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import numpy as np

        matrix = np.ascontiguousarray(inputs["input"], dtype=np.float32)
        if classifier:
            labels = label_values(np.asarray(model.predict(matrix)).reshape(-1))
            return {"label": labels, "probabilities": np.asarray(model.predict_proba(matrix))}
        values = np.asarray(model.predict(matrix, prediction_type="Exponent" if exponent else "RawFormulaVal"))
        return {"variable": values.reshape(len(matrix), -1)}

    return Session(known, run)


def _signature(model: Any, where: str) -> Signature:
    import numpy as np

    check_catboost_features(model, where)
    names = tuple(str(name) for name in model.feature_names_)
    task = classical_outputs.task_of(classical_outputs.CATBOOST, catboost_loss(model), "CatBoost", where)
    matrix = TensorSpec("input", "float32", ("batch", len(names)), names)
    if task == "value":
        values = np.asarray(model.predict(np.zeros((1, len(names)), dtype=np.float32))).size
        return Signature((matrix,), classical_outputs.output_specs(task, classes=0, values=values, dtype="float64"))
    classes = label_values(model.classes_)
    label = "string" if classes.dtype.kind == "U" else "int64"
    specs = classical_outputs.output_specs(task, classes=len(classes), values=0, label=label, dtype="float64")
    return Signature((matrix,), specs)
