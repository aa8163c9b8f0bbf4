"""treelite's checkpoints on disk: their bytes, and the artifact of one that was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.readers import classical_outputs
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from mlconvert.forests.model import TreeModel

# What treelite's own float32 steps, its softmax for one, leave of an answer in double.
FLOAT32_STEPS = {"rtol": 1e-6, "atol": 1e-6}


def treelite_bytes(path: Path) -> bytes:
    """The bytes of a checkpoint; raises ConversionFailed when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConversionFailed(f"cannot read the treelite checkpoint: {error.strerror}", where=str(path)) from error


def write_checkpoint(model: TreeModel, target: Path, where: str) -> Artifact:
    """Write a model as a checkpoint, and have treelite itself load it.

    The artifact's fact `precision` is that of the answers; where the sums are better than those, `tolerance` is what
    is promised. Raises ConversionFailed for what a checkpoint cannot hold.
    """
    from mlconvert.forests.treelite_file import answers_in_float32, write_treelite

    write_treelite(model, target, where)
    import treelite

    try:
        treelite.Model.deserialize(str(target))
    except treelite.TreeliteError as error:
        raise ConversionFailed(f"treelite {treelite.__version__} does not take the checkpoint: {error}", where=where,
                               hint="update treelite") from error  # fmt: skip
    facts: dict[str, object] = {"precision": "float32" if answers_in_float32(model) else "float64"}
    if answers_in_float32(model) and model.arithmetic == "float64":
        facts["tolerance"] = FLOAT32_STEPS
    return Artifact("treelite", str(target), (target,), treelite_signature(model), facts=facts)


def treelite_signature(model: TreeModel) -> Signature:
    """One matrix `input` of float64, and the outputs of a booster of that task, in the type of the sums."""
    matrix = TensorSpec("input", "float64", ("batch", model.forest.features), model.feature_names)
    task: classical_outputs.Task = "value" if model.task == "outlier" else model.task
    classes = {"binary": 2, "multiclass": model.outputs}.get(task, 0)
    outputs = classical_outputs.output_specs(task, classes=classes, values=model.outputs, dtype=model.arithmetic)
    return Signature((matrix,), outputs)
