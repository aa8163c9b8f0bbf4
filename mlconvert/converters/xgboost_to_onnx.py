"""XGBoost's json or ubj file to ONNX: its trees, float32 throughout as in XGBoost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.converters.tree_options import Dtype, LeafIndices, Opset, RawScores, TargetRuntime
from mlconvert.readers.xgboost_files import load_xgboost

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
    """Write an ONNX model with the input `input` [batch, F]; outputs as the runner of XGBoost names them.

    Raises ConversionFailed for a damaged file and for what `forests.xgboost.read_xgboost` refuses by name, UsageError
    for an opset or a runtime that cannot be written for.
    """
    from mlconvert.forests.onnx_file import write_trees
    from mlconvert.forests.xgboost import read_xgboost

    booster, _ = load_xgboost(source.path)
    return write_trees(
        read_xgboost(booster, source.location),
        target,
        opset=opset,
        dtype=dtype,
        target_runtime=target_runtime,
        raw_scores=raw_scores,
        leaf_indices=leaf_indices,
    )
