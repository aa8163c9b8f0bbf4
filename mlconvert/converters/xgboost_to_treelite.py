"""XGBoost's json or ubj file to a treelite checkpoint, for Triton's FIL backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.readers.treelite_files import write_checkpoint
from mlconvert.readers.xgboost_files import load_xgboost

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(source: Artifact, target: Path) -> Artifact:
    """Write a checkpoint whose sums are XGBoost's to the last bit; outputs as the runner of XGBoost names them.

    Raises ConversionFailed for a damaged file and for what `forests.xgboost.read_xgboost` refuses by name.
    """
    from mlconvert.forests.xgboost import read_xgboost

    booster, _ = load_xgboost(source.path)
    return write_checkpoint(read_xgboost(booster, source.location), target, source.location)
