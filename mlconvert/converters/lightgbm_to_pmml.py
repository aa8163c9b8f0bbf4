"""LightGBM's text file to PMML, by sklearn2pmml."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.errors import ConversionFailed
from mlconvert.readers.lightgbm_boosters import as_estimator, plain_booster
from mlconvert.readers.lightgbm_files import lightgbm_bytes, load_lightgbm, task_of
from mlconvert.readers.pmml_notes import finish
from mlconvert.readers.sklearn2pmml_runs import MemoryMib, Seconds, pmml_pipeline, target_name, write_pmml
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


HAS_CATEGORIES = re.compile(rb"^num_cat=[1-9]", re.MULTILINE)


def convert(source: Artifact, target: Path, *, seconds: Seconds = 0.0, memory_mib: MemoryMib = 0) -> Artifact:
    """Write a PMML document with the outputs that the runner of LightGBM names; raises what `write_pmml` raises."""
    return write(source, target, None, seconds=seconds, memory_mib=memory_mib)


def write(source: Artifact, target: Path, fields: Sequence[str] | None, *, seconds: float, memory_mib: int) -> Artifact:
    """As `convert`, with other names of the document's fields than the model's own."""
    from mlconvert.readers.classical_outputs import output_specs

    booster, header = load_lightgbm(source.path)
    task = task_of(header, source.location)
    classes = list(range(header.outputs if task == "multiclass" else 2)) if task != "value" else []
    named = list(fields or header.feature_names)
    if HAS_CATEGORIES.search(lightgbm_bytes(source.path)):
        what = "the LightGBM model splits on categories, which are not in its PMML"
        raise ConversionFailed(what, where=source.location, hint="--to jar and --to onnx take them")
    estimator = as_estimator(plain_booster(booster, source.location), len(classes))
    pipeline = pmml_pipeline(estimator, named, target_name(named))
    write_pmml(pipeline, target, where=source.location, seconds=seconds, memory_mib=memory_mib)
    matrix = TensorSpec("input", "float64", ("batch", header.features), header.feature_names)
    signature = Signature((matrix,), output_specs(task, classes=len(classes), values=1, dtype="float64"))
    return finish(target, signature, named, classes, precision="float64")
