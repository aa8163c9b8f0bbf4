"""Reference outputs of a LightGBM text model, from LightGBM itself: float64 features, all trees.

A column that was of pandas' dtype category holds the codes of its categories: the list of them at the end of the file
is for data frames, which the native API alone does not take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlconvert.converter import Session
from mlconvert.readers import classical_outputs
from mlconvert.readers.lightgbm_files import lightgbm_bytes, lightgbm_header, load_lightgbm, task_of
from mlconvert.readers.lightgbm_text import LightgbmHeader
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact


def signature(artifact: Artifact) -> Signature:
    """One matrix `input` of float64; read from the head of the text alone."""
    return _signature(lightgbm_header(artifact.path), artifact.location)


def load(artifact: Artifact) -> Session:
    booster, header = load_lightgbm(artifact.path)
    task = task_of(header, artifact.location)

    def predict(inputs: Mapping[str, np.ndarray], **kind: bool) -> np.ndarray:
        import numpy as np

        matrix = np.ascontiguousarray(inputs["input"], dtype=np.float64)
        # The file may have been saved after early stopping; what it holds is the model.
        predicted: np.ndarray = booster.predict(matrix, num_iteration=-1, **kind)
        return predicted

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return classical_outputs.outputs(task, predict(inputs))

    def raw_scores(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        raw = predict(inputs, raw_score=True).reshape(-1, header.outputs)
        # LightGBM divides by the number of iterations only on the way to its answer.
        return raw / (header.trees // header.outputs) if header.averaged else raw

    def leaf_indices(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return predict(inputs, pred_leaf=True).reshape(-1, header.trees).astype("int64")

    known = _signature(header, artifact.location)
    return Session(known, run, {"raw_scores": raw_scores, "leaf_indices": leaf_indices})


def boundary_samples(
    artifact: Artifact, samples: Mapping[str, np.ndarray], *, count: int, seed: int
) -> dict[str, np.ndarray] | None:
    from mlconvert.forests.boundary import matrix_samples
    from mlconvert.forests.lightgbm import read_lightgbm

    return matrix_samples(
        lambda: read_lightgbm(lightgbm_bytes(artifact.path), artifact.location), samples, count=count, seed=seed
    )


def _signature(header: LightgbmHeader, where: str) -> Signature:
    task = task_of(header, where)
    matrix = TensorSpec("input", "float64", ("batch", header.features), header.feature_names)
    classes = header.outputs if task == "multiclass" else 2
    return Signature((matrix,), classical_outputs.output_specs(task, classes=classes, values=1, dtype="float64"))
