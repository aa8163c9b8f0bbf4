"""LightGBM's text files: read and checked, and only then given to LightGBM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.readers import classical_outputs
from mlconvert.readers.lightgbm_text import LightgbmHeader, read_lightgbm_header, read_lightgbm_text


def lightgbm_bytes(path: Path) -> bytes:
    """The bytes of a model file; raises ConversionFailed when it cannot be read or is empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConversionFailed(f"cannot read the LightGBM model: {error.strerror}", where=str(path)) from error
    if not data:
        raise ConversionFailed("not a LightGBM model: the file is empty", where=str(path))
    return data


def lightgbm_header(path: Path) -> LightgbmHeader:
    """The header of a text file; neither LightGBM nor numpy is needed."""
    return read_lightgbm_header(lightgbm_bytes(path), str(path))


def load_lightgbm(path: Path) -> tuple[Any, LightgbmHeader]:
    """The booster in a text file, which was checked so that LightGBM cannot crash, and its header."""
    data = lightgbm_bytes(path)
    text = read_lightgbm_text(data, str(path), every_line=True)
    import lightgbm

    try:
        return lightgbm.Booster(model_str=data.decode("utf-8")), text.header
    except (lightgbm.basic.LightGBMError, ValueError, OSError) as error:
        raise ConversionFailed(f"LightGBM cannot load the model: {error}", where=str(path)) from error


def task_of(header: LightgbmHeader, where: str) -> classical_outputs.Task:
    """What a model answers; raises ConversionFailed for an objective of the user's own, or one that is not known."""
    if header.objective in ("", "custom"):
        what = "the LightGBM model was trained with an objective of the user's own: what its sums mean is not known"
        hint = "if the sum itself is the answer, write the line 'objective=regression' into the head of the file"
        raise ConversionFailed(what, where=where, hint=hint)
    return classical_outputs.task_of(classical_outputs.LIGHTGBM, header.objective, "LightGBM", where)
