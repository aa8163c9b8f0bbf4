"""Reference outputs of a CatBoost model, from CatBoost itself: all trees.

Features are doubles, which CatBoost rounds to float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.converter import Session
from mlconvert.readers import classical_outputs
from mlconvert.readers.catboost_files import catboost_loss, check_catboost_features, load_catboost
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
    kind = _kind(catboost_loss(model))

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import numpy as np

        matrix = _matrix(inputs)
        if classifier:
            labels = label_values(np.asarray(model.predict(matrix)).reshape(-1))
            return {"label": labels, "probabilities": np.asarray(model.predict_proba(matrix))}
        return {"variable": _values(model, matrix, kind)}

    return Session(
        known,
        run,
        {
            "raw_scores": lambda inputs: _values(model, _matrix(inputs), "RawFormulaVal"),
            "leaf_indices": lambda inputs: model.calc_leaf_indexes(_matrix(inputs)).astype("int64"),
        },
    )


def boundary_samples(
    artifact: Artifact, samples: Mapping[str, np.ndarray], *, count: int, seed: int
) -> dict[str, np.ndarray] | None:
    from mlconvert.forests.boundary import matrix_samples
    from mlconvert.forests.catboost import read_catboost

    model = load_catboost(artifact.path)
    return matrix_samples(lambda: read_catboost(model, artifact.location), samples, count=count, seed=seed)


def _matrix(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    import numpy as np

    return np.ascontiguousarray(inputs["input"], dtype=np.float64)


def _values(model: Any, matrix: np.ndarray, kind: str) -> np.ndarray:
    import numpy as np

    return np.asarray(model.predict(matrix, prediction_type=kind)).reshape(len(matrix), -1)


def _kind(loss: str) -> str:
    """What CatBoost's own classes for regression, ranking and several labels predict: the base class gives raw sums."""
    if loss in classical_outputs.CATBOOST_MULTILABEL:
        return "Probability"
    return "Exponent" if loss in classical_outputs.CATBOOST_EXPONENT else "RawFormulaVal"


def _signature(model: Any, where: str) -> Signature:
    import numpy as np

    check_catboost_features(model, where)
    names = tuple(str(name) for name in model.feature_names_)
    loss = catboost_loss(model)
    task = classical_outputs.task_of(classical_outputs.CATBOOST, loss, "CatBoost", where)
    matrix = TensorSpec("input", "float64", ("batch", len(names)), names)
    if task == "value":
        values = _values(model, np.zeros((1, len(names))), _kind(loss)).size
        return Signature((matrix,), classical_outputs.output_specs(task, classes=0, values=values, dtype="float64"))
    classes = label_values(model.classes_)
    label = "string" if classes.dtype.kind == "U" else "int64"
    specs = classical_outputs.output_specs(task, classes=len(classes), values=0, label=label, dtype="float64")
    return Signature((matrix,), specs)
