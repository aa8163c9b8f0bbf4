"""A treelite checkpoint to ONNX: its trees, in the type of its thresholds as in treelite, which is not needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.converters.tree_options import Dtype, LeafIndices, Opset, RawScores, TargetRuntime
from mlconvert.readers.treelite_files import treelite_bytes

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(
    source: Artifact,
    target: Path,
    *,
    opset: Opset = 18,
    dtype: Dtype = "float64",
    target_runtime: TargetRuntime = None,
    raw_scores: RawScores = False,
    leaf_indices: LeafIndices = False,
) -> Artifact:
    """Write an ONNX model with the input `input` [batch, F]; outputs as the runner of treelite names them.

    Raises ConversionFailed for a damaged checkpoint and for what `forests.treelite.read_treelite` refuses by name,
    UsageError for an opset or a runtime that cannot be written for.
    """
    from mlconvert.forests.onnx_file import write_trees
    from mlconvert.forests.treelite import read_treelite

    return write_trees(
        read_treelite(treelite_bytes(source.path), source.location),
        target,
        opset=opset,
        dtype=dtype,
        target_runtime=target_runtime,
        raw_scores=raw_scores,
        leaf_indices=leaf_indices,
    )
