"""scikit-learn's forests and linear models to a jar, with the scaling, imputing and encoding before them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mlconvert.converters.jar_options import (
    CLASS_NAME,
    SECONDS,
    VERSION,
    ClassName,
    Memory,
    Seconds,
    Style,
    Version,
    Via,
    check,  # noqa: F401 - named by the table of converters
)
from mlconvert.errors import ConversionFailed
from mlconvert.readers import estimators
from mlconvert.readers.estimator_inputs import Inputs, signature_and_table

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact


def convert(
    source: Artifact,
    target: Path,
    *,
    inputs: Annotated[Inputs, "one matrix `input`, or one input per column; auto goes by the samples"] = "auto",
    style: Style = "arrays",
    class_name: ClassName = CLASS_NAME,
    version: Version = VERSION,
    via: Via = "own",
    seconds: Seconds = SECONDS,
    memory_mib: Memory = 0,
    samples: Mapping[str, np.ndarray] | None = None,
) -> Artifact:
    """Write a jar whose answers have the names and the order that the runner of scikit-learn gives.

    Raises ConversionFailed, naming the part by its place (`Pipeline > reduce > PCA`), for what has no exact form in a
    jar, and for a model that is too large for one; UsageError when columns are needed and no samples tell their types,
    and for a name that is none of a class; with `via`, what
    `jar_via_pmml.transpile` raises.
    """
    if via == "pmml":
        from mlconvert.converters.jar_via_pmml import transpile

        return transpile(source, target, samples=samples, seconds=seconds, memory_mib=memory_mib)
    from mlconvert.jars.columns import OTHERWISE
    from mlconvert.jars.estimators import jar_model
    from mlconvert.jars.writing import write_jar

    estimator, where = estimators.load_estimator(source), source.location
    signature, table = signature_and_table(estimator, inputs, samples or {}, where)
    if table == "text":
        what = f"the {type(estimators.first_step(estimator)).__name__} of the text has no form in a jar"
        raise ConversionFailed(what, where=where, hint=OTHERWISE)
    if table == "columns":
        names = tuple(spec.name for spec in signature.inputs)
        texts = frozenset(index for index, spec in enumerate(signature.inputs) if spec.dtype == "string")
    else:
        width = int(signature.inputs[0].shape[1] or 0)
        names, texts = estimators.column_names(estimator) or tuple(f"f{index}" for index in range(width)), frozenset()
    model = jar_model(estimator, names, texts, where)
    return write_jar(
        model, target, signature=signature, style=style, class_name=class_name, version=version, where=where
    )
