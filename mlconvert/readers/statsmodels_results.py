"""Fitted statsmodels results: what they take, and by which formula they answer.

Converted is what `results.predict(new rows)` gives: the mean, a linear predictor behind an inverse link. As there, an
offset or exposure of the fit plays no part: new rows have the offset 0 and the exposure 1. Confidence and prediction
intervals are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mlconvert.errors import ConversionFailed
from mlconvert.readers.estimator_files import load_pickle
from mlconvert.readers.statsmodels_formulas import Design, design_of, formulas_left_alone, restore_design
from mlconvert.signature import Signature, TensorSpec

if TYPE_CHECKING:
    import numpy as np

    from mlconvert.artifact import Artifact

LinkName = Literal[
    "identity",
    "power",  # x ** (1 / parameter)
    "logit",  # 1 / (1 + exp(-x))
    "log",  # exp(x)
    "log-complement",  # 1 - exp(x)
    "cloglog",  # 1 - exp(-exp(x))
    "loglog",  # exp(-exp(-x))
    "cauchy",  # the standard Cauchy distribution's
    "probit",  # the standard normal distribution's
    "negative-binomial",  # -1 / (parameter * (1 - exp(-x)))
    "multinomial-logit",  # softmax of 0 and x, over the columns
]


@dataclass(frozen=True)
class Link:
    """The inverse of a link function: from the linear predictor to the mean."""

    name: LinkName
    parameter: float = 1.0


@dataclass(frozen=True)
class Fit:
    """Results that are converted: `link(design @ parameters)`, the parameters as float64 [P, K].

    `design` says how the P columns are made of the inputs; None where they are the input. `classes` are the names of
    the columns of probabilities. `ignored` names what the fit had and new rows have not: an offset, an exposure.
    """

    results: Any
    model: str
    link: Link
    parameters: np.ndarray
    design: Design | None
    signature: Signature
    classes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


# The exact classes: one that derives from them may answer differently. None: the link is the one of the family.
_LINEAR, _COUNT = Link("identity"), Link("log")
MODELS: Mapping[str, Link | None] = {
    "statsmodels.discrete.discrete_model.GeneralizedPoisson": _COUNT,
    "statsmodels.discrete.discrete_model.Logit": Link("logit"),
    "statsmodels.discrete.discrete_model.MNLogit": Link("multinomial-logit"),
    "statsmodels.discrete.discrete_model.NegativeBinomial": _COUNT,
    "statsmodels.discrete.discrete_model.NegativeBinomialP": _COUNT,
    "statsmodels.discrete.discrete_model.Poisson": _COUNT,
    "statsmodels.discrete.discrete_model.Probit": Link("probit"),
    "statsmodels.genmod.generalized_estimating_equations.GEE": None,
    "statsmodels.genmod.generalized_linear_model.GLM": None,
    "statsmodels.regression.linear_model.GLS": _LINEAR,
    "statsmodels.regression.linear_model.GLSAR": _LINEAR,
    "statsmodels.regression.linear_model.OLS": _LINEAR,
    "statsmodels.regression.linear_model.WLS": _LINEAR,
    "statsmodels.regression.quantile_regression.QuantReg": _LINEAR,
    "statsmodels.robust.robust_linear_model.RLM": _LINEAR,
}
_LINKS: Mapping[str, LinkName] = {
    "CLogLog": "cloglog",
    "Log": "log",
    "LogC": "log-complement",
    "LogLog": "loglog",
    "Logit": "logit",
    "NegativeBinomial": "negative-binomial",
    "Power": "power",
}
_LINKS_OF_DISTRIBUTIONS: Mapping[str, LinkName] = {
    "scipy.stats._continuous_distns.cauchy_gen": "cauchy",
    "scipy.stats._continuous_distns.norm_gen": "probit",
}
_TAKEN = "taken are: " + ", ".join(sorted(name.rpartition(".")[2] for name in MODELS))
TRUST = "add --trust if you trust its author: statsmodels saves results as pickles only"


def load_fit(artifact: Artifact) -> Fit:
    """The results in a pickle of `results.save`, pickle or joblib.

    Raises UsageError when the file was not trusted; ConversionFailed when it cannot be read, and, by name, for a
    model, a link or a formula's term that is not converted.
    """
    where = artifact.location
    with formulas_left_alone():
        results = load_pickle(artifact.path, trusted=artifact.trusted, hint=TRUST)
    inner = getattr(results, "_results", results)  # the wrapper puts pandas' labels onto what it answers
    model = _checked_model(inner, where)
    spec = restore_design(model.data, where)
    design = None if spec is None else design_of(spec, model.data.frame, where)
    link = _link_of(model, where)
    parameters = _parameters(inner, model)
    if design is not None and len(parameters) != design.width:
        what = f"the formula gives {design.width} columns and the model has {len(parameters)} parameters"
        raise ConversionFailed(what, where=where, hint="fit the model without drop_cols")
    return Fit(
        results=results,
        model=type(model).__name__,
        link=link,
        parameters=parameters,
        design=design,
        signature=_signature(model, link, parameters, design),
        classes=tuple(str(name) for _, name in sorted(getattr(model, "_ynames_map", {}).items())),
        ignored=tuple(name for name in ("offset", "exposure") if _was_given(model, name)),
    )


def _checked_model(results: Any, where: str) -> Any:
    """The model of the results; ConversionFailed unless its `predict` is one that is known here."""
    from statsmodels.base.model import Model, Results

    if isinstance(results, Model):
        what = f"the file holds a {type(results).__name__} that was not fitted"
        raise ConversionFailed(what, where=where, hint="save the results: model.fit().save(path)")
    model = getattr(results, "model", None)
    name = _name(type(model))
    if not isinstance(results, Results) or not isinstance(model, Model):
        raise ConversionFailed(f"{_name(type(results))} is not converted", where=where, hint=_TAKEN)
    if name not in MODELS or type(results).predict is not Results.predict:
        known = f"{type(model).__name__} ({type(results).__name__})"
        raise ConversionFailed(f"statsmodels' {known} is not converted", where=where, hint=_TAKEN)
    return model


def _link_of(model: Any, where: str) -> Link:
    link = MODELS[_name(type(model))]
    if link is not None:
        return link
    from statsmodels.genmod.families.family import Family

    family = type(model.family).__name__
    given = model.family.link
    inverse = _class_with(given, "inverse")
    if type(model.family).fitted is Family.fitted and inverse.__module__ == "statsmodels.genmod.families.links":
        if inverse.__name__ == "CDFLink" and _name(type(given.dbn)) in _LINKS_OF_DISTRIBUTIONS:
            return Link(_LINKS_OF_DISTRIBUTIONS[_name(type(given.dbn))])
        if inverse.__name__ == "Power" and given.power == 1:
            return Link("identity")
        if inverse.__name__ in _LINKS:
            parameter = getattr(given, "power", getattr(given, "alpha", 1.0))
            return Link(_LINKS[inverse.__name__], float(parameter))
    what = f"the link {type(given).__name__} of the family {family} is not converted"
    hint = "taken are: " + ", ".join((*sorted(_LINKS), "Cauchy", "Probit"))
    raise ConversionFailed(what, where=where, hint=hint)


def _class_with(value: Any, attribute: str) -> type:
    return next(cls for cls in type(value).__mro__ if attribute in vars(cls))


def _parameters(results: Any, model: Any) -> np.ndarray:
    """The coefficients as float64 [P, K]; counts have further parameters behind them, which the mean does not need."""
    import numpy as np

    parameters = np.asarray(results.params, dtype=np.float64)
    if parameters.ndim == 2:
        return parameters
    return parameters[: len(parameters) - int(getattr(model, "k_extra", 0))].reshape(-1, 1)


def _was_given(model: Any, name: str) -> bool:
    return bool(getattr(model, f"_has_{name}", getattr(model, name, None) is not None))


def _signature(model: Any, link: Link, parameters: np.ndarray, design: Design | None) -> Signature:
    rows, columns = parameters.shape
    if design is not None:
        inputs = tuple(TensorSpec(column.name, column.dtype, ("batch", 1)) for column in design.inputs)
    else:
        inputs = (TensorSpec("input", "float64", ("batch", rows), _column_names(model)[:rows]),)
    if link.name == "multinomial-logit":
        return Signature(inputs, (TensorSpec("probabilities", "float64", ("batch", columns + 1)),))
    return Signature(inputs, (TensorSpec("variable", "float64", ("batch", columns)),))


def _column_names(model: Any) -> tuple[str, ...]:
    """The names of the columns of the fit's data frame; nothing for an array, and once `remove_data` was called."""
    from statsmodels.base.data import PandasData

    names = model.exog_names if isinstance(model.data, PandasData) else None
    return tuple(map(str, names or ()))


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
