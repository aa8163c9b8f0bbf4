"""Boosters of LightGBM's, prepared for a converter that knows plain comparisons only."""

from __future__ import annotations

from typing import Any

from mlconvert.errors import ConversionFailed
from mlconvert.readers.estimators import walk
from mlconvert.readers.lightgbm_plain import plain_text


def plain_booster(booster: Any, where: str) -> Any:
    """A booster with the same answers and plain thresholds; raises ConversionFailed for linear leaves."""
    import lightgbm

    text = booster.model_to_string(num_iteration=-1)
    if "\nis_linear=1" in text:
        what = "the LightGBM model has linear leaves, which PMML's converter drops"
        raise ConversionFailed(what, where=where, hint="--to onnx takes them")
    return lightgbm.Booster(model_str=plain_text(text))


def as_estimator(booster: Any, classes: int) -> Any:
    """The booster inside of scikit-learn's wrapper, for which sklearn2pmml writes trees that are compact."""
    import lightgbm
    import numpy as np

    kind = lightgbm.LGBMClassifier if classes else lightgbm.LGBMRegressor
    labels = np.arange(classes or 2)
    # Fitted to anything, so that all its attributes are there.
    estimator = kind(n_estimators=1, verbose=-1, n_jobs=1).fit(np.zeros((len(labels), booster.num_feature())), labels)
    estimator._Booster = booster
    return estimator


def with_plain_boosters(estimator: Any, where: str) -> None:
    """Give each of LightGBM's estimators inside of this one, which is changed, such a booster."""
    for _, part in walk(estimator):
        if type(part).__module__.startswith("lightgbm.") and getattr(part, "_Booster", None) is not None:
            part._Booster = plain_booster(part._Booster, where)
