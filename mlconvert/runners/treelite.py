"""Answers of a treelite checkpoint, by treelite's reference library (GTIL), under the names that boosters have.

The checkpoint is read and checked first: GTIL follows a damaged child index out of its memory. Rows are cast to the
type of the thresholds. GTIL takes a category between -1 and 0 for none; where the checkpoint says that categories are
cut towards zero, as LightGBM's are, that is done here. Whoever serves the checkpoint has to give whole numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.converter import Session
from mlconvert.errors import ConversionFailed
from mlconvert.readers import classical_outputs
from mlconvert.readers.treelite_files import treelite_bytes, treelite_signature

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact
    from mlconvert.forests.model import Forest
    from mlconvert.signature import Signature


def signature(artifact: Artifact) -> Signature:
    from mlconvert.forests.treelite import read_treelite

    return treelite_signature(read_treelite(treelite_bytes(artifact.path), artifact.location))


def load(artifact: Artifact) -> Session:
    from mlconvert.forests.treelite import read_treelite

    data = treelite_bytes(artifact.path)
    model = read_treelite(data, artifact.location)
    loaded = _loaded(data, artifact.location)

    def predict(inputs: Mapping[str, np.ndarray], *, margin: bool) -> np.ndarray:
        import treelite

        answers: np.ndarray = treelite.gtil.predict(loaded, _rows(model.forest, inputs["input"]), pred_margin=margin)
        return answers.reshape(len(inputs["input"]), model.outputs)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        answers = predict(inputs, margin=False)
        if model.task == "multiclass" and model.label_by_sums:
            label = predict(inputs, margin=True).argmax(axis=1).astype("int64")
            return {"label": label, "probabilities": answers}
        return classical_outputs.outputs(model.task if model.task != "outlier" else "value", answers)

    def leaf_indices(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        import treelite

        leaves: np.ndarray = treelite.gtil.predict_leaf(loaded, _rows(model.forest, inputs["input"]))
        return leaves.astype("int64")

    more = {"raw_scores": lambda inputs: predict(inputs, margin=True), "leaf_indices": leaf_indices}
    return Session(treelite_signature(model), run, more)


def boundary_samples(
    artifact: Artifact, samples: Mapping[str, np.ndarray], *, count: int, seed: int
) -> dict[str, np.ndarray] | None:
    from mlconvert.forests.boundary import matrix_samples
    from mlconvert.forests.treelite import read_treelite

    return matrix_samples(
        lambda: read_treelite(treelite_bytes(artifact.path), artifact.location), samples, count=count, seed=seed
    )


def _loaded(data: bytes, where: str) -> Any:
    import treelite

    try:
        return treelite.Model.deserialize_bytes(data)
    except treelite.TreeliteError as error:
        raise ConversionFailed(f"treelite cannot load the checkpoint: {error}", where=where) from error


def _rows(forest: Forest, matrix: np.ndarray) -> np.ndarray:
    import numpy as np

    with np.errstate(over="ignore"):
        rows = np.array(matrix, dtype=forest.compares, order="C")
    if not forest.floors:
        rows[:, forest.truncates] = np.trunc(rows[:, forest.truncates])
    return rows
