"""XGBoost's json or ubj file to PMML, by sklearn2pmml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed
from mlconvert.readers.pmml_notes import finish
from mlconvert.readers.sklearn2pmml_runs import MemoryMib, Seconds, pmml_pipeline, target_name, write_pmml
from mlconvert.readers.xgboost_files import load_xgboost
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(source: Artifact, target: Path, *, seconds: Seconds = 0.0, memory_mib: MemoryMib = 0) -> Artifact:
    """Write a PMML document with the outputs that the runner of XGBoost names.

    Raises ConversionFailed for several targets, for categories and for what sklearn2pmml does not take; and what
    `write_pmml` raises.
    """
    return write(source, target, None, seconds=seconds, memory_mib=memory_mib)


def write(source: Artifact, target: Path, fields: Sequence[str] | None, *, seconds: float, memory_mib: int) -> Artifact:
    """As `convert`, with other names of the document's fields than the model's own."""
    from mlconvert.readers import classical_outputs

    where = source.location
    booster, model = load_xgboost(source.path)
    if model.num_target > 1:
        what = f"the XGBoost model has {model.num_target} targets, and its PMML has one"
        raise ConversionFailed(what, where=where, hint="--to onnx takes it")
    if "c" in (booster.feature_types or ()):
        what = "the XGBoost model splits on categories, which are not in its PMML"
        raise ConversionFailed(what, where=where, hint="--to onnx takes them")
    task = classical_outputs.task_of(classical_outputs.XGBOOST, model.objective, "XGBoost", where)
    classes = list(range(model.num_class if task == "multiclass" else 2)) if task != "value" else []
    named = list(fields or model.feature_names or [f"f{number}" for number in range(model.features)])
    pipeline = pmml_pipeline(_as_estimator(booster, len(classes)), named, target_name(named))
    write_pmml(pipeline, target, where=where, seconds=seconds, memory_mib=memory_mib)
    matrix = TensorSpec("input", "float64", ("batch", model.features), model.feature_names)
    specs = classical_outputs.output_specs(task, classes=len(classes), values=1, dtype="float32")
    return finish(target, Signature((matrix,), specs), named, classes, precision="float32")


def _as_estimator(booster: Any, classes: int) -> Any:
    """The booster inside of scikit-learn's wrapper, for which sklearn2pmml writes trees that are compact."""
    import numpy as np
    import xgboost

    kind = xgboost.XGBClassifier if classes else xgboost.XGBRegressor
    labels = np.arange(classes or 2)
    estimator = kind(n_estimators=1, max_depth=1).fit(np.zeros((len(labels), booster.num_features())), labels)
    estimator._Booster = booster
    return estimator
