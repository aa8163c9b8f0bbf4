"""Fitted statsmodels results of a matrix to a jar: a linear predictor and its inverse link, in float64."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mlconvert.converters.jar_options import (
    CLASS_NAME,
    VERSION,
    ClassName,
    Version,
    check,  # noqa: F401 - named by the table of converters
)
from mlconvert.errors import ConversionFailed
from mlconvert.readers.statsmodels_results import load_fit

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact
    from mlconvert.forests.model import LinkName

LINKS: dict[str, LinkName] = {"identity": "identity", "log": "exp", "logit": "sigmoid"}
HINT = "use --to onnx, which has all links and formulas"


def convert(
    source: Artifact, target: Path, *, class_name: ClassName = CLASS_NAME, version: Version = VERSION
) -> Artifact:
    """Write a jar that answers the mean, `variable` [N, 1]; a row has the constant's column where the fit had one.

    Raises ConversionFailed, by name, for formulas, for links other than identity, log and logit, and for MNLogit;
    UsageError for a file that was not trusted, and for a name that is none of a class.
    """
    import numpy as np

    from mlconvert.forests.model import Link, TreeModel
    from mlconvert.jars.model import JarModel, linear_forest
    from mlconvert.jars.writing import write_jar

    fit, where = load_fit(source), source.location
    if fit.design is not None:
        raise ConversionFailed(f"the formula of the {fit.model} has no form in a jar", where=where, hint=HINT)
    if fit.link.name not in LINKS:
        what = f"the {fit.link.name} link of the {fit.model} has no form in a jar"
        raise ConversionFailed(what, where=where, hint=HINT)
    weights = fit.parameters.T
    forest = linear_forest(weights, np.zeros(len(weights)))
    trees = TreeModel(forest, "value", (0.0,) * len(weights), Link(LINKS[fit.link.name]))
    names = fit.signature.inputs[0].columns or tuple(f"f{index}" for index in range(forest.features))
    model = JarModel(trees, "variable", tuple(names), tuple(range(forest.features)))
    return write_jar(model, target, signature=fit.signature, class_name=class_name, version=version, where=where)
