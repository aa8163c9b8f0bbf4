"""Fitted statsmodels results of any kind to a model.py for Triton's python backend: the pickle itself is served."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.formats.pickles import read_pickle
from mlconvert.formats.served_python import ServedModel
from mlconvert.readers.statsmodels_answers import load_answering

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(source: Artifact, target: Path) -> Artifact:
    """Write a model.py that answers as `results.predict` does; a row with a category that the fit had not is NaN.

    Raises UsageError for a file that was not trusted; ConversionFailed for results that answer no new rows, or whose
    pickle is no plain one.
    """
    from mlconvert.python_backend.writing import constants_of, write_served

    answering = load_answering(source)
    summary = read_pickle(source.path)
    by_joblib = summary.compression or any(name.startswith("joblib.") for name in summary.globals)
    constants: dict[str, Any] = {"MODEL": "model.joblib" if by_joblib else "model.pkl"}
    constants |= constants_of(answering.signature)
    if answering.levels:
        constants["LEVELS"] = {name: list(levels) for name, levels in answering.levels.items()}
    table = "columns" if answering.by_column else "matrix"
    # A formula is worked out again when the pickle is opened: patsy does that.
    modules = ["numpy", "pandas", "statsmodels", "scipy", *(["patsy"] if answering.by_column else [])]
    modules += [*summary.globals, *(["joblib"] if by_joblib else [])]
    served = ServedModel(f"statsmodels-{table}", answering.model, constants)
    facts = {"precision": "float64", "model": answering.model, "runs_code": True}
    return write_served(target, source, served, modules=modules, facts=facts)
