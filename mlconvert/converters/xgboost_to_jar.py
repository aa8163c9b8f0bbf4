"""XGBoost's json or ubj file to a jar: its trees, float32 throughout as in XGBoost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
from mlconvert.readers.xgboost_files import load_xgboost

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact


def convert(
    source: Artifact,
    target: Path,
    *,
    style: Style = "arrays",
    class_name: ClassName = CLASS_NAME,
    version: Version = VERSION,
    via: Via = "own",
    seconds: Seconds = SECONDS,
    memory_mib: Memory = 0,
) -> Artifact:
    """Write a jar whose answers have the names and the order that the runner of XGBoost gives.

    Raises ConversionFailed for a damaged file, for what `forests.xgboost.read_xgboost` refuses by name, and for a model
    that is too large for a jar; UsageError for a name that is none of a class; with `via`, what
    `jar_via_pmml.transpile` raises.
    """
    if via == "pmml":
        from mlconvert.converters.jar_via_pmml import transpile

        return transpile(source, target, seconds=seconds, memory_mib=memory_mib)
    from mlconvert.forests.xgboost import read_xgboost
    from mlconvert.jars.model import of_trees
    from mlconvert.jars.writing import write_jar

    model = read_xgboost(load_xgboost(source.path)[0], source.location)
    return write_jar(
        of_trees(model), target, style=style, class_name=class_name, version=version, where=source.location
    )
