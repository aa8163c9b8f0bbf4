"""scikit-learn's classifiers and regressors, and pipelines that end with one, to PMML, by sklearn2pmml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlconvert.artifact import Artifact
from mlconvert.errors import ConversionFailed
from mlconvert.readers import estimators
from mlconvert.readers.estimator_answers import methods_of
from mlconvert.readers.estimator_inputs import Inputs, signature_and_table
from mlconvert.readers.lightgbm_boosters import with_plain_boosters
from mlconvert.readers.pmml_notes import finish
from mlconvert.readers.sklearn2pmml_runs import MemoryMib, Seconds, pmml_pipeline, target_name, write_pmml

if TYPE_CHECKING:
    import numpy as np

OF_TREES = frozenset(
    f"{name}{kind}"
    for name in ("DecisionTree", "ExtraTree", "ExtraTrees", "RandomForest")
    for kind in ("Classifier", "Regressor")
)


def convert(
    source: Artifact,
    target: Path,
    *,
    inputs: Annotated[Inputs, "one matrix `input`, or one input per column; auto goes by the samples"] = "auto",
    seconds: Seconds = 0.0,
    memory_mib: MemoryMib = 0,
    samples: Mapping[str, np.ndarray] | None = None,
) -> Artifact:
    """Write a PMML document; its runner answers under the names that the runner of scikit-learn gives.

    Raises ConversionFailed for what is neither a classifier with probabilities nor a regressor, and for what
    sklearn2pmml does not take; and what `write_pmml` raises.
    """
    where = source.location
    estimator = estimators.load_estimator(source)
    kind, name = estimators.kind_of(estimator), type(estimators.final_step(estimator)).__name__
    if kind not in ("classifier", "regressor") or "scores" in methods_of(estimator):
        given = {"classifier": "a classifier without probabilities", "outlier": "an outlier detector"}.get(
            kind, f"a {kind}"
        )
        what = f"the {name} is {given}: PMML is written here for classifiers with probabilities and for regressors"
        raise ConversionFailed(what, where=where, hint="--to onnx takes it")
    signature, _ = signature_and_table(estimator, inputs, samples or {}, where)
    first = signature.inputs[0]
    if first.dtype == "string" and first.name == "input":
        what = "the model takes text, and sklearn2pmml only the text of its own tokenizer"
        raise ConversionFailed(what, where=where, hint="--to onnx takes it")
    with_plain_boosters(estimator, where)
    _allow_missing(estimator)
    names = estimators.column_names(estimator)
    fields = list(names) or [f"x{number + 1}" for number in range(int(str(first.shape[1])))]
    pipeline = pmml_pipeline(estimator, fields, target_name(fields))
    write_pmml(pipeline, target, where=where, seconds=seconds, memory_mib=memory_mib)
    classes = estimators.label_values(estimator.classes_).tolist() if kind == "classifier" else []
    # XGBoost's wrappers add up, and answer, in float32.
    narrow = any(spec.dtype == "float32" for spec in signature.outputs)
    return finish(target, signature, fields, classes, precision="float32" if narrow else "float64")


def _allow_missing(estimator: Any) -> None:
    """Let the trees in the document, as scikit-learn's own, send missing values on; else they end a row's answer."""
    for _, part in estimators.walk(estimator):
        if type(part).__module__.startswith("sklearn.") and type(part).__name__ in OF_TREES:
            part.pmml_options_ = {"allow_missing": True}
