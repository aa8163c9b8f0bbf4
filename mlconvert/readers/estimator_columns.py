"""What a fitted estimator shows of its columns: which ones hold numbers, which ones text, and the part that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlconvert.errors import UsageError
from mlconvert.readers.estimators import TEXT_STEPS, column_names, first_step

if TYPE_CHECKING:
    import numpy as np

# Of scikit-learn, modules of which every class takes numbers only.
_OF_NUMBERS = (
    *("cluster", "covariance", "cross_decomposition", "decomposition", "discriminant_analysis", "gaussian_process"),
    *("isotonic", "kernel_approximation", "kernel_ridge", "linear_model", "mixture", "naive_bayes", "neighbors"),
    *("neural_network", "preprocessing._data", "preprocessing._discretization", "preprocessing._polynomial"),
    *("random_projection", "svm", "tree", "ensemble._forest", "ensemble._gb", "ensemble._iforest"),
)


@dataclass(frozen=True)
class Fitted:
    """What a column was fitted on, by a part at this place."""

    kind: Literal["numbers", "text"]
    place: str


def fitted_columns(estimator: Any) -> dict[str, Fitted]:
    """The columns of a data frame whose kind the estimator shows; others may hold anything."""
    names = column_names(estimator)
    return {names[column]: fitted for column, fitted in _fitted(estimator, tuple(range(len(names))), ())}


def check_columns(estimator: Any, inputs: Mapping[str, np.ndarray]) -> None:
    """Raise UsageError for a column of text where the estimator was fitted on numbers, or the other way round."""
    for name, fitted in fitted_columns(estimator).items():
        if name not in inputs:
            continue
        given = "text" if inputs[name].dtype.kind in "OU" else "numbers"
        if given != fitted.kind:
            what = f"the column '{name}' holds {given}, and was fitted on {fitted.kind}: {fitted.place}"
            raise UsageError(what, hint="give samples of the types that the model was fitted on")


def _fitted(part: Any, columns: tuple[int, ...], above: tuple[str, ...]) -> Iterator[tuple[int, Fitted]]:
    """What a part that is given these columns shows of them."""
    name = type(part).__name__
    here = (*above, name)
    if hasattr(part, "steps"):
        first = first_step(part)
        step = next((step for step, own in part.steps if own is first), "")
        if first is not part:
            yield from _fitted(first, columns, (*here, *([step] if step else [])))
    elif hasattr(part, "transformers_"):
        for step, own, _ in part.transformers_:
            chosen = part._transformer_to_input_indices.get(step, ())
            if hasattr(own, "fit"):
                yield from _fitted(own, tuple(columns[index] for index in chosen), (*here, step))
    elif getattr(part, "_preprocessor", None) is not None:  # HistGradientBoosting with categories
        yield from _fitted(part._preprocessor, columns, here)
    elif hasattr(part, "transformer_list"):
        for step, own in part.transformer_list:
            yield from _fitted(own, columns, (*here, step))
    else:
        place = " > ".join(here)
        for column, kind in zip(columns, _kinds(part, name, len(columns)), strict=False):
            if kind is not None:
                yield column, Fitted(kind, place)


def _kinds(part: Any, name: str, count: int) -> list[Literal["numbers", "text"] | None]:
    if name in TEXT_STEPS:
        return ["text"] * count
    learnt = getattr(part, "categories_", None)
    if isinstance(learnt, list):
        return [_kind_of(categories) for categories in learnt]
    if name == "SimpleImputer":
        return [_kind_of([value]) for value in part.statistics_]
    module = type(part).__module__
    of_numbers = tuple(f"sklearn.{own}" for own in _OF_NUMBERS)
    return ["numbers" if module.startswith(of_numbers) else None] * count


def _kind_of(values: Any) -> Literal["numbers", "text"] | None:
    present = [value for value in values if value is not None and value == value]
    if present and all(isinstance(value, str) for value in present):
        return "text"
    return "numbers" if present and not any(isinstance(value, str) for value in present) else None
