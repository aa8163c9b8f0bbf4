"""scikit-learn estimators of any kind to a model.py for Triton's python backend: the file itself is served."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mlconvert.errors import UsageError
from mlconvert.formats.pickles import read_pickle
from mlconvert.formats.served_python import ServedModel
from mlconvert.formats.skops_files import read_skops
from mlconvert.readers import estimator_files, estimators
from mlconvert.readers.estimator_answers import methods_of, scores_of, table_of, unanswered
from mlconvert.readers.estimator_inputs import Inputs, signature_and_table
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact


def convert(
    source: Artifact,
    target: Path,
    *,
    inputs: Annotated[Inputs, "one matrix `input`, or one input per column; auto goes by the samples"] = "auto",
    scores: Annotated[bool, "also give `scores`, the decision function, beside probabilities"] = False,
    samples: Mapping[str, np.ndarray] | None = None,
) -> Artifact:
    """Write a model.py that loads the estimator and answers under the names that the runner of scikit-learn gives.

    Raises UsageError for a file that was not trusted, and when columns are needed and no samples tell their types;
    ConversionFailed for an estimator that gives no answers for new rows, or needs a module of no installed package.
    """
    from mlconvert.python_backend.writing import constants_of, write_served

    where = source.location
    estimator = estimators.load_estimator(source)
    signature, table = signature_and_table(estimator, inputs, samples or {}, where)
    methods = methods_of(estimator)
    if scores and "scores" not in methods:
        signature = _with_scores(estimator, signature, samples or {}, where)
        methods["scores"] = "decision_function"
    skops = estimator_files.is_skops(source.path)
    constants: dict[str, Any] = {"MODEL": f"model{_suffix(source.path, skops=skops)}"}
    facts: dict[str, Any] = {"precision": "float64", "model": type(estimator).__name__}
    if skops:
        constants["TRUSTED"] = facts["trusted_types"] = sorted(estimator_files.types_to_trust(source.path))
    else:
        facts["runs_code"] = True
    constants |= constants_of(signature)
    if table == "named-matrix":
        constants["COLUMNS"] = list(signature.inputs[0].columns)
    constants["METHODS"] = methods
    served = ServedModel(f"sklearn-{table}", type(estimator).__name__, constants)
    return write_served(target, source, served, modules=_modules(source.path, table, skops=skops), facts=facts)


def _suffix(path: Path, *, skops: bool) -> str:
    if skops:
        return ".skops"
    summary = read_pickle(path)
    by_joblib = summary.compression or any(name.startswith("joblib.") for name in summary.globals)
    return ".joblib" if by_joblib else ".pkl"


def _modules(path: Path, table: str, *, skops: bool) -> list[str]:
    """What the file's objects come from, and what the code imports."""
    named = read_skops(path).types if skops else read_pickle(path).globals
    # A pickle that scikit-learn's own version wrote is read by it alone; scipy holds a part of what it computes.
    always = ["numpy", "sklearn", "scipy", "joblib", *(["skops"] if skops else [])]
    return [*named, *always, *(["pandas"] if table in ("columns", "named-matrix") else [])]


def _with_scores(estimator: Any, signature: Signature, samples: Mapping[str, np.ndarray], where: str) -> Signature:
    """The signature with the decision function; a row of it tells how wide that is."""
    import numpy as np

    if not hasattr(estimator, "decision_function"):
        what = f"scores: the {type(estimator).__name__} has no decision_function"
        raise UsageError(what, where=where, hint="leave the option scores out")
    rows: dict[str, np.ndarray] = {}
    for spec in signature.inputs:
        width = int(str(spec.shape[1]))
        made = np.full((1, width), "a text") if spec.dtype == "string" else np.ones((1, width))
        rows[spec.name] = np.asarray(samples[spec.name])[:1].reshape(1, width) if spec.name in samples else made
    with unanswered(estimator, "a row", where):
        answers = scores_of(estimator, table_of(estimator, rows))
    output = TensorSpec("scores", answers.dtype.name, ("batch", answers.shape[1]))
    return Signature(signature.inputs, (*signature.outputs, output))
