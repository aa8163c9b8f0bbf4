"""Reference outputs of fitted statsmodels results, from `results.predict`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlconvert.converter import Session
from mlconvert.readers.statsmodels_expressions import Column
from mlconvert.readers.statsmodels_formulas import Categorical, Design, patsy_engine
from mlconvert.readers.statsmodels_results import Fit, load_fit

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact
    from mlconvert.signature import Signature


def signature(artifact: Artifact) -> Signature | None:
    return load_fit(artifact).signature


def load(artifact: Artifact) -> Session:
    """A session that answers as `results.predict` does; rows that it would refuse are NaN.

    statsmodels refuses all rows when one has a category that the fit did not. Such a row is answered with NaN here,
    and so is, as statsmodels has it, a row with a missing value.
    """
    fit = load_fit(artifact)
    (output,) = fit.signature.outputs

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {output.name: _answers(fit, inputs)}

    return Session(fit.signature, run)


def boundary_samples(
    artifact: Artifact, samples: Mapping[str, np.ndarray], *, count: int, seed: int
) -> dict[str, np.ndarray] | None:
    """Rows of the samples, with the fit's own categories at random in them; None for a model without categories.

    Numbers that were made up are no categories of the fit (its years, say): with them every answer would be NaN, and
    nothing would be compared.
    """
    import numpy as np

    design = load_fit(artifact).design
    categories = {column.name: levels for column, levels in _categories(design)} if design else {}
    if not categories:
        return None
    random = np.random.default_rng(seed)
    chosen = random.integers(len(next(iter(samples.values()))), size=count)
    rows = {name: values[chosen] for name, values in samples.items()}
    for name, levels in categories.items():
        rows[name] = np.array(levels)[random.integers(len(levels), size=(count, 1))]
    return rows


def _categories(design: Design) -> Iterator[tuple[Column, tuple[Any, ...]]]:
    """The columns of categories as they stand, each with its levels."""
    for term in design.terms:
        for factor, _ in term.factors:
            if isinstance(factor, Categorical) and isinstance(factor.source, Column):
                yield factor.source, factor.levels


def _answers(fit: Fit, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    import numpy as np

    (output,) = fit.signature.outputs
    rows = len(next(iter(inputs.values())))
    answers = np.full((rows, int(str(output.shape[1]))), np.nan)
    with np.errstate(all="ignore"), patsy_engine():
        if fit.design is None:
            answers[:] = np.asarray(fit.results.predict(inputs["input"])).reshape(answers.shape)
        else:
            known = _known(fit.design, inputs)
            if known.any():
                table = _frame(fit.design, inputs)[known]
                answers[known] = np.asarray(fit.results.predict(table)).reshape(-1, answers.shape[1])
    return answers


def _frame(design: Design, inputs: Mapping[str, np.ndarray]) -> Any:
    import pandas as pd

    columns = {column.name: inputs[column.name][:, 0] for column in design.inputs}
    return pd.DataFrame(
        {name: values.astype(object) if values.dtype.kind == "U" else values for name, values in columns.items()}
    )


def _known(design: Design, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Which rows have, in every column of categories, one that the fit had."""
    import numpy as np

    known = np.ones(len(next(iter(inputs.values()))), bool)
    for column, levels in _categories(design):
        known &= np.isin(inputs[column.name][:, 0], np.array(levels))
    return known
