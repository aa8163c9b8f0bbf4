"""LightGBM's text file to ONNX: its trees, in double as in LightGBM, which is not needed for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.converters.tree_options import Dtype, LeafIndices, Opset, RawScores, TargetRuntime
from mlconvert.readers.lightgbm_files import lightgbm_bytes

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
    """Write an ONNX model with the input `input` [batch, F]; outputs as the runner of LightGBM names them.

    Raises ConversionFailed for a damaged file and for what `forests.lightgbm.read_lightgbm` refuses by name,
    UsageError for an opset or a runtime that cannot be written for.
    """
    from mlconvert.forests.lightgbm import read_lightgbm
    from mlconvert.forests.onnx_file import write_trees

    return write_trees(
        read_lightgbm(lightgbm_bytes(source.path), source.location),
        target,
        opset=opset,
        dtype=dtype,
        target_runtime=target_runtime,
        raw_scores=raw_scores,
        leaf_indices=leaf_indices,
    )
