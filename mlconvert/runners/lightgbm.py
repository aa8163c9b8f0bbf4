"""Reference outputs of a LightGBM text model, from LightGBM itself: float64 features, all trees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.converter import Session
from mlconvert.readers import classical_outputs
from mlconvert.readers.boosters import LightGbmText, lightgbm_header, load_lightgbm
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact


def signature(artifact: Artifact) -> Signature:
    """One matrix `input` of float64; read from the text alone."""
    return _signature(lightgbm_header(artifact.path), artifact.location)


def load(artifact: Artifact) -> Session:
    booster, text = load_lightgbm(artifact.path)
    task = classical_outputs.task_of(classical_outputs.LIGHTGBM, text.objective, "LightGBM", artifact.location)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        import numpy as np

        matrix = np.ascontiguousarray(inputs["input"], dtype=np.float64)
        # The file may have been saved after early stopping; what it holds is the model.
        return classical_outputs.outputs(task, booster.predict(matrix, num_iteration=-1))

    return Session(_signature(text, artifact.location), run)


def _signature(text: LightGbmText, where: str) -> Signature:
    task = classical_outputs.task_of(classical_outputs.LIGHTGBM, text.objective, "LightGBM", where)
    matrix = TensorSpec("input", "float64", ("batch", len(text.feature_names)), text.feature_names)
    classes = text.num_class if task == "multiclass" else 2
    return Signature((matrix,), classical_outputs.output_specs(task, classes=classes, values=1, dtype="float64"))
