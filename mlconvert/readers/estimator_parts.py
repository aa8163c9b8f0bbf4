"""A scikit-learn pipeline in two parts: what prepares the rows, and the model that answers for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlconvert.errors import ConversionFailed, UsageError, suggest
from mlconvert.readers import estimators

if TYPE_CHECKING:
    from mlconvert.artifact import Artifact

LAST = "last"
BETWEEN = {"transformer": "variable", "clusterer": "scores"}  # what `transform` gives, by the kind of the part


def write_parts(artifact: Artifact, before: str, first: Path, second: Path) -> str:
    """Write the steps before the one of that name, and the others, as .skops files; the output that joins them.

    The parts have the fitted steps of the whole, nothing is fitted again. Raises UsageError for what is no pipeline,
    has no such step or nothing before it, or whose first part gives something else than the second takes;
    ConversionFailed for what skops cannot write.
    """
    from mlconvert.packages import SKOPS, require

    require((SKOPS,), "splitting a pipeline")
    from skops import io

    pipeline, where = estimators.load_estimator(artifact), artifact.location
    index = _index(pipeline, before, where)
    parts = (_part(pipeline.steps[:index]), _part(pipeline.steps[index:]))
    kind = estimators.kind_of(parts[0])
    if kind not in BETWEEN:
        name = pipeline.steps[index - 1][0]
        what = f"what the step '{name}' gives as the end of a pipeline ({kind}) is not what it gives to the next step"
        raise UsageError(what, where=where, hint=f"split before another step: {_names(pipeline)}")
    for part, path in zip(parts, (first, second), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            io.dump(part, path)
        except Exception as error:  # whatever a step of the user's own holds
            what = f"a part of the pipeline cannot be written as .skops: {type(error).__name__}: {error}"
            raise ConversionFailed(what, where=where) from error
    return BETWEEN[kind]


def _index(pipeline: Any, before: str, where: str) -> int:
    if not hasattr(pipeline, "steps"):
        what = f"a {type(pipeline).__name__} is no pipeline: it cannot be split"
        raise UsageError(what, where=where, hint="convert it as one model, with `targets`")
    names = [name for name, _ in pipeline.steps]
    if before in names:
        index = names.index(before)
    elif before == LAST:
        index = len(names) - 1
    else:
        what = f"the pipeline has no step '{before}'.{suggest(before, names)}"
        raise UsageError(what, where=where, hint=f"its steps: {_names(pipeline)}; or {LAST}")
    if index == 0:
        what = f"nothing comes before the step '{names[0]}': there are no two parts"
        raise UsageError(what, where=where, hint="convert it as one model, with `targets`")
    return index


def _names(pipeline: Any) -> str:
    return ", ".join(name for name, _ in pipeline.steps)


def _part(steps: list[tuple[str, Any]]) -> Any:
    from sklearn.pipeline import Pipeline

    return steps[0][1] if len(steps) == 1 and hasattr(steps[0][1], "fit") else Pipeline(steps)
