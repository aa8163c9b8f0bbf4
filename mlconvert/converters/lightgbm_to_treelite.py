"""LightGBM's text file to a treelite checkpoint, for Triton's FIL backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.readers.lightgbm_files import lightgbm_bytes
from mlconvert.readers.treelite_files import write_checkpoint

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(source: Artifact, target: Path) -> Artifact:
    """Write a checkpoint whose sums are LightGBM's to the last bit; outputs as the runner of LightGBM names them.

    Raises ConversionFailed for a damaged file, for what `forests.lightgbm.read_lightgbm` refuses by name, and for
    linear trees and zero_as_missing, which a checkpoint cannot hold.
    """
    from mlconvert.forests.lightgbm import read_lightgbm

    model = read_lightgbm(lightgbm_bytes(source.path), source.location)
    return write_checkpoint(model, target, source.location)
