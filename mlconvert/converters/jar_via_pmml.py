"""A jar by way of PMML and JPMML's transpiler, for what mlconvert's own jars do not cover (`jar.via=pmml`)."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.artifact import Artifact
from mlconvert.converters import lightgbm_to_pmml, sklearn_to_pmml, xgboost_to_pmml
from mlconvert.converters.jar_options import SECONDS
from mlconvert.errors import ConversionFailed
from mlconvert.formats.jar import SCHEMA
from mlconvert.java import find_java
from mlconvert.readers.jvm import check_limits
from mlconvert.readers.lightgbm_files import lightgbm_header
from mlconvert.readers.pmml_evaluator import LICENSE, MINIMUM_JAVA
from mlconvert.readers.pmml_notes import note_of
from mlconvert.readers.pmml_transpiler import transpile_document
from mlconvert.readers.xgboost_files import load_xgboost

if TYPE_CHECKING:
    import numpy as np

OF_AN_ARRAY = re.compile(r".+_\d+")
OTHER_WAYS = (
    "JPMML-Evaluator runs the document itself: --to pmml; or leave jar.via out, if a jar of mlconvert's own takes it"
)


def transpile(
    source: Artifact,
    target: Path,
    *,
    samples: Mapping[str, np.ndarray] | None = None,
    seconds: float = SECONDS,
    memory_mib: int = 0,
) -> Artifact:
    """Write a jar of a source that has a converter to PMML. It needs JPMML-Evaluator on its class path.

    Raises MissingPackage without a JDK, sklearn2pmml or jpmml-evaluator; what the converter to PMML raises; and what
    `transpile_document` raises. The limits hold for each of the two programs.
    """
    check_limits(seconds, memory_mib)
    find_java(MINIMUM_JAVA, compiler=True)  # before minutes are spent on the document
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".pmml-") as folder:
        made = _document(source, Path(folder, "model.pmml"), samples, seconds, memory_mib)
        note = note_of(made.path)
        assert note is not None
        descriptor = {"schema": SCHEMA, "kind": "pmml", **note.as_json()}
        jar = Path(folder, "model.jar")
        try:
            transpile_document(
                made.path, jar, descriptor, where=source.location, seconds=seconds, memory_mib=memory_mib
            )
        except ConversionFailed as error:
            error.hint = error.hint or OTHER_WAYS
            if odd := next((field for field in note.fields if OF_AN_ARRAY.fullmatch(field)), None):
                error.hint = f"it takes a column named like '{odd}' for a part of an array: rename such columns"
            raise
        jar.replace(target)
    facts = {**made.facts, "license_of_runtime": LICENSE, "style": "pmml"}
    # Loading a jar runs its code: this one we made ourselves.
    return Artifact("jar", str(target), (target,), note.signature, trusted=True, facts=facts)


def _document(
    source: Artifact, target: Path, samples: Mapping[str, np.ndarray] | None, seconds: float, memory_mib: int
) -> Artifact:
    """The source as PMML; of a native file with the fields x1, x2, …: the transpiler does not take all names."""
    if source.format == "sklearn":
        return sklearn_to_pmml.convert(source, target, samples=samples, seconds=seconds, memory_mib=memory_mib)
    if source.format == "lightgbm":
        width = lightgbm_header(source.path).features
        return lightgbm_to_pmml.write(source, target, _fields(width), seconds=seconds, memory_mib=memory_mib)
    width = load_xgboost(source.path)[1].features
    return xgboost_to_pmml.write(source, target, _fields(width), seconds=seconds, memory_mib=memory_mib)


def _fields(width: int) -> list[str]:
    return [f"x{number + 1}" for number in range(width)]
